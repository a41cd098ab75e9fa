"""What the nodes of a cluster did with their time.

Each node has the time from when the cluster was ready until it was stopped; the start-up before that stands apart. In
seconds of one node with ``slots`` slots, for each stage that took ``wall_s``:

    busy share         = 1 / slots of a task's time, or all of it where the task has the node to itself (a gang)
    read and write     = read_s + write_s of the node's tasks
    communicate        = communicate_s of the node's tasks, plus their unexplained time while the node's link was full
    compute            = cpu_s / (cpus of the node / slots), at most what is left of the task's time
    wait               = wall_s - (read and write + communicate + compute): slots without a task, and time within tasks
                         that nothing of the above explains
    idle               = time in which no stage ran: the driver alone was at work, or the cluster was being stopped

CPU time of a node with a limit counts as what it took: a node of 0.25 CPU that computed for 10 s has used 2.5 s of CPU
time. A stage without task records is split by the node's samples: their CPU time computes, a full link communicates.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from nodewise.analysis.limits import GANG_STAGES
from nodewise.specs.place import EmulationTier, NodeLimits
from nodewise.specs.run import StageRecord, TaskRecord
from nodewise.specs.usage import DRIVER, MACHINE, UsageSample

__all__ = ["LINK_IS_FULL", "PARTS", "NodeTime", "TimeSplit", "held_limits", "link_full_s", "split_time", "stage_span"]

PARTS = ("compute", "read_write", "communicate", "wait", "idle")
"""What a node's time is split into."""
LINK_IS_FULL = 0.85
"""Share of its limit from which on a link counts as full, either way: headers and pauses take the rest."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeTime:
    """Seconds of one node, or of several together, by what it did in them."""

    compute_s: float = 0.0
    read_write_s: float = 0.0
    communicate_s: float = 0.0
    wait_s: float = 0.0
    idle_s: float = 0.0

    def __add__(self, other: NodeTime) -> NodeTime:
        return NodeTime(
            compute_s=self.compute_s + other.compute_s,
            read_write_s=self.read_write_s + other.read_write_s,
            communicate_s=self.communicate_s + other.communicate_s,
            wait_s=self.wait_s + other.wait_s,
            idle_s=self.idle_s + other.idle_s,
        )

    @property
    def total_s(self) -> float:
        return self.compute_s + self.read_write_s + self.communicate_s + self.wait_s + self.idle_s

    def shares(self) -> dict[str, float]:
        """Of the total: ``compute``, ``read_write``, ``communicate``, ``wait`` and ``idle``; of no time all is idle."""
        if self.total_s == 0:
            return dict.fromkeys(PARTS, 0.0) | {"idle": 1.0}
        seconds = (self.compute_s, self.read_write_s, self.communicate_s, self.wait_s, self.idle_s)
        return {name: part_s / self.total_s for name, part_s in zip(PARTS, seconds, strict=True)}


@dataclass(frozen=True, slots=True, kw_only=True)
class TimeSplit:
    """The time of a run's nodes.

    Attributes:
        nodes: By name; each has the time from ready to stopped.
        stages: The same time by stage, of all nodes together; nothing is idle in a stage.
        start_up_s: Of each node, before that.
        ideal_s: What the run would take if its nodes did nothing but compute, each the same share: the seconds that
            all nodes computed, over their number.
    """

    nodes: Mapping[str, NodeTime]
    stages: Mapping[str, NodeTime]
    start_up_s: float
    ideal_s: float

    @property
    def total(self) -> NodeTime:
        """All nodes together."""
        return _sum(self.nodes.values())


def split_time(
    stages: Sequence[StageRecord],
    tasks: Sequence[TaskRecord],
    usage: Sequence[UsageSample] = (),
    *,
    nodes: int,
    slots_per_node: int,
    limits: NodeLimits,
    cluster_s: float,
    start_up_s: float,
) -> TimeSplit:
    """Split the time of the nodes by the formulae above.

    Args:
        stages: One after another.
        usage: Of the nodes; only a full link, and stages without tasks, need it.
        nodes: At least so many; further ones that the tasks name (in place of lost ones) count too, and those that
            neither tasks nor samples name did nothing but wait.
        slots_per_node: Task slots of a node.
        limits: That a node was held to; without one on its CPU it has a CPU per slot.
        cluster_s, start_up_s: From the start of the cluster to its stop, and the part of it before the first stage.
    """
    ready_s = max(0.0, cluster_s - start_up_s, sum(stage.wall_s for stage in stages))
    names = _node_names(tasks, usage, nodes)
    cpus = limits.cpus or slots_per_node
    by_stage: dict[str, NodeTime] = {}
    by_node = {name: NodeTime(idle_s=ready_s - sum(stage.wall_s for stage in stages)) for name in names}
    samples_of: dict[str, list[UsageSample]] = {name: [] for name in names}
    for sample in usage:
        samples_of.get(sample.node, []).append(sample)
    for stage in stages:
        mine = [task for task in tasks if task.stage == stage.name]
        span = stage_span(stage, mine)
        for name, samples in samples_of.items():
            full_s = link_full_s(samples, span, limits)
            if mine:
                slots = 1 if stage.name in GANG_STAGES else slots_per_node
                time = _of_tasks([task for task in mine if task.node == name], stage.wall_s, slots, cpus, full_s)
            else:
                time = _of_samples(samples, span, stage.wall_s, cpus, full_s)
            by_node[name] += time
            by_stage[stage.name] = by_stage.get(stage.name, NodeTime()) + time
    return TimeSplit(
        nodes=by_node,
        stages=by_stage,
        start_up_s=start_up_s,
        ideal_s=_sum(by_node.values()).compute_s / len(names),
    )


def held_limits(limits: NodeLimits, tier: EmulationTier | None) -> NodeLimits:
    """Those of the limits that a tier of emulation holds nodes to; without a tier, none."""
    match tier:
        case EmulationTier.NAMESPACES:
            return limits
        case EmulationTier.CGROUPS:
            return replace(limits, network_bits_per_s=None, network_latency_s=None)
        case _:
            return NodeLimits()


def stage_span(stage: StageRecord, tasks: Iterable[TaskRecord]) -> tuple[float, float]:
    """Begin and end of a stage, seconds since the epoch; where the record does not tell, its first task does."""
    began = stage.started_at or min((task.started_at for task in tasks), default=0.0)
    return began, began + stage.wall_s


def link_full_s(samples: Iterable[UsageSample], span: tuple[float, float], limits: NodeLimits) -> float:
    """Seconds of the span in which a node's link ran at its limit or nearly so; 0 without a limit."""
    if limits.network_bits_per_s is None:
        return 0.0
    full = limits.network_bits_per_s * LINK_IS_FULL / 8
    return sum(
        _within(sample, span)
        for sample in samples
        if max(sample.received_bytes or 0, sample.sent_bytes or 0) >= full * sample.interval_s
    )


