"""Where a node of an emulated cluster lives on this machine, and what it may use."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

__all__ = ["CLUSTER_VARIABLE", "NODE_VARIABLE", "EmulationTier", "NodeLimits", "NodePlace"]

CLUSTER_VARIABLE = "NODEWISE_CLUSTER"
"""Environment variable with the id of the emulated cluster that a process belongs to; not of drivers."""

NODE_VARIABLE = "NODEWISE_NODE"
"""Environment variable that names the emulated node to the processes on it."""


class EmulationTier(StrEnum):
    """How far emulated nodes are kept apart; the best one that a machine allows is taken, and results name it.

    Attributes:
        NAMESPACES: Each node has a control group (CPU, memory) and a network namespace with a link of its own.
        CGROUPS: Each node has a control group; all share the machine's network.
        PROCESSES: Nodes are groups of processes, not isolated: nothing holds one to its share.
    """

    NAMESPACES = "namespaces"
    CGROUPS = "cgroups"
    PROCESSES = "processes"


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeLimits:
    """What each node may use; None: as much as there is.

    Attributes:
        cpus: Cores' worth of CPU time per second, such as 0.25.
        memory_bytes: Of all its processes together.
        network_bits_per_s: Of its link, each way.
        network_latency_s: Added to what it sends.
    """

    cpus: float | None = None
    memory_bytes: int | None = None
    network_bits_per_s: int | None = None
    network_latency_s: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class NodePlace:
    """A node's place on this machine; picklable, and the same for whoever starts, meters or ends its processes.

    Attributes:
        name: ``node-0`` ..., or ``driver``.
        host: The address that its processes listen on.
        cgroup_dirs: Folders whose ``cgroup.procs`` its processes are in: one with control groups v2, one per controller
            with v1, none without.
        netns: Name of its network namespace (``ip netns``); None: the machine's own network.
        link: The machine's end of its network link, for its counters; None without one.
        pids: Its first processes, whose descendants are the node where there is no control group.
    """

    name: str
    host: str
    limits: NodeLimits = NodeLimits()
    cgroup_dirs: tuple[str, ...] = ()
    netns: str | None = None
    link: str | None = None
    pids: tuple[int, ...] = ()
