"""A crew on Ray: tasks in a placement group, each of which is started again by itself when it is lost."""

from __future__ import annotations

import time
from collections.abc import Generator
from typing import Any

from nodewise.core.errors import WorkerLostError
from nodewise.engines.base import CrewFunction, TaskResult
from nodewise.engines.crew import CrewPlan, Members, lead
from nodewise.engines.ray_members import end_tasks, node_bundles, node_name, on_bundle, outcome, own_host
from nodewise.engines.worker import run_member

__all__ = ["run_crew"]

LOOK_S = 1.0
REPLACEMENT_TIMEOUT_S = 120.0


def run_crew(stage: str, function: CrewFunction, payload: Any, plan: CrewPlan) -> Generator[TaskResult]:
    """As :meth:`nodewise.engines.base.Engine.crew`."""
    with node_bundles(stage, plan.cluster) as group:
        yield from lead(stage, plan.world_size, _RayCrew(stage, function, payload, plan, group))


class _RayCrew(Members):
    """Members of a node share its bundle of a placement group, which Ray moves to another node if that one is lost."""

    def __init__(self, stage: str, function: CrewFunction, payload: Any, plan: CrewPlan, group: Any) -> None:
        self._stage, self._function, self._payload = stage, function, payload
        self._plan, self._group = plan, group
        self._running: dict[Any, int] = {}
        self._lost_at: dict[int, float] = {}

    def start(self, rank: int, attempt: int) -> None:
        member = on_bundle(_run_member, self._group, self._plan.node_of(rank), self._plan.members_per_node)
        reference = member.remote(self._function, self._payload, self._stage, self._plan, rank, attempt)
        self._running[reference] = rank

    def next_end(self) -> tuple[int, TaskResult | None]:
        import ray

        while True:
            done, _ = ray.wait(list(self._running), num_returns=1, timeout=LOOK_S)
            if done:
                return self._running.pop(done[0]), outcome(done[0])
            self._require_nodes()

    def end(self) -> None:
        end_tasks(list(self._running))

    def _require_nodes(self) -> None:
        """Give up if a member waits for another node in place of a lost one, and none comes."""
        import ray
        from ray.util import placement_group_table

        now = time.monotonic()
        alive = {node["NodeID"] for node in ray.nodes() if node["Alive"]}
        places = placement_group_table(self._group)["bundles_to_node_id"]
        lost = {bundle for bundle, node in places.items() if node not in alive}
        self._lost_at = {bundle: self._lost_at.get(bundle, now) for bundle in lost}
        for rank in self._running.values():
            lost_at = self._lost_at.get(self._plan.node_of(rank), now)
            if now - lost_at > REPLACEMENT_TIMEOUT_S:
                raise WorkerLostError(
                    f"{self._stage}: the node of member {rank} was lost and no other one has taken its place within "
                    f"{REPLACEMENT_TIMEOUT_S:.0f} s",
                    hint="run it again on the nodes that are left, or bring the node back first",
                )


def _run_member(
    function: CrewFunction, payload: Any, stage: str, plan: CrewPlan, rank: int, attempt: int
) -> TaskResult:
    member = plan.member(rank, own_host(), attempt)
    return run_member(function, payload, member, stage=stage, node=node_name(), retries=attempt)