def _of_tasks(tasks: Sequence[TaskRecord], wall_s: float, slots: int, cpus: float, full_s: float) -> NodeTime:
    compute_s = moved_s = talked_s = open_s = 0.0
    for task in tasks:
        task_s = min(max(task.wall_s, 0.0), wall_s)
        told_s = task.read_s + task.write_s + task.communicate_s
        # Threads of one task may have waited at the same time.
        scale = min(1.0, task_s / told_s) if told_s > 0 else 0.0
        moved_s += (task.read_s + task.write_s) * scale
        talked_s += task.communicate_s * scale
        left_s = max(0.0, task_s - told_s * scale)
        computed_s = min(task.cpu_s * slots / cpus, left_s)
        compute_s += computed_s
        open_s += left_s - computed_s
    by_link_s = min(open_s, full_s * slots)
    # More tasks at a time than slots, as when one began on another clock than it ended on, share the node's time.
    busy_s = max(wall_s * slots, compute_s + moved_s + talked_s + open_s)
    unit = wall_s / busy_s if busy_s > 0 else 0.0
    return _rest_waits(wall_s, compute_s * unit, moved_s * unit, (talked_s + by_link_s) * unit)


def _of_samples(
    samples: Sequence[UsageSample], span: tuple[float, float], wall_s: float, cpus: float, full_s: float
) -> NodeTime:
    cpu_s = sum(sample.cpu_cores * _within(sample, span) for sample in samples)
    talked_s = min(full_s, wall_s)
    return _rest_waits(wall_s, min(cpu_s / cpus, wall_s - talked_s), 0.0, talked_s)


def _rest_waits(wall_s: float, compute_s: float, moved_s: float, talked_s: float) -> NodeTime:
    return NodeTime(
        compute_s=compute_s,
        read_write_s=moved_s,
        communicate_s=talked_s,
        wait_s=max(0.0, wall_s - compute_s - moved_s - talked_s),
    )


def _within(sample: UsageSample, span: tuple[float, float]) -> float:
    """Seconds that the sample's interval has in common with the span."""
    began, ended = span
    return max(0.0, min(sample.at, ended) - max(sample.at - sample.interval_s, began))


def _node_names(tasks: Iterable[TaskRecord], usage: Iterable[UsageSample], nodes: int) -> list[str]:
    named = {task.node: None for task in tasks}
    for sample in usage:
        if sample.node not in (DRIVER, MACHINE):
            named[sample.node] = None
    number = 0
    while len(named) < nodes:
        named[f"node-{number}"] = None
        number += 1
    return sorted(named, key=lambda name: (len(name), name))


def _sum(times: Iterable[NodeTime]) -> NodeTime:
    total = NodeTime()
    for time in times:
        total += time
    return total
