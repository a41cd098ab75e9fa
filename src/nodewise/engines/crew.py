"""What the engines' crews have in common: who is where, and the loop that keeps every member up."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass
from typing import Protocol

from nodewise.core.errors import InputError
from nodewise.engines.attempts import Attempts
from nodewise.engines.base import TaskResult
from nodewise.specs.cluster import ClusterSpec
from nodewise.specs.crew import CrewContext

__all__ = ["CrewPlan", "Members", "lead"]


@dataclass(frozen=True, slots=True)
class CrewPlan:
    """So many members on every node of a cluster, ranked node by node; picklable.

    Raises:
        InputError: Fewer than one per node.
    """

    cluster: ClusterSpec
    members_per_node: int

    def __post_init__(self) -> None:
        if self.members_per_node < 1:
            raise InputError(f"{self.members_per_node} members per node", hint="at least 1")

    @property
    def world_size(self) -> int:
        return self.cluster.nodes * self.members_per_node

    @property
    def threads(self) -> int:
        """Of each member."""
        return max(1, self.cluster.cores_per_node // self.members_per_node)

    def node_of(self, rank: int) -> int:
        """The number of the member's node, from 0."""
        return rank // self.members_per_node

    def member(self, rank: int, host: str, attempt: int) -> CrewContext:
        return CrewContext(rank=rank, world_size=self.world_size, threads=self.threads, host=host, attempt=attempt)


class Members(Protocol):
    """The processes of a crew, on engines that leave starting them again to their driver."""

    def start(self, rank: int, attempt: int) -> None:
        """Begin a member, where its node is; at once, without waiting for it."""

    def next_end(self) -> tuple[int, TaskResult | None]:
        """Wait until a member ends: its rank and what it returned, None if its process died.

        Raises:
            WorkerLostError: A member can be run nowhere any more.
        """

    def end(self) -> None:
        """End every member that still runs, and wait until its process is gone."""


def lead(stage: str, world_size: int, members: Members) -> Generator[TaskResult]:
    """Results as members end, each rank exactly once; those whose process dies are started again.

    However it ends, no member is left.
    """
    attempts = Attempts(stage)
    try:
        for rank in range(world_size):
            members.start(rank, 0)
        ended = 0
        while ended < world_size:
            rank, result = members.next_end()
            if result is None:
                attempts.lose([rank])
                members.start(rank, attempts.retries(rank))
            elif result.error is not None:
                raise result.error
            else:
                ended += 1
                yield result
    finally:
        members.end()
