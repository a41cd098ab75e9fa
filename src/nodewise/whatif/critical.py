"""The time that no number of nodes goes below: start-up, the driver, and the longest chain of stages."""

from __future__ import annotations

from nodewise.specs.whatif import CriticalStage
from nodewise.whatif.program import Program

__all__ = ["critical_path"]


def critical_path(program: Program) -> tuple[float, tuple[CriticalStage, ...]]:
    """Seconds from start to end with a slot for every task, and the stages that these are made of.

    Tasks take the time that they took; but of work that is shared among however many nodes there are, none is left.
    """
    ends_s: list[float] = []
    waited_for: list[int | None] = []
    steps: list[CriticalStage] = []
    for stage in program.stages:
        last = max(stage.waits_for, key=ends_s.__getitem__, default=None)
        waited_s = 0.0 if last is None else ends_s[last]
        start_s = waited_s + stage.gap_s
        longest_s = 0.0
        if len(stage.tasks):
            start_s = max(start_s, program.ready_s)
            tasks = stage.tasks
            work_s = tasks.cpu_s + tasks.read_s + tasks.write_s if stage.shares_work else 0.0
            longest_s = float((tasks.slot_s - work_s)[tasks.holds_stage].max(initial=0.0))
        ends_s.append(start_s + longest_s + stage.closing_s)
        waited_for.append(last)
        steps.append(
            CriticalStage(
                name=stage.name,
                driver_s=start_s - waited_s + stage.closing_s,
                longest_task_s=longest_s,
                num_tasks=len(stage.tasks),
            )
        )
    place = max(range(len(steps)), key=ends_s.__getitem__, default=None)
    end_s = program.tail_s + (0.0 if place is None else ends_s[place])
    chain = []
    while place is not None:
        chain.append(steps[place])
        place = waited_for[place]
    return end_s, tuple(reversed(chain))
