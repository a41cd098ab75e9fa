"""A crew on the engine ``local``: each member in a process of its own, in its node's place."""

from __future__ import annotations

import os
from collections.abc import Generator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from typing import Any

from nodewise.engines.base import CrewFunction, TaskResult
from nodewise.engines.crew import CrewPlan, Members, lead
from nodewise.engines.local_pool import new_pool, worker_died
from nodewise.engines.worker import run_member
from nodewise.specs.crew import CrewContext
from nodewise.specs.place import NODE_VARIABLE, NodePlace

__all__ = ["run_crew"]


def run_crew(
    stage: str, function: CrewFunction, payload: Any, plan: CrewPlan, places: Sequence[NodePlace]
) -> Generator[TaskResult]:
    """As :meth:`nodewise.engines.base.Engine.crew`."""
    return lead(stage, plan.world_size, _LocalCrew(stage, function, payload, plan, places))


class _LocalCrew(Members):
    """Members in pools of one process each, since a process that dies takes the others of its pool along."""

    def __init__(
        self, stage: str, function: CrewFunction, payload: Any, plan: CrewPlan, places: Sequence[NodePlace]
    ) -> None:
        self._stage, self._function, self._payload = stage, function, payload
        self._plan, self._places = plan, places
        self._pools: dict[int, Any] = {}
        self._running: dict[Future[TaskResult], int] = {}

    def start(self, rank: int, attempt: int) -> None:
        place = self._places[self._plan.node_of(rank)]
        member = self._plan.member(rank, place.host, attempt)
        pool = self._pools[rank] = new_pool([place], threads=self._plan.threads)
        self._running[pool.submit(_run_member, self._function, self._payload, self._stage, member)] = rank

    def next_end(self) -> tuple[int, TaskResult | None]:
        done, _ = wait(self._running, return_when=FIRST_COMPLETED)
        future = done.pop()
        rank = self._running.pop(future)
        self._pools.pop(rank).shutdown(wait=True, kill_workers=True)
        return rank, None if worker_died(future) else future.result()

    def end(self) -> None:
        for pool in self._pools.values():
            pool.shutdown(wait=True, kill_workers=True)


def _run_member(function: CrewFunction, payload: Any, stage: str, member: CrewContext) -> TaskResult:
    node = os.environ[NODE_VARIABLE]
    return run_member(function, payload, member, stage=stage, node=node, retries=member.attempt)
