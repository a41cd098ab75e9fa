"""What limits a run: the one cause that takes the largest share of its nodes' time."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from statistics import median

from nodewise.analysis.limits import GANG_STAGES
from nodewise.analysis.time_split import LINK_IS_FULL, TimeSplit, link_full_s, stage_span
from nodewise.core.units import format_bytes, format_duration, format_rate
from nodewise.specs.place import NodeLimits
from nodewise.specs.run import StageRecord, TaskRecord
from nodewise.specs.usage import UsageSample

__all__ = ["Limit", "LimitKind", "what_limits"]

SKEWED = 1.5
"""A slowest task that takes this many times the median is one that the others wait for."""
MOST = 0.5
"""Share of a stage in which a node's link must have been full for the link to be what the stage took its time for."""


class LimitKind(StrEnum):
    """What a run can be limited by."""

    CPU = "cpu"
    STORAGE = "storage"
    NETWORK = "network"
    DRIVER = "driver"
    PARTITIONS = "partitions"
    SKEW = "skew"
    START_UP = "start-up"
    MEMORY = "memory"


@dataclass(frozen=True, slots=True, kw_only=True)
class Limit:
    """The cause.

    Attributes:
        stage: Where it took most; None where it is not in a stage.
        sentence: In plain words, with the numbers.
        share: Of the nodes' time, start-up included, 0 to 1.
        evidence: The shares of all causes that were found.
    """

    kind: LimitKind
    stage: str | None
    sentence: str
    share: float
    evidence: Mapping[str, float] = field(default_factory=dict)


