"""Which stages a stage waited for, from what was recorded."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from nodewise.whatif.recording import CLOCK_S, RecordedJob, RecordedStage

__all__ = ["find_dependencies"]


def find_dependencies(stages: Sequence[RecordedStage], jobs: Sequence[RecordedJob]) -> list[list[int]]:
    """For each stage the places of those that it waited for, all before its own.

    A stage of a job waits for its parents in that job, a second attempt for the one that failed. The first stages of a
    job wait for the jobs that had ended when it began.

    Args:
        stages: In the order of their submission.
    """
    return _Dependencies(stages, jobs).find()


class _Dependencies:
    def __init__(self, stages: Sequence[RecordedStage], jobs: Sequence[RecordedJob]) -> None:
        self._stages = stages
        self._of_job: dict[int, list[int]] = {}
        for index, stage in enumerate(stages):
            self._of_job.setdefault(stage.job, []).append(index)
        # A job without stages tells of no work to wait for.
        numbers = sorted(self._of_job, key=lambda number: jobs[number].started_s)
        self._numbers = numbers
        self._place_of = {number: place for place, number in enumerate(numbers)}
        self._started_s = np.array([jobs[number].started_s for number in numbers])
        self._ended_s = np.array([jobs[number].ended_s for number in numbers])

    def find(self) -> list[list[int]]:
        found: list[list[int]] = []
        awaited_in_job: set[int] = set()
        for index, stage in enumerate(self._stages):
            in_job = self._before_in_job(index, stage)
            awaited_in_job.update(in_job)
            found.append(in_job or self._before_job(index, stage, awaited_in_job))
        return found

    def _before_in_job(self, index: int, stage: RecordedStage) -> list[int]:
        earlier = [
            other for other in self._of_job[stage.job] if other < index and self._has_ended(other, stage.submitted_s)
        ]
        if stage.attempt:
            # Tried again after a failure: once that was noticed.
            return sorted(earlier, key=lambda other: self._stages[other].ended_s or 0.0)[-1:]
        return [other for other in earlier if self._stages[other].number in stage.parents]

    def _before_job(self, index: int, stage: RecordedStage, awaited_in_job: set[int]) -> list[int]:
        place = self._place_of[stage.job]
        began_s = self._started_s[place]
        ended = np.flatnonzero(self._ended_s[:place] <= began_s + CLOCK_S)
        if not len(ended):
            return []
        # The others had ended before one of these began, which waited for them.
        last = ended[self._ended_s[ended] >= self._started_s[ended].max() - CLOCK_S]
        members = [other for one in last for other in self._of_job[self._numbers[one]]]
        return [
            other
            for other in members
            if other < index and other not in awaited_in_job and self._has_ended(other, stage.submitted_s)
        ]

    def _has_ended(self, other: int, at_s: float) -> bool:
        ended_s = self._stages[other].ended_s
        return ended_s is not None and ended_s <= at_s + CLOCK_S
