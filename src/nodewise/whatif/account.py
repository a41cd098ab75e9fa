"""What the cores of a cluster did while a program ran there.

Every second of every slot is one of these, so that they add up to the time of all slots:

    useful            a task that counts ran
    failed attempts   a task ran that failed or was killed
    start-up          idle before the first stage, or before the first slots were ready
    driver            idle while no stage had tasks under way; or free for a task that was still being handed out
    too few tasks     idle, and not even all tasks of the stages under way at once would have filled the slots
    skew              idle otherwise: the stages under way had tasks for it once, now only their last ones run
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from nodewise.specs.whatif import WastedCoreHours
from nodewise.whatif.program import Floats, Program, SlotGroup
from nodewise.whatif.simulate import Schedule

__all__ = ["CoreHours", "account"]


@dataclass(frozen=True, slots=True, kw_only=True)
class CoreHours:
    """Core-hours of a cluster: ``useful + wasted.total == total``."""

    useful: float
    wasted: WastedCoreHours
    total: float


def account(program: Program, slots: Sequence[SlotGroup], schedule: Schedule) -> CoreHours:
    """Split the time of these slots, from when they are paid for to the program's end."""
    end_s = schedule.end_s
    num_slots = sum(group.count for group in slots)
    changes = _Changes()
    for group in slots:
        changes.add([group.paid_from_s], [min(group.until_s, end_s)], slots=group.count)
    useful_s = failed_s = waited_s = 0.0
    for stage, ran in zip(program.stages, schedule.stages, strict=True):
        if not len(stage.tasks):
            continue
        # A gang takes all slots, however many each of its tasks has.
        weight = num_slots / len(stage.tasks) if stage.is_gang else 1.0
        starts_s = np.minimum(ran.starts_s, end_s)
        runs_s = np.minimum(ran.starts_s + stage.tasks.wait_s, end_s)
        ends_s = np.minimum(ran.starts_s + stage.tasks.slot_s, end_s)
        ran_s = (ends_s - runs_s) * weight
        failed_s += float(ran_s[stage.tasks.has_failed].sum())
        useful_s += float(ran_s[~stage.tasks.has_failed].sum())
        waited_s += float((runs_s - starts_s).sum()) * weight
        changes.add(starts_s, ends_s, busy=weight)
        changes.add([ran.submitted_s], [ran.tasks_end_s], stages=1, tasks=len(stage.tasks) * weight)
    step_s, at_s, state = changes.integrate()
    # A task that was under way when its slot went kept it.
    capacity = np.maximum(state["slots"], state["busy"])
    idle = capacity - state["busy"]
    has_begun = at_s >= max(min((stage.submitted_s for stage in schedule.stages), default=end_s), _ready_s(slots))
    is_under_way = has_begun & (state["stages"] > 0.5)
    too_few = np.where(is_under_way, np.minimum(idle, np.maximum(0.0, capacity - state["tasks"])), 0.0)
    hours = program.cores_per_slot / 3600
    return CoreHours(
        useful=useful_s * hours,
        wasted=WastedCoreHours(
            driver=(float(step_s @ np.where(has_begun & ~is_under_way, idle, 0.0)) + waited_s) * hours,
            skew=float(step_s @ np.where(is_under_way, idle - too_few, 0.0)) * hours,
            too_few_tasks=float(step_s @ too_few) * hours,
            start_up=float(step_s @ np.where(has_begun, 0.0, idle)) * hours,
            failed_attempts=failed_s * hours,
        ),
        total=float(step_s @ capacity) * hours,
    )


def _ready_s(slots: Sequence[SlotGroup]) -> float:
    return min(group.ready_s for group in slots)


class _Changes:
    """How many slots, busy slots, stages and tasks there are, as steps up and down over time."""

    _KINDS = ("slots", "busy", "stages", "tasks")

    def __init__(self) -> None:
        self._at_s: list[Floats] = []
        self._amounts: list[Floats] = []  # (num_kinds, num_changes)

    def add(self, from_s: Sequence[float] | Floats, until_s: Sequence[float] | Floats, **amounts: float) -> None:
        """So much of a kind more between each of these times, of the same number."""
        up = np.repeat([[amounts.get(kind, 0.0)] for kind in self._KINDS], len(from_s), axis=1)
        self._at_s += [np.asarray(from_s, np.float64), np.asarray(until_s, np.float64)]
        self._amounts += [up, -up]

    def integrate(self) -> tuple[Floats, Floats, dict[str, Floats]]:
        """Length and beginning of every step, shape (num_steps,), and the amounts in it by kind."""
        at_s = np.concatenate(self._at_s)
        order = np.argsort(at_s, kind="stable")
        at_s = at_s[order]
        sums = np.cumsum(np.concatenate(self._amounts, axis=1)[:, order], axis=1)
        # What is left of a sum of ups and downs is not exactly 0.
        state = dict(zip(self._KINDS, np.round(sums[:, :-1], 6), strict=True))
        return np.diff(at_s), at_s[:-1], state