def what_limits(
    split: TimeSplit,
    stages: Sequence[StageRecord],
    tasks: Sequence[TaskRecord],
    usage: Sequence[UsageSample] = (),
    *,
    slots_per_node: int,
    limits: NodeLimits,
    cluster_s: float,
) -> Limit:
    """Name the cause with the largest share of the nodes' time from the cluster's start to its stop.

    ============  ====================================================================================================
    start-up      Starting the cluster, and stopping it.
    driver        No stage ran, between the cluster's start and the last stage's end; or tasks waited beside free slots.
    partitions    Slots that never got a task because a stage had fewer tasks than slots, or too few in its last round.
    skew          Slots without a task while the slowest task, at least 1.5 times the median, was still at work.
    network       Communication; all of a stage, if the links were full for more than half of it.
    storage       Reading and writing.
    cpu           Computing.
    memory        The kernel killed processes at the nodes' memory limit: this comes before all shares.
    ============  ====================================================================================================

    Time within tasks that nothing explains is no cause. Args as for :func:`~nodewise.analysis.time_split.split_time`.
    """
    all_s = cluster_s * len(split.nodes)
    found = [*_outside_stages(split, stages, cluster_s)]
    for stage in stages:
        mine = [task for task in tasks if task.stage == stage.name]
        found += _in_stage(stage, mine, len(split.nodes), slots_per_node)
        found += _busy(stage, split, stage_span(stage, mine), usage, limits)
    lost_s: dict[LimitKind, float] = {}
    for cause in found:
        lost_s[cause.kind] = lost_s.get(cause.kind, 0.0) + cause.node_s
    shares = {kind: seconds / all_s if all_s > 0 else 0.0 for kind, seconds in lost_s.items()}
    kills = sum(sample.memory_kills for sample in usage)
    if kills:
        return _memory(kills, limits, shares)
    # Where nothing took any time, the nodes could only have computed.
    kind = max(shares, key=lambda one: (shares[one], one is LimitKind.CPU), default=LimitKind.CPU)
    worst = max((cause for cause in found if cause.kind is kind), key=lambda cause: cause.node_s, default=None)
    share = shares.get(kind, 0.0)
    return Limit(
        kind=kind,
        stage=worst.stage if worst is not None else None,
        sentence=_sentence(kind, share, worst),
        share=share,
        evidence={one.value: value for one, value in sorted(shares.items(), key=lambda item: -item[1])},
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Cause:
    """Seconds of nodes that a cause took, in words that stand behind its name."""

    kind: LimitKind
    node_s: float
    words: str
    stage: str | None = None


_NAMES = {
    LimitKind.CPU: "CPU limits this run",
    LimitKind.STORAGE: "Storage limits this run",
    LimitKind.NETWORK: "The network limits this run",
    LimitKind.DRIVER: "The driver limits this run",
    LimitKind.PARTITIONS: "Too few partitions limit this run",
    LimitKind.SKEW: "Skew limits this run",
    LimitKind.START_UP: "Start-up limits this run",
}


def _sentence(kind: LimitKind, share: float, worst: _Cause | None) -> str:
    words = f": {worst.words}" if worst is not None else ""
    return f"{_NAMES[kind]} ({share * 100:.0f} % of the nodes' time){words}."


def _memory(kills: int, limits: NodeLimits, shares: Mapping[LimitKind, float]) -> Limit:
    limit = "their memory limit" if limits.memory_bytes is None else f"a limit of {format_bytes(limits.memory_bytes)}"
    times = f"{kills} process was" if kills == 1 else f"{kills} processes were"
    return Limit(
        kind=LimitKind.MEMORY,
        stage=None,
        sentence=f"Memory limits this run: {times} killed at {limit} per node, and the work was done again.",
        share=0.0,
        evidence={"kills": float(kills), **{kind.value: share for kind, share in shares.items()}},
    )


def _outside_stages(split: TimeSplit, stages: Sequence[StageRecord], cluster_s: float) -> Iterator[_Cause]:
    nodes = len(split.nodes)
    between_s = min(_between_s(stages), split.total.idle_s / nodes)
    stop_s = split.total.idle_s / nodes - between_s
    yield _Cause(
        kind=LimitKind.START_UP,
        node_s=(split.start_up_s + stop_s) * nodes,
        words=f"starting the cluster took {format_duration(split.start_up_s)} and stopping it "
        f"{format_duration(stop_s)} of {format_duration(cluster_s)}",
    )
    yield _Cause(
        kind=LimitKind.DRIVER,
        node_s=between_s * nodes,
        words=f"between the stages the nodes had nothing to do for {format_duration(between_s)}",
    )


def _between_s(stages: Sequence[StageRecord]) -> float:
    ordered = sorted((stage for stage in stages if stage.started_at), key=lambda stage: stage.started_at)
    ends = [stage.started_at + stage.wall_s for stage in ordered]
    return sum(max(0.0, stage.started_at - end) for stage, end in zip(ordered[1:], ends, strict=False))


def _in_stage(stage: StageRecord, tasks: Sequence[TaskRecord], nodes: int, slots_per_node: int) -> Iterator[_Cause]:
    """Why slots had no task in a stage."""
    if stage.name in GANG_STAGES or not tasks:
        return
    slots, count, name = slots_per_node * nodes, len(tasks), stage.name
    began, ended = min(task.started_at for task in tasks), max(task.ended_at for task in tasks)
    # From here on, whoever has finished finds nothing left to take.
    last_start = max(task.started_at for task in tasks)
    never_filled = max(0, slots - count)
    late_s = _empty_s(tasks, slots - never_filled, last_start, ended) / slots_per_node
    early_s = _empty_s(tasks, slots - never_filled, began, last_start) / slots_per_node
    slowest, typical = max(task.wall_s for task in tasks), median(task.wall_s for task in tasks)
    if never_filled:
        yield _Cause(
            kind=LimitKind.PARTITIONS,
            node_s=never_filled * (ended - began) / slots_per_node,
            stage=name,
            words=f"{name} had {count} partition{'' if count == 1 else 's'} for {slots} slots, so {never_filled} had "
            f"nothing to do; {slots} fill them, {slots + 1} would not help: one slot would have two, and the others "
            "wait for it",
        )
    if slowest >= SKEWED * typical:
        times = f", {slowest / typical:.1f} times the median" if typical > 0 else ""
        yield _Cause(
            kind=LimitKind.SKEW,
            node_s=late_s,
            stage=name,
            words=f"the slowest of the {count} tasks of {name} took {format_duration(slowest)}{times}, and slots "
            f"stood empty until it ended",
        )
    elif count > slots and count % slots:
        lower = count // slots * slots
        yield _Cause(
            kind=LimitKind.PARTITIONS,
            node_s=late_s,
            stage=name,
            words=f"{name} had {count} partitions for {slots} slots, so in the last round {slots - count % slots} had "
            f"nothing to do; {lower} or {lower + slots} fill every round, a number between them would not help",
        )
    around_s = max(0.0, stage.wall_s - (ended - began)) * nodes
    yield _Cause(
        kind=LimitKind.DRIVER,
        node_s=early_s + around_s,
        stage=name,
        words=f"in {name} a node waited {format_duration((early_s + around_s) / nodes)} on average for tasks that were "
        "still to be handed out, or for results to be put together",
    )


def _empty_s(tasks: Sequence[TaskRecord], slots: int, began: float, ended: float) -> float:
    """Seconds that so many slots, together, had no task between two moments."""
    busy_s = sum(max(0.0, min(task.ended_at, ended) - max(task.started_at, began)) for task in tasks)
    return max(0.0, slots * (ended - began) - busy_s)


def _busy(
    stage: StageRecord,
    split: TimeSplit,
    span: tuple[float, float],
    usage: Sequence[UsageSample],
    limits: NodeLimits,
) -> Iterator[_Cause]:
    """What the time of tasks went into."""
    all_s = stage.wall_s * len(split.nodes)
    if all_s <= 0:
        return
    full_s = link_full_s((sample for sample in usage if sample.node in split.nodes), span, limits)
    if full_s > MOST * all_s:
        yield _Cause(
            kind=LimitKind.NETWORK,
            node_s=all_s,
            stage=stage.name,
            words=f"in {stage.name} the nodes' links of {format_rate(limits.network_bits_per_s or 0)} ran at "
            f"{LINK_IS_FULL * 100:.0f} % or more of that for {full_s / all_s * 100:.0f} % of the time",
        )
        return
    time = split.stages[stage.name]
    held = "" if limits.cpus is None else f", each with {limits.cpus:g} CPU"
    for kind, node_s, did, remark in (
        (LimitKind.CPU, time.compute_s, "computed", held),
        (LimitKind.STORAGE, time.read_write_s, "read and wrote", ""),
        (LimitKind.NETWORK, time.communicate_s, "exchanged data", ""),
    ):
        words = f"in {stage.name} the nodes {did} for {node_s / all_s * 100:.0f} % of the time{remark}"
        yield _Cause(kind=kind, node_s=node_s, stage=stage.name, words=words)
