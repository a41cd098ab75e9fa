"""Makes a program of what was recorded: what waited for what, and which part of the time was the driver's."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from nodewise.whatif.dependencies import find_dependencies
from nodewise.whatif.occupancy import cluster_shape, occupy, slot_groups
from nodewise.whatif.program import Bools, Floats, Program, ProgramStage, Tasks
from nodewise.whatif.recording import CLOCK_S, RecordedStage, RecordedTasks, Recording, places_of
from nodewise.whatif.simulate import simulate

__all__ = ["make_program"]


def make_program(recording: Recording) -> Program:
    """The program whose replay on its own slots is what was recorded.

    The time from the end of what a stage waited for to its submission is the driver's. So is the time in which a slot
    was free, and a task of a stage that had been submitted was not on it yet; and what a stage took beyond its replay,
    since slots were there and not used.
    """
    order = sorted(range(len(recording.stages)), key=lambda place: _order_of(recording.stages[place]))
    stages = [recording.stages[place] for place in order]
    by_stage = places_of(recording.tasks.stage, len(stages))
    waits_for = find_dependencies(stages, recording.jobs)
    wait_s, slots = occupy(recording)
    ranks = np.empty(len(stages), np.int64)
    ranks[np.lexsort(([stage.number for stage in stages], [stage.job for stage in stages]))] = np.arange(len(stages))
    ends_s: list[float] = []
    spans_s: list[float] = []
    made = []
    for index, (place, stage) in enumerate(zip(order, stages, strict=True)):
        picked = by_stage[place]
        picked = picked[np.argsort(recording.tasks.started_s[picked], kind="stable")]
        task_ends_s = recording.tasks.ended_s[picked]
        end_s = stage.ended_s
        if end_s is None:
            end_s = float(task_ends_s.max(initial=stage.submitted_s))
        holds = task_ends_s <= end_s + CLOCK_S
        waited_s = max((ends_s[earlier] for earlier in waits_for[index]), default=0.0)
        held_until_s = float(task_ends_s[holds].max(initial=stage.submitted_s))
        spans_s.append(held_until_s - stage.submitted_s)
        made.append(
            ProgramStage(
                name=stage.name,
                waits_for=tuple(waits_for[index]),
                gap_s=max(0.0, stage.submitted_s - waited_s),
                closing_s=max(0.0, end_s - held_until_s),
                priority=int(ranks[index]),
                tasks=_tasks(recording.tasks, picked, wait_s[picked], holds),
                is_gang=stage.is_gang,
                fills_slots=stage.fills_slots,
            )
        )
        ends_s.append(end_s)
    nodes, cores, slots_per_node = cluster_shape(recording.nodes, recording.cores_per_node, slots)
    return _with_rest(
        Program(
            name=recording.name,
            stages=tuple(made),
            tail_s=max(0.0, recording.measured_s - max(ends_s, default=0.0)),
            measured_s=recording.measured_s,
            slots=slot_groups(slots, min((stage.submitted_s for stage in stages), default=0.0)),
            nodes=nodes,
            cores_per_node=cores,
            slots_per_node=slots_per_node,
            node_type=recording.node_type,
            network_bits_per_s=recording.network_bits_per_s,
            notes=recording.notes,
        ),
        spans_s,
    )


def _with_rest(program: Program, spans_s: Sequence[float]) -> Program:
    """The program with what its stages took, from submission to their last task's end, beyond their replay.

    Of that only as much as is missing in all: stages side by side may take slots from each other in another order.
    """
    ran = simulate(program, program.slots)
    rests_s = [
        max(0.0, span_s - (one.tasks_end_s - one.submitted_s)) for one, span_s in zip(ran.stages, spans_s, strict=True)
    ]
    missing_s = program.measured_s - ran.end_s
    added_s = simulate(_delayed(program, rests_s, 1.0), program.slots).end_s - ran.end_s
    share = min(1.0, missing_s / added_s) if missing_s > 0 and added_s > 0 else 0.0
    return _delayed(program, rests_s, share)


def _delayed(program: Program, rests_s: Sequence[float], share: float) -> Program:
    stages = zip(program.stages, rests_s, strict=True)
    return replace(
        program, stages=tuple(replace(stage, gap_s=stage.gap_s + share * rest_s) for stage, rest_s in stages)
    )


def _order_of(stage: RecordedStage) -> tuple[float, int, int]:
    return stage.submitted_s, stage.number, stage.attempt


def _tasks(recorded: RecordedTasks, picked: np.ndarray, wait_s: Floats, holds: Bools) -> Tasks:
    run_s = np.maximum(0.0, recorded.ended_s[picked] - recorded.started_s[picked])
    left_s = run_s
    parts = {}
    # The CPU comes last: several threads may have used more of it than the task took.
    for name in ("fetch_s", "write_s", "read_s", "cpu_s"):
        parts[name] = np.minimum(np.maximum(0.0, getattr(recorded, name)[picked]), left_s)
        left_s = left_s - parts[name]
    return Tasks(
        wait_s=wait_s,
        other_s=left_s,
        read_bytes=recorded.read_bytes[picked],
        fetch_bytes=recorded.fetch_bytes[picked],
        write_bytes=recorded.write_bytes[picked],
        has_failed=recorded.has_failed[picked],
        holds_stage=holds,
        **parts,
    )
