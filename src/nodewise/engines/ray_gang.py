"""A gang on Ray: tasks in a placement group that find each other through an actor."""

from __future__ import annotations

import asyncio
from typing import Any

from nodewise.engines.attempts import Attempts, first_failure, has_lost_member
from nodewise.engines.base import GangFunction, TaskResult
from nodewise.engines.ray_members import END_S, end_tasks, node_bundles, node_name, on_bundle, outcome, own_host
from nodewise.engines.worker import run_member
from nodewise.specs.cluster import ClusterSpec
from nodewise.specs.gang import GangContext

__all__ = ["run_gang"]


def run_gang(
    stage: str, function: GangFunction, payload: Any, cluster: ClusterSpec, max_restarts: int
) -> list[TaskResult]:
    """As :meth:`nodewise.engines.base.Engine.gang`."""
    import ray

    nodes, cores = cluster.nodes, cluster.cores_per_node
    attempts = Attempts(stage, max_restarts + 1)
    with node_bundles(stage, cluster) as group:
        while True:
            retries = attempts.retries(0)
            meeting = ray.remote(num_cpus=0)(_Meeting).remote(nodes)
            members = [
                on_bundle(_run_member, group, rank).remote(
                    function, payload, stage, _RayGang(rank, nodes, cores, meeting), retries
                )
                for rank in range(nodes)
            ]
            results = _await(members)
            ray.kill(meeting)
            if results is not None:
                return results
            attempts.lose([0])


def _await(members: list[Any]) -> list[TaskResult] | None:
    """The results in order of rank, or None if a member was lost; then the others are ended too."""
    import ray

    results: dict[Any, TaskResult] = {}
    pending = members
    grace_s = 0.0
    try:
        while pending:
            (reference,), pending = ray.wait(pending, num_returns=1)
            result = outcome(reference)
            if result is None:
                # The others notice by themselves, and end; what is cancelled in that moment may take the next
                # attempt's process along, which Ray gives to whoever comes.
                grace_s = END_S
                return None
            failure = first_failure([result])
            if failure is not None:
                raise failure
            results[reference] = result
        return None if has_lost_member(results.values()) else [results[reference] for reference in members]
    finally:
        end_tasks(pending, grace_s)


def _run_member(function: GangFunction, payload: Any, stage: str, gang: _RayGang, retries: int) -> TaskResult:
    return run_member(function, payload, gang, stage=stage, node=node_name(), retries=retries)


class _Meeting:
    """The actor through which the members of a gang find each other."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._rounds: dict[int, dict[int, str]] = {}
        self._changed = asyncio.Condition()

    async def all_gather(self, number: int, rank: int, message: str) -> list[str]:
        async with self._changed:
            messages = self._rounds.setdefault(number, {})
            messages[rank] = message
            self._changed.notify_all()
            await self._changed.wait_for(lambda: len(messages) == self._size)
        return [messages[rank] for rank in range(self._size)]


class _RayGang(GangContext):
    """Members are tasks in a placement group, one bundle per node."""

    def __init__(self, rank: int, world_size: int, threads: int, meeting: Any) -> None:
        self.rank = rank
        self.world_size = world_size
        self.threads = threads
        self._meeting = meeting
        self._round = 0

    @property
    def host(self) -> str:  # type: ignore[override]
        return own_host()

    def all_gather(self, message: str) -> list[str]:
        import ray

        self._round += 1
        messages: list[str] = ray.get(self._meeting.all_gather.remote(self._round, self.rank, message))
        return messages
