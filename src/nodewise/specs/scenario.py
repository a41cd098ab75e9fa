"""A comparison file: one data set, its jobs, and the scenarios to run them in."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

from nodewise.specs.cluster import ClusterSpec, EngineName
from nodewise.specs.job import STRICT, CommandSpec, PrepareSpec, ScoreSpec, TrainSpec
from nodewise.specs.limits import Quota, node_limits
from nodewise.specs.place import NodeLimits

__all__ = ["CompareSpec", "DatabricksFee", "DatasetSpec", "JobsSpec", "Scenario"]


@dataclass(frozen=True, slots=True, kw_only=True)
class DatasetSpec:
    """Where the images are.

    Attributes:
        source: A folder, an archive or the name of a data set; of several, the first that is there is taken. Relative
            paths are taken from the folder of the file they stand in.
    """

    __pydantic_config__: ClassVar[dict[str, Any]] = STRICT

    source: str | tuple[str, ...]

    @property
    def sources(self) -> tuple[str, ...]:
        return (self.source,) if isinstance(self.source, str) else self.source


@dataclass(frozen=True, slots=True, kw_only=True)
class JobsSpec:
    """Settings of the three jobs, which run in this order; or ``command``, a program to run in their place."""

    __pydantic_config__: ClassVar[dict[str, Any]] = STRICT

    prepare: PrepareSpec = PrepareSpec()
    train: TrainSpec = TrainSpec()
    score: ScoreSpec = ScoreSpec()
    command: CommandSpec | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """One way to run the jobs.

    Attributes:
        cores_per_node: None: the same share of this machine for every node of the whole comparison, at least one core.
        cpus_per_node: CPUs that an emulated node may use, such as 0.25; None: the same share of this machine for every
            node of the whole comparison.
        memory_per_node: Of an emulated node, ``512MiB``; None: no limit.
        network_per_node: Rate of an emulated node's link, each way, ``100Mbit/s``; None: no limit.
        latency_per_node: Added to what an emulated node sends, ``5ms``; None: nothing.
        tags: Names and values that the run's cost is filed under.
        quota: Of the account that the nodes would be rented with; what exceeds it is refused before anything starts.
    """

    __pydantic_config__: ClassVar[dict[str, Any]] = STRICT

    name: str
    engine: EngineName
    nodes: int = 1
    node_type: str | None = None
    cores_per_node: int | None = None
    cpus_per_node: float | None = None
    memory_per_node: str | None = None
    network_per_node: str | None = None
    latency_per_node: str | None = None
    address: str | None = None
    port: int | None = None
    tags: dict[str, str] = field(default_factory=dict)
    quota: Quota = Quota()

    def cluster(self, default_cores: int, default_cpus: float | None = None) -> ClusterSpec:
        """The cluster to start; the defaults stand in where the file says nothing."""
        return ClusterSpec(
            engine=self.engine,
            nodes=self.nodes,
            cores_per_node=self.cores_per_node or default_cores,
            node_type=self.node_type,
            address=self.address,
            port=self.port,
            limits=NodeLimits() if self.address is not None else node_limits(self, default_cpus),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class DatabricksFee:
    """The Databricks units to add to the price of each node.

    Attributes:
        tier: Of the workspace.
        compute: ``jobs`` for job clusters, ``all-purpose`` for clusters that people share.
    """

    __pydantic_config__: ClassVar[dict[str, Any]] = STRICT

    tier: Literal["standard", "premium"] = "premium"
    compute: Literal["jobs", "jobs light", "all-purpose"] = "jobs"


@dataclass(frozen=True, slots=True, kw_only=True)
class CompareSpec:
    """The whole file.

    Attributes:
        dataset: What the jobs work on; a command has none.
        scenarios: At least one, with distinct names.
        baseline: Name of the scenario that speedup and cost ratio refer to; None: the first one.
        repeat: Runs per scenario; medians and spread are reported from two on.
    """

    __pydantic_config__: ClassVar[dict[str, Any]] = STRICT

    name: str
    scenarios: tuple[Scenario, ...]
    dataset: DatasetSpec | None = None
    jobs: JobsSpec = JobsSpec()
    baseline: str | None = None
    repeat: int = 1
    databricks: DatabricksFee | None = None

    @property
    def baseline_name(self) -> str:
        return self.baseline or self.scenarios[0].name
