"""What a run's records say of its time: parts that can be named, each with where its seconds are from."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from statistics import median
from typing import Any

from nodewise.analysis.limits import GANG_STAGES
from nodewise.core.units import format_bytes, format_duration, format_rate
from nodewise.specs.forecast import PhysicsLine
from nodewise.specs.run import RunRecord, StageRecord, TaskRecord

__all__ = ["physics_of", "union_s"]

LEAST_SHARE = 0.005
"""Of the billed time: shorter parts are not worth a line."""


def physics_of(run: RunRecord, tasks: Sequence[TaskRecord]) -> tuple[PhysicsLine, ...]:
    """The parts of a run in the order of the run, those of less than half a percent left out.

    ==================  ===============================================================================================
    start-up            Before the first job could begin.
    between the stages  Billed time in which no stage ran: the driver alone, or the cluster's stop.
    driver in a stage   The stage's time less the union of its tasks: no task ran.
    tasks of a stage    Waves of tasks = tasks / slots, rounded up, times the median task; of a gang its longest task.
    reading, writing    Bytes over the bandwidth that the tasks measured, which all slots have at the same time.
    exchanging          The seconds in which tasks waited for others' data, by slot.
    gradients           Bytes that the training worker sent that sent most, over the link's rate where it has one; else
                        the seconds that it took.
    ==================  ===============================================================================================

    Args:
        run: A finished one.
        tasks: Its task records; without them only what the stages say.
    """
    billed_s = run.cluster_s or sum(stage.wall_s for stage in run.stages)
    lines = [*_around_stages(run, billed_s)]
    by_stage: dict[str, list[TaskRecord]] = defaultdict(list)
    for task in tasks:
        by_stage[task.stage].append(task)
    for stage in run.stages:
        lines += _in_stage(stage, by_stage[stage.name], run.cluster.slots, run.cluster.nodes)
    lines += _gradients(run)
    return tuple(line for line in lines if line.seconds >= LEAST_SHARE * billed_s)


def union_s(tasks: Sequence[TaskRecord]) -> float:
    """Seconds in which at least one of the tasks ran."""
    total_s, until = 0.0, float("-inf")
    for task in sorted(tasks, key=lambda task: task.started_at):
        total_s += max(0.0, task.ended_at - max(task.started_at, until))
        until = max(until, task.ended_at)
    return total_s


def _around_stages(run: RunRecord, billed_s: float) -> Iterator[PhysicsLine]:
    start_up_s = run.start_up_s or 0.0
    yield PhysicsLine(what="start-up", seconds=start_up_s, source="the run's record: before the first job could begin")
    stages_s = sum(stage.wall_s for stage in run.stages)
    yield PhysicsLine(
        what="between the stages",
        seconds=max(0.0, billed_s - start_up_s - stages_s),
        source="billed time less start-up and stages: the driver alone, or the cluster's stop",
    )


def _in_stage(stage: StageRecord, tasks: Sequence[TaskRecord], slots: int, nodes: int) -> Iterator[PhysicsLine]:
    if not tasks:
        yield PhysicsLine(what=stage.name, seconds=stage.wall_s, source="the stage's record; it has no task records")
        return
    is_gang = stage.name in GANG_STAGES
    yield PhysicsLine(
        what=f"{stage.name}: driver",
        seconds=max(0.0, stage.wall_s - union_s(tasks)),
        source=f"the stage's {format_duration(stage.wall_s)} less the union of its {_tasks(len(tasks))}",
    )
    if is_gang:
        longest_s = max(task.wall_s for task in tasks)
        source = f"the longest of {_tasks(len(tasks))} that ran side by side"
        yield PhysicsLine(what=f"{stage.name}: tasks", seconds=longest_s, source=source)
    else:
        yield _waves(stage.name, tasks, slots)
    side_by_side = min(len(tasks), nodes if is_gang else slots)
    for what, name in (("reading", "read"), ("writing", "write")):
        number = sum(task.read_bytes if name == "read" else task.written_bytes for task in tasks)
        waited_s = sum(task.read_s if name == "read" else task.write_s for task in tasks)
        if number and waited_s > 0:
            rate = format_bytes(round(number / waited_s))
            yield PhysicsLine(
                what=f"{stage.name}: {what}",
                seconds=waited_s / side_by_side,
                source=f"{format_bytes(number)} at {rate}/s for each of {side_by_side} at a time, as tasks measured",
            )
    exchanged_s = sum(task.communicate_s for task in tasks)
    yield PhysicsLine(
        what=f"{stage.name}: exchanging",
        seconds=exchanged_s / side_by_side,
        source=f"{format_duration(exchanged_s)} of all tasks over {side_by_side} at a time",
    )


def _waves(stage: str, tasks: Sequence[TaskRecord], slots: int) -> PhysicsLine:
    waves, typical_s = -(-len(tasks) // slots), median(task.wall_s for task in tasks)
    slots_words = "1 slot" if slots == 1 else f"{slots:,} slots"
    waves_words = "1 wave" if waves == 1 else f"{waves:,} waves"
    return PhysicsLine(
        what=f"{stage}: tasks",
        seconds=waves * typical_s,
        source=f"{_tasks(len(tasks))} in {slots_words} make {waves_words} of {format_duration(typical_s)}, the median",
    )


def _gradients(run: RunRecord) -> Iterator[PhysicsLine]:
    workers: Sequence[Mapping[str, Any]] = ((run.result or {}).get("train") or {}).get("workers") or ()
    sent_bytes: dict[int, int] = defaultdict(int)
    exchanged_s: dict[int, float] = defaultdict(float)
    for one in workers:
        sent_bytes[one["rank"]] += one["sent_bytes"]
        exchanged_s[one["rank"]] += one["communicate_s"]
    if not any(sent_bytes.values()):
        return
    rank = max(sent_bytes, key=lambda rank: sent_bytes[rank])
    number, link = sent_bytes[rank], run.cluster.limits.network_bits_per_s
    sent = f"{format_bytes(number)} that worker {rank} sent"
    if link is None:
        seconds, source = exchanged_s[rank], f"{sent}: the time that it took, as the link's rate is not known"
    else:
        seconds, source = 8 * number / link, f"{sent} over a link of {format_rate(link)}"
    yield PhysicsLine(what="train: gradients", seconds=seconds, source=source)


def _tasks(count: int) -> str:
    return "1 task" if count == 1 else f"{count:,} tasks"
