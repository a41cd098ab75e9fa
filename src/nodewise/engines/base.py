"""What an engine is: it starts nodes, runs functions on them and returns each with a record of what it used."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from nodewise.core.errors import NodewiseError
from nodewise.metering.meter import TaskMeter
from nodewise.specs.crew import CrewContext
from nodewise.specs.gang import GangContext
from nodewise.specs.run import TaskRecord

__all__ = ["MAX_TASK_FAILURES", "CrewFunction", "Engine", "GangFunction", "TaskFunction", "TaskResult"]

MAX_TASK_FAILURES = 4
"""Attempts at a task (or at a whole gang) whose worker dies, on every engine: Spark's ``spark.task.maxFailures``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskResult:
    """What a task returned, or the error it ended with, and its record."""

    index: int
    value: Any
    record: TaskRecord
    error: NodewiseError | None = None


TaskFunction = Callable[[Any, TaskMeter], Any]
"""``function(partition, meter) -> value``; both pickle."""
GangFunction = Callable[[Any, TaskMeter, GangContext], Any]
"""``function(payload, meter, gang) -> value``; runs once on every node at the same time."""
CrewFunction = Callable[[Any, TaskMeter, CrewContext], Any]
"""``function(payload, meter, member) -> value``; as that, but a member does not need the others to go on."""


class Engine(Protocol):
    """Nodes that run tasks.

    Used from one thread. ``start`` returns when every node has answered. A task whose process dies is tried again, up
    to :data:`MAX_TASK_FAILURES` times; one whose function raises is not, since it would raise again. ``stop`` may be
    called at any time and more than once, also after a failed start, and leaves no process behind.
    """

    name: str

    def start(self, modules: Sequence[str] = ()) -> None:
        """Start the nodes, and import these modules in the processes that will run the tasks.

        Raises:
            MissingDependencyError: Java or the engine's package is not installed.
            PortInUseError: The port asked for is taken.
        """

    def map(self, stage: str, function: TaskFunction, partitions: Sequence[Any]) -> Generator[TaskResult]:
        """Run the function on every partition; results come as they are ready, each exactly once.

        A partition is taken from the sequence when its task is handed out. Once the generator is closed no more are
        handed out; those that run may come to their end.

        Raises:
            JobFailedError: The function raised; or the ``NodewiseError`` that it raised itself.
            WorkerLostError: A task's worker died more often than is allowed.
        """

    def gang(
        self, stage: str, function: GangFunction, payload: Any, max_restarts: int = MAX_TASK_FAILURES - 1
    ) -> list[TaskResult]:
        """Run the function on all nodes at once, one member per node; results in order of rank.

        If a member's process dies, the whole gang is started again, so many times at most.
        """

    def crew(
        self, stage: str, function: CrewFunction, payload: Any, members_per_node: int = 1
    ) -> Generator[TaskResult]:
        """Run the function on every node at once, so many times, for members that go on without one another.

        A node's cores are shared out evenly among its members. If a member's process dies, the others are let alone and
        it is started again, up to :data:`MAX_TASK_FAILURES` times in all. Results come as members end, each rank
        exactly once; ranks count node by node, but for Spark, which places them as it likes. What the function raises
        ends them all, and so does closing the generator: no member is left then.

        Raises:
            InputError: This cluster cannot run all members at once.
            JobFailedError: The function raised; or the ``NodewiseError`` that it raised itself.
            WorkerLostError: A member died more often than is allowed, or its node was lost and no other took its place.
        """

    def stop(self) -> None:
        """End every process that ``start`` began."""
