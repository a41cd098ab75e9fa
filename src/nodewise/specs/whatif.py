"""A recorded run on other clusters: what is asked, and what a replay of its tasks comes to."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from nodewise.core.errors import SpecError
from nodewise.core.shown import Shown
from nodewise.core.units import parse_bytes, parse_rate

__all__ = ["ClusterShape", "CriticalStage", "WastedCoreHours", "WhatIfPoint", "WhatIfResult", "parse_shape"]

MAX_NODES = 100_000
MAX_CORES = 10_000

_EXAMPLE = "write nodes=1..32,cores=4,type=m5.xlarge"


@dataclass(frozen=True, slots=True, kw_only=True)
class ClusterShape:
    """Clusters of equal nodes to replay a run on; None: as it was recorded.

    Attributes:
        min_nodes, max_nodes: Ends of the range of node counts; None: from 1 to four times the recorded count.
        cores_per_node: None: the vCPUs of ``node_type`` if one is given, else as recorded.
        node_type: Name in the table of node types, for the price.
        core_speed: Of one core, relative to a recorded one.
        disk_bytes_per_s: What a node reads and writes at most.
        network_bits_per_s: What a node receives at most.
    """

    min_nodes: int | None = None
    max_nodes: int | None = None
    cores_per_node: int | None = None
    node_type: str | None = None
    core_speed: float = 1.0
    disk_bytes_per_s: float | None = None
    network_bits_per_s: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class WastedCoreHours:
    """Core-hours of a cluster in which no task did work that counts.

    Attributes:
        driver: While the driver alone was at work between stages, or had not yet handed out the next task.
        skew: Cores that had no task left while the last tasks of a stage ran.
        too_few_tasks: Cores beyond the number of tasks that the stages under way had in all.
        start_up: Until the first stage began.
        failed_attempts: In attempts at tasks that failed or were killed.
    """

    driver: float
    skew: float
    too_few_tasks: float
    start_up: float
    failed_attempts: float = 0.0

    @property
    def total(self) -> float:
        return self.driver + self.skew + self.too_few_tasks + self.start_up + self.failed_attempts


@dataclass(frozen=True, slots=True, kw_only=True)
class WhatIfPoint:
    """The run on one cluster.

    Attributes:
        slots: Tasks that it runs at the same time.
        low_s, high_s: 90 % interval, as far as the spread of the tasks' times and the replay's own error tell.
        cost_usd: Nodes x price x predicted time; None where no price is known.
        utilisation: Share of the core-hours in which tasks did work that counts, 0 to 1.
        basis: ``predicted``; ``extrapolated`` where the cluster has over four times the slots that were recorded, or
            under a quarter.
        wasted: The rest of the core-hours.
        cluster: Of which of the clusters that were asked for; counts from 0.
    """

    nodes: int
    slots: int
    predicted_s: float
    low_s: float
    high_s: float
    cost_usd: float | None
    utilisation: float
    basis: Literal["predicted", "extrapolated"]
    core_hours: float
    useful_core_hours: float
    wasted: WastedCoreHours
    cores_per_node: int
    node_type: str | None
    cluster: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class CriticalStage:
    """A stage that the time with infinitely many nodes is made of: ``driver_s`` before and after its tasks.

    ``longest_task_s`` is the time from its first task's start to its last task's end there; ``num_tasks`` what it was
    cut into.
    """

    name: str
    driver_s: float
    longest_task_s: float
    num_tasks: int


@dataclass(frozen=True, slots=True, kw_only=True)
class WhatIfResult(Shown):
    """A recorded run, replayed on the cluster that it had and on others.

    Attributes:
        measured_s: How long the run took, start-up included.
        replayed_s: What the replay on its own cluster comes to; the difference is the replay's own error.
        curve: The clusters that were asked for, in the order of ``clusters``, then by nodes.
        critical_path_s: With infinitely many nodes: start-up, driver and the longest chain of stages.
        critical_path: The stages of that chain, in order.
        wasted_core_hours: Of the recorded cluster; with ``useful_core_hours`` they add up to ``core_hours``.
        recorded_nodes, recorded_cores_per_node: The most nodes that it had at the same time.
        clusters: What ``curve`` goes through.
        stages, tasks: How many were replayed; attempts that failed are tasks too.
        notes: What to know when reading these numbers.
        report_path: The page that shows it; None: none was written.
    """

    page: ClassVar[str] = "nodewise.report.whatif_page:whatif_page"

    source: str
    name: str
    measured_s: float
    replayed_s: float
    curve: tuple[WhatIfPoint, ...]
    critical_path_s: float
    critical_path: tuple[CriticalStage, ...]
    wasted_core_hours: WastedCoreHours
    useful_core_hours: float
    core_hours: float
    recorded_nodes: int
    recorded_cores_per_node: int
    recorded_slots: int
    recorded_node_type: str | None
    clusters: tuple[ClusterShape, ...]
    stages: int
    tasks: int
    partitions: int | None = None
    notes: tuple[str, ...] = ()
    report_path: str | None = None


def parse_shape(text: str) -> ClusterShape:
    """Clusters as a person writes them: ``nodes=1..32,cores=4,type=m5.xlarge``, in any order, each at most once.

    Further keys: ``speed=1.2`` (of one core, relative to a recorded one), ``disk=200MB/s`` and ``network=10Gbit/s``.

    Raises:
        SpecError: It is none; the message says which part is not.
    """
    values: dict[str, str] = {}
    for part in text.split(","):
        key, equals, value = (piece.strip() for piece in part.partition("="))
        if not equals or not value or key not in _KEYS:
            known = ", ".join(_KEYS)
            raise SpecError(f"cluster {text!r}: {part.strip()!r} is not one of {known} with a value", hint=_EXAMPLE)
        if key in values:
            raise SpecError(f"cluster {text!r} has {key} twice", hint=_EXAMPLE)
        values[key] = value
    try:
        return _shape(values)
    except ValueError as error:
        raise SpecError(f"cluster {text!r}: {error}", hint=_EXAMPLE) from None


_KEYS = ("nodes", "cores", "type", "speed", "disk", "network")


def _shape(values: dict[str, str]) -> ClusterShape:
    low = high = None
    if "nodes" in values:
        first, dots, last = values["nodes"].partition("..")
        low = _whole("nodes", first, MAX_NODES)
        high = _whole("nodes", last, MAX_NODES) if dots else low
        if high < low:
            raise ValueError(f"nodes={low}..{high} goes down")
    return ClusterShape(
        min_nodes=low,
        max_nodes=high,
        cores_per_node=_whole("cores", values["cores"], MAX_CORES) if "cores" in values else None,
        node_type=values.get("type"),
        core_speed=_speed(values["speed"]) if "speed" in values else 1.0,
        disk_bytes_per_s=_disk(values["disk"]) if "disk" in values else None,
        network_bits_per_s=_network(values["network"]) if "network" in values else None,
    )


def _whole(key: str, text: str, highest: int) -> int:
    if not (text.isascii() and text.isdigit()) or not 1 <= int(text[:9]) <= highest:
        raise ValueError(f"{key}={text} is no whole number from 1 to {highest:,}")
    return int(text)


def _speed(text: str) -> float:
    try:
        speed = float(text)
    except ValueError:
        speed = 0.0
    if not 0.01 <= speed <= 100:
        raise ValueError(f"speed={text} is no number from 0.01 to 100")
    return speed


def _disk(text: str) -> float:
    rate = parse_bytes(text.removesuffix("/s"))
    if not text.endswith("/s") or rate <= 0:
        raise ValueError(f"disk={text} is no rate such as 200MB/s")
    return float(rate)


def _network(text: str) -> float:
    rate = parse_rate(text)
    if rate <= 0:
        raise ValueError(f"network={text} is no rate above 0")
    return float(rate)
