"""What a node may use and what an account may have, as people write it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Protocol

from nodewise.core.units import parse_bytes, parse_duration, parse_rate
from nodewise.specs.job import STRICT
from nodewise.specs.place import NodeLimits

__all__ = ["PerNode", "Quota", "node_limits"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Quota:
    """What an account may have at a time; None: not stated.

    Attributes:
        vcpus: Of all nodes together, the driver's with them.
        addresses: Public addresses, one per node and one for the driver.
    """

    __pydantic_config__: ClassVar[dict[str, Any]] = STRICT

    vcpus: int | None = None
    addresses: int | None = None


class PerNode(Protocol):
    """The limits of each node with their units; None: as much as there is.

    Attributes:
        cpus_per_node: 0.25
        memory_per_node: ``512MiB``
        network_per_node: ``100Mbit/s``, each way
        latency_per_node: ``5ms``, added to what it sends
    """

    @property
    def cpus_per_node(self) -> float | None: ...

    @property
    def memory_per_node(self) -> str | None: ...

    @property
    def network_per_node(self) -> str | None: ...

    @property
    def latency_per_node(self) -> str | None: ...


def node_limits(spec: PerNode, default_cpus: float | None = None) -> NodeLimits:
    """The limits as numbers; ``default_cpus`` stands in where ``cpus_per_node`` is None.

    Raises:
        ValueError: A text is not what it should be; :mod:`nodewise.specs.cluster_checks` finds that out before.
    """
    memory, network, latency = spec.memory_per_node, spec.network_per_node, spec.latency_per_node
    return NodeLimits(
        cpus=default_cpus if spec.cpus_per_node is None else spec.cpus_per_node,
        memory_bytes=None if memory is None else parse_bytes(memory),
        network_bits_per_s=None if network is None else parse_rate(network),
        network_latency_s=None if latency is None else parse_duration(latency),
    )
