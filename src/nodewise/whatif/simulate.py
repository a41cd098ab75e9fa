"""Schedules the tasks of a program on slots, as Spark does by default: first in, first out, a task to each free slot.

Takes a few microseconds per task, whatever the number of slots.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from heapq import heapify, heappop, heappush, heapreplace
from math import inf

import numpy as np

from nodewise.whatif.program import Floats, Program, SlotGroup

__all__ = ["Schedule", "StageSchedule", "simulate"]


@dataclass(frozen=True, slots=True, kw_only=True)
class StageSchedule:
    """When a stage ran, in seconds since the program's start.

    Attributes:
        submitted_s: From when on its tasks could start.
        tasks_end_s: End of the last task that holds it.
        ended_s: Its own end, ``closing_s`` later.
        starts_s: When each task was given a slot, shape (num_tasks,).
    """

    submitted_s: float
    tasks_end_s: float
    ended_s: float
    starts_s: Floats


@dataclass(frozen=True, slots=True, kw_only=True)
class Schedule:
    """A program on a cluster; ``stages`` are in the order of the program's."""

    stages: tuple[StageSchedule, ...]
    end_s: float


def simulate(program: Program, slots: Sequence[SlotGroup]) -> Schedule:
    """When every task of the program would run on these slots.

    A slot takes the next task of the ready stage that comes first by priority, as soon as it is free. A task that runs
    when its slot is to go is let finish, and the last slot stays.
    """
    return _Scheduler(program, slots).run()


class _Scheduler:
    def __init__(self, program: Program, slots: Sequence[SlotGroup]) -> None:
        self._tail_s = program.tail_s
        self._stages = program.stages
        # When each slot is free next, and until when it is there.
        self._free = [(group.ready_s, group.until_s) for group in slots for _ in range(group.count)]
        heapify(self._free)
        self._left_to_wait_for = [len(stage.waits_for) for stage in self._stages]
        self._followers: list[list[int]] = [[] for _ in self._stages]
        for index, stage in enumerate(self._stages):
            for earlier in stage.waits_for:
                self._followers[earlier].append(index)
        self._slot_s = [stage.tasks.slot_s for stage in self._stages]
        self._starts_s: list[list[float]] = [[] for _ in self._stages]
        self._submitted_s = [0.0] * len(self._stages)
        self._done: dict[int, StageSchedule] = {}
        self._to_come: list[tuple[float, int]] = []  # (submitted, stage), of stages whose submission is known
        self._ready: list[tuple[int, int]] = []  # (priority, stage), of stages with tasks to hand out

    def run(self) -> Schedule:
        self._submit([index for index, count in enumerate(self._left_to_wait_for) if count == 0])
        while self._ready or self._to_come:
            now = self._free[0][0]
            if not self._ready:
                now = max(now, self._to_come[0][0])
            while self._to_come and self._to_come[0][0] <= now:
                _, index = heappop(self._to_come)
                heappush(self._ready, (self._stages[index].priority, index))
            index = self._ready[0][1]
            if self._stages[index].is_gang:
                self._start_gang(index)
            else:
                self._hand_out(index)
            if len(self._starts_s[index]) == len(self._slot_s[index]):
                heappop(self._ready)
                self._submit(self._finish(index))
        done = tuple(self._done[index] for index in range(len(self._stages)))
        last_s = max((stage.ended_s for stage in done), default=0.0)
        return Schedule(stages=done, end_s=last_s + self._tail_s)

    def _hand_out(self, index: int) -> None:
        """Give slots to the tasks of a stage, until it has no more or a stage that goes first is submitted."""
        submitted_s, starts_s, free = self._submitted_s[index], self._starts_s[index], self._free
        priority = self._stages[index].priority
        first_s = min((at_s for at_s, other in self._to_come if self._stages[other].priority < priority), default=inf)
        for slot_s in self._slot_s[index][len(starts_s) :].tolist():
            while True:
                free_s, until_s = free[0]
                start_s = free_s if free_s > submitted_s else submitted_s
                if start_s < until_s or len(free) == 1:
                    break
                heappop(free)
            if start_s >= first_s:
                return
            heapreplace(free, (start_s + slot_s, until_s))
            starts_s.append(start_s)

    def _start_gang(self, index: int) -> None:
        start_s = max(self._submitted_s[index], max(self._free)[0])
        end_s = start_s + float(self._slot_s[index].max())
        self._free = [(end_s, until_s) for _, until_s in self._free]
        heapify(self._free)
        self._starts_s[index] = [start_s] * len(self._slot_s[index])

    def _submit(self, indices: list[int]) -> None:
        """Note when these stages, and those that follow stages without tasks, are submitted."""
        while indices:
            index = indices.pop()
            stage = self._stages[index]
            waited_s = max((self._done[earlier].ended_s for earlier in stage.waits_for), default=0.0)
            self._submitted_s[index] = waited_s + stage.gap_s
            if len(stage.tasks):
                heappush(self._to_come, (self._submitted_s[index], index))
            else:
                indices += self._finish(index)

    def _finish(self, index: int) -> list[int]:
        """Note the end of a stage whose tasks all have a slot; return the stages that waited for it last."""
        stage, submitted_s = self._stages[index], self._submitted_s[index]
        starts_s = np.array(self._starts_s[index], np.float64)
        ends_s = (starts_s + self._slot_s[index])[stage.tasks.holds_stage]
        tasks_end_s = float(ends_s.max(initial=submitted_s))
        self._done[index] = StageSchedule(
            submitted_s=submitted_s,
            tasks_end_s=tasks_end_s,
            ended_s=tasks_end_s + stage.closing_s,
            starts_s=starts_s,
        )
        for follower in self._followers[index]:
            self._left_to_wait_for[follower] -= 1
        return [follower for follower in self._followers[index] if self._left_to_wait_for[follower] == 0]
