"""Work that Spark does for a stage: jobs that can be watched and cancelled, and results that stay for more of them."""

from __future__ import annotations

import os
import re
import socket
import threading
from collections.abc import Callable, Generator, Iterator, Sequence
from functools import partial
from typing import Any

from nodewise.core.errors import NodewiseError, WorkerLostError
from nodewise.engines.base import TaskFunction, TaskResult
from nodewise.engines.worker import run_metered
from nodewise.specs.place import NODE_VARIABLE

__all__ = ["POLL_S", "ListParam", "SparkJob", "SparkStage", "node_name"]

POLL_S = 0.02
CANCEL_S = 0.5


class SparkStage:
    """What a function comes to on each partition, as an RDD of one partition for each.

    Args:
        persist: Keep the results when they are computed first. Without it every action computes them again, as Spark
            does unless it is told otherwise.
        task_cpus: Slots that each task takes. More than one only on clusters: Spark's local mode does not know it.
    """

    def __init__(
        self,
        context: Any,
        stage: str,
        function: TaskFunction,
        partitions: Sequence[Any],
        *,
        persist: bool,
        task_cpus: int = 1,
    ) -> None:
        self._context, self._stage, self._num_partitions = context, stage, len(partitions)
        # Results come back through an accumulator, the one channel on which Spark reports each task as it ends; a
        # result task's update is applied once, however often the task was attempted.
        self._finished = context.accumulator([], ListParam())
        numbered = context.parallelize(list(enumerate(partitions)), len(partitions))
        self._results = numbered.mapPartitions(partial(_run_tasks, function, stage, self._finished))
        if task_cpus > 1:
            self._results.withResources(_taking(task_cpus))
        if persist:
            self._results.persist()

    def results(self) -> Generator[TaskResult]:
        """Every result as it is ready, each exactly once; to be called first, and once.

        Raises:
            JobFailedError: The function raised; or the ``NodewiseError`` that it raised itself.
            WorkerLostError: A task's worker died more often than is allowed.
        """
        # Counted by the JVM: if they are kept, a second function in Python would run in a second process.
        job = SparkJob(self._results._jrdd.count)
        seen: set[int] = set()
        try:
            while True:
                ended = job.ended()
                for result in self._finished.value[len(seen) :]:
                    if result.error is not None:
                        raise result.error
                    seen.add(result.index)
                    yield result
                if ended:
                    break
                job.wait(POLL_S)
        finally:
            job.cancel(self._context)
        job.check(self._stage)
        if len(seen) != self._num_partitions:
            raise NodewiseError(
                f"{self._stage}: Spark ended the job with {len(seen)} of {self._num_partitions} tasks reported"
            )

    def group(self, key: Callable[[Any], Any], combine: Callable[[Any, list[Any]], Any]) -> list[Any]:
        """``combine(key, values)`` for the values of every key, in any order, as one Spark action.

        Args:
            key: Of a value; None leaves the value out. Both functions pickle.

        Raises:
            NodewiseError: As :meth:`results` does, where values are computed again.
        """
        found: list[Any] = []
        grouped = (
            self._results.flatMap(partial(_keyed, key)).groupByKey(numPartitions=1).map(partial(_combined, combine))
        )
        job = SparkJob(lambda: found.extend(grouped.collect()))
        try:
            while not job.ended():
                job.wait(POLL_S)
        finally:
            job.cancel(self._context)
        job.check(self._stage)
        for one in found:
            if isinstance(one, NodewiseError):
                raise one
        return found


class SparkJob:
    """A Spark action in a thread of its own, so that results can be looked at, and Ctrl-C answered, meanwhile."""

    def __init__(self, action: Any) -> None:
        from pyspark import InheritableThread

        self.error: Exception | None = None
        # Not asked of the thread: a join that Ctrl-C interrupts takes it for ended (python/cpython#90882).
        self._ended = threading.Event()
        InheritableThread(target=self._run, args=(action,), daemon=True).start()

    def _run(self, action: Any) -> None:
        try:
            action()
        except Exception as error:
            self.error = error
        finally:
            self._ended.set()

    def ended(self) -> bool:
        return self._ended.is_set()

    def wait(self, timeout_s: float) -> None:
        self._ended.wait(timeout_s)

    def cancel(self, context: Any) -> None:
        """End the action if it has not ended; its tasks may still take a while."""
        # Again and again, since what Spark has not heard of yet cannot be cancelled.
        while not self.ended():
            context.cancelAllJobs()
            self.wait(CANCEL_S)

    def check(self, stage: str) -> None:
        """Raise what the action raised, in one line.

        The functions themselves never raise (see :func:`nodewise.engines.worker.run_metered`), so what Spark reports is
        the loss of a worker.
        """
        if self.error is None:
            return
        cause = re.search(r"(Job aborted|Job \d+ cancelled|Could not recover)[^\n]*", str(self.error))
        reason = cause.group(0) if cause else str(self.error).strip().splitlines()[0]
        raise WorkerLostError(
            f"{stage}: Spark gave the job up: {reason[:300]}",
            hint="was a worker killed, or is there too little memory? fewer cores per node need less",
        ) from self.error


class ListParam:
    """Accumulates results in a list (an ``AccumulatorParam`` by shape)."""

    @staticmethod
    def zero(_value: list[TaskResult]) -> list[TaskResult]:
        return []

    @staticmethod
    def addInPlace(left: list[TaskResult], right: list[TaskResult]) -> list[TaskResult]:  # noqa: N802
        left += right
        return left


def node_name() -> str:
    """The node that this process is on."""
    return os.environ.get(NODE_VARIABLE) or socket.gethostname()


def _taking(task_cpus: int) -> Any:
    from pyspark.resource import ResourceProfileBuilder, TaskResourceRequests

    return ResourceProfileBuilder().require(TaskResourceRequests().cpus(task_cpus)).build


def _run_tasks(
    function: TaskFunction, stage: str, finished: Any, numbered: Iterator[tuple[int, Any]]
) -> Iterator[TaskResult]:
    from pyspark import TaskContext

    context: Any = TaskContext.get()
    for index, partition in numbered:
        call = partial(function, partition)
        result = run_metered(call, stage=stage, index=index, node=node_name(), retries=context.attemptNumber())
        finished.add([result])
        yield result


def _keyed(key: Callable[[Any], Any], result: TaskResult) -> Iterator[tuple[Any, Any]]:
    if result.error is not None:
        yield None, result.error
    elif (found := key(result.value)) is not None:
        yield found, result.value


def _combined(combine: Callable[[Any, list[Any]], Any], group: tuple[Any, Any]) -> Any:
    key, values = group
    return next(iter(values)) if key is None else combine(key, list(values))
