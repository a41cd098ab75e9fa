"""What a cluster shall be: the file that ``nodewise clusters create`` reads."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, ClassVar, Literal

from nodewise.core.errors import InputError
from nodewise.specs.cluster import ClusterSpec, EngineName
from nodewise.specs.job import STRICT
from nodewise.specs.limits import Quota, node_limits
from nodewise.specs.place import NodeLimits
from nodewise.specs.scenario import DatabricksFee

__all__ = ["Autoscale", "ClusterDefinition", "Platform", "PricingModel", "Provider", "resolve_environment"]

Provider = Literal["emulated", "existing"]
PricingModel = Literal["list", "spot"]

_REFERENCE = re.compile(r"\$\{(\w+)\}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Autoscale:
    """The fewest and the most workers; the engine's own scheduler decides between them."""

    __pydantic_config__: ClassVar[dict[str, Any]] = STRICT

    min: int
    max: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Platform:
    """The service that the nodes would be rented through, for the fee that it adds to their price.

    Attributes:
        tier: Of a Databricks workspace.
        compute: Of Databricks; None: ``all-purpose``, and ``jobs`` for a cluster that lives for one run.
    """

    __pydantic_config__: ClassVar[dict[str, Any]] = STRICT

    name: Literal["databricks", "dataproc"]
    tier: Literal["standard", "premium"] | None = None
    compute: Literal["jobs", "jobs light", "all-purpose"] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ClusterDefinition:
    """A cluster as a person writes it down; no secret is in it.

    Attributes:
        name: Letters, digits, ``-``, ``_`` and ``.``, at most 64.
        provider: ``emulated``: nodes on this machine; ``existing``: a cluster that is up at ``address``.
        node_type: Name in the table of node types, for price and quota.
        driver_node_type: Of the driver; None: as the nodes.
        workers: How many nodes; None: ``autoscale`` says it, or one.
        cores_per_node: Task slots per node; None: ``cpus_per_node`` rounded up, or a share of this machine's cores.
        cpus_per_node: CPUs that an emulated node may use, such as 0.25; None: its share of this machine's cores.
        memory_per_node: ``512MiB``; None: no limit.
        network_per_node: Rate of its link, each way, ``100Mbit/s``; None: no limit.
        latency_per_node: Added to what it sends, ``5ms``; None: nothing.
        libraries: Lines as in a pip requirements file, installed once and seen by every node.
        environment: Variables of every node; ``${NAME}`` is taken from whoever starts the cluster and never kept.
        init_script: Program that every node runs before it joins; relative to the file that names it.
        tags: Names and values that its cost is filed under.
        autotermination_minutes: Without use, until it is terminated; None: never.
        pricing: Which price of the node type applies.
        budget_usd: What it may cost from start to termination.
    """

    __pydantic_config__: ClassVar[dict[str, Any]] = STRICT

    name: str
    engine: EngineName
    provider: Provider = "emulated"
    address: str | None = None
    node_type: str | None = None
    driver_node_type: str | None = None
    workers: int | None = None
    autoscale: Autoscale | None = None
    cores_per_node: int | None = None
    cpus_per_node: float | None = None
    memory_per_node: str | None = None
    network_per_node: str | None = None
    latency_per_node: str | None = None
    libraries: tuple[str, ...] = ()
    environment: dict[str, str] = field(default_factory=dict)
    init_script: str | None = None
    tags: dict[str, str] = field(default_factory=dict)
    autotermination_minutes: float | None = 60
    platform: Platform | None = None
    pricing: PricingModel = "list"
    quota: Quota = Quota()
    budget_usd: Decimal | None = None

    @property
    def min_nodes(self) -> int:
        """Workers that it has at least, and starts with."""
        return self.autoscale.min if self.autoscale else self.workers or 1

    @property
    def max_nodes(self) -> int:
        """Workers that it has at most."""
        return self.autoscale.max if self.autoscale else self.workers or 1

    def limits(self, machine_cores: int) -> NodeLimits:
        """What each node may use, however many there are at the moment.

        Args:
            machine_cores: Of this machine; ``max_nodes`` emulated nodes share them where ``cpus_per_node`` is left out.
        """
        if self.provider == "existing":
            return NodeLimits()
        share = machine_cores / self.max_nodes if self.max_nodes > 1 else None
        return node_limits(self, share)

    def spec(self, num_nodes: int, *, machine_cores: int) -> ClusterSpec:
        """The cluster with so many nodes, each as :meth:`limits` has it."""
        limits = self.limits(machine_cores)
        # A node of 2.5 CPUs keeps three slots busy; one of a share keeps whole ones only.
        cpus = self.cpus_per_node
        slots = machine_cores // self.max_nodes if cpus is None else -int(-cpus // 1)
        return ClusterSpec(
            engine=self.engine,
            nodes=num_nodes,
            cores_per_node=self.cores_per_node or max(1, slots),
            node_type=self.node_type,
            address=self.address,
            limits=limits,
        )

    def platform_fee(self, *, for_one_run: bool = False) -> DatabricksFee | Literal["dataproc"] | None:
        """What the platform adds to the price of a node; ``for_one_run``: as a job cluster."""
        platform = self.platform
        if platform is None:
            return None
        if platform.name == "dataproc":
            return "dataproc"
        compute = platform.compute or ("jobs" if for_one_run else "all-purpose")
        return DatabricksFee(tier=platform.tier or "premium", compute=compute)

    def environment_from(self, variables: Mapping[str, str]) -> dict[str, str]:
        """:func:`resolve_environment` of ``environment``."""
        return resolve_environment(self.environment, variables, where=f"cluster {self.name!r}: its")


def resolve_environment(
    environment: Mapping[str, str], variables: Mapping[str, str], *, where: str = "the"
) -> dict[str, str]:
    """The environment with every ``${NAME}`` replaced; the result may hold secrets and must not be stored.

    Args:
        where: What the environment is of, for the message.

    Raises:
        InputError: A variable is not set; all that are missing are named.
    """
    wanted = {name for value in environment.values() for name in _REFERENCE.findall(value)}
    missing = sorted(wanted - variables.keys())
    if missing:
        raise InputError(
            f"{where} environment refers to {', '.join(missing)}, not set here",
            hint=f"export {missing[0]}=... before this command",
        )
    return {name: _REFERENCE.sub(lambda match: variables[match[1]], value) for name, value in environment.items()}
