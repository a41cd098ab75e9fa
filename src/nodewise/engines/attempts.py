"""Counts the attempts at each task on engines that leave retrying to their driver."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from nodewise.core.errors import NodewiseError, WorkerLostError
from nodewise.engines.base import MAX_TASK_FAILURES, TaskResult

__all__ = ["Attempts", "first_failure", "has_lost_member"]


class Attempts:
    """How often each task's worker has died.

    Args:
        most: Attempts that each task has, the first one included.
    """

    def __init__(self, stage: str, most: int = MAX_TASK_FAILURES) -> None:
        self._stage, self._most = stage, most
        self._lost: Counter[int] = Counter()

    def retries(self, index: int) -> int:
        return self._lost[index]

    def lose(self, indices: Iterable[int]) -> None:
        """Note that the workers of these tasks died.

        Raises:
            WorkerLostError: One of them has died as often as is allowed.
        """
        for index in indices:
            self._lost[index] += 1
            if self._lost[index] >= self._most:
                raise _worker_lost(self._stage, index, self._lost[index])


def _worker_lost(stage: str, index: int, times: int) -> WorkerLostError:
    """The error for a task that was given up."""
    often = "once" if times == 1 else f"{times} times"
    return WorkerLostError(
        f"{stage}: the worker of task {index} died {often} and the task was given up",
        hint="was it killed, or is there too little memory? fewer cores per node or smaller batches need less",
    )


def first_failure(results: Iterable[TaskResult]) -> NodewiseError | None:
    """Of a gang's errors the one that came first: when one member fails, the others fail for want of it.

    That another member is gone (WorkerLostError) is no reason to fail: that one's own end tells why.
    """
    failed = [result for result in results if result.error is not None and not _lost_others(result)]
    return min(failed, key=lambda result: result.record.ended_at).error if failed else None


def has_lost_member(results: Iterable[TaskResult]) -> bool:
    """Whether a member of a gang whose other members did not fail found another one gone."""
    return any(_lost_others(result) for result in results)


def _lost_others(result: TaskResult) -> bool:
    return isinstance(result.error, WorkerLostError)
