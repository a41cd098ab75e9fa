"""Engine ``local``: worker processes on this machine, through loky."""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from collections.abc import Generator, Sequence
from concurrent.futures import FIRST_COMPLETED, BrokenExecutor, Future, wait
from functools import partial
from pathlib import Path
from typing import Any

from nodewise.core.errors import JobFailedError
from nodewise.core.files import write_atomic
from nodewise.engines.attempts import Attempts, first_failure, has_lost_member
from nodewise.engines.base import MAX_TASK_FAILURES, CrewFunction, GangFunction, TaskFunction, TaskResult
from nodewise.engines.crew import CrewPlan
from nodewise.engines.local_crew import run_crew
from nodewise.engines.local_pool import enter_node, new_pool, worker_died
from nodewise.engines.worker import run_member, run_metered, warm_up
from nodewise.specs.access import ClusterAccess
from nodewise.specs.cluster import ClusterSpec
from nodewise.specs.gang import GangContext
from nodewise.specs.place import NODE_VARIABLE, NodePlace

__all__ = ["LocalEngine"]

GATHER_TIMEOUT_S = 300.0
LINGER_S = 0.02


class LocalEngine:
    """A node is a group of ``cores_per_node`` processes in its place; members of gangs and crews have their own."""

    name = "local"

    def __init__(self, cluster: ClusterSpec, access: ClusterAccess | None = None) -> None:
        self._cluster = cluster
        own = tuple(NodePlace(name=f"node-{number}", host="127.0.0.1") for number in range(cluster.nodes))
        self._places = access.places if access is not None else own
        self._pool: Any = None

    def start(self, modules: Sequence[str] = ()) -> None:
        self._pool = new_pool(self._slots)
        # Should one process get two of these tasks, the other one imports with its first real task.
        wait([self._pool.submit(warm_up, modules, LINGER_S) for _ in range(self._cluster.slots)])

    def map(self, stage: str, function: TaskFunction, partitions: Sequence[Any]) -> Generator[TaskResult]:
        attempts = Attempts(stage)
        waiting = list(range(len(partitions)))[::-1]
        running: dict[Future[TaskResult], int] = {}
        while waiting or running:
            # No more tasks are handed out than there are slots, so that when the pool breaks those handed out are those
            # that were running.
            while waiting and len(running) < self._cluster.slots:
                index = waiting.pop()
                retries = attempts.retries(index)
                try:
                    running[self._pool.submit(_run_task, function, partitions[index], stage, index, retries)] = index
                except BrokenExecutor:
                    # A worker has died since the last look. If it was at a task, that one's future tells below.
                    waiting.append(index)
                    if running:
                        break
                    self._restart_pool()
            done, _ = wait(running, return_when=FIRST_COMPLETED)
            lost = []
            for future in done:
                index = running.pop(future)
                if worker_died(future):
                    lost.append(index)
                    continue
                result = future.result()
                if result.error is not None:
                    raise result.error
                yield result
            if lost:
                # A broken pool takes its other workers along: their tasks start again too.
                lost += self._drain(running)
                self._restart_pool()
                attempts.lose(lost)
                waiting += sorted(lost, reverse=True)

    def _drain(self, running: dict[Future[TaskResult], int]) -> list[int]:
        wait(running)
        indices = list(running.values())
        running.clear()
        return indices

    def gang(
        self, stage: str, function: GangFunction, payload: Any, max_restarts: int = MAX_TASK_FAILURES - 1
    ) -> list[TaskResult]:
        attempts = Attempts(stage, max_restarts + 1)
        while True:
            retries = attempts.retries(0)
            folder = Path(tempfile.mkdtemp(prefix="nodewise-gang-"))
            pool = new_pool([None] * self._cluster.nodes, threads=self._cluster.cores_per_node)
            try:
                gangs = [_LocalGang(rank, self._cluster, place, folder) for rank, place in enumerate(self._places)]
                members = [pool.submit(_run_member, function, payload, stage, gang, retries) for gang in gangs]
                results = self._await_gang(members)
            finally:
                pool.shutdown(wait=True, kill_workers=True)
                shutil.rmtree(folder, ignore_errors=True)
            if results is not None:
                return results
            attempts.lose([0])

    @staticmethod
    def _await_gang(members: list[Future[TaskResult]]) -> list[TaskResult] | None:
        """The results in order of rank, or None if a member was lost."""
        pending = set(members)
        while pending:
            done, pending = wait(pending, return_when=FIRST_COMPLETED)
            if any(worker_died(future) for future in done):
                return None
            failure = first_failure(future.result() for future in done)
            if failure is not None:
                raise failure
        results = [future.result() for future in members]
        return None if has_lost_member(results) else results

    def crew(
        self, stage: str, function: CrewFunction, payload: Any, members_per_node: int = 1
    ) -> Generator[TaskResult]:
        return run_crew(stage, function, payload, CrewPlan(self._cluster, members_per_node), self._places)

    def stop(self) -> None:
        if self._pool is not None:
            self._pool.shutdown(wait=True, kill_workers=True)
            self._pool = None

    def _restart_pool(self) -> None:
        self._pool.shutdown(wait=True, kill_workers=True)
        self._pool = new_pool(self._slots)

    @property
    def _slots(self) -> list[NodePlace | None]:
        """The place of every worker process."""
        return [place for place in self._places for _ in range(self._cluster.cores_per_node)]


def _run_task(function: TaskFunction, partition: Any, stage: str, index: int, retries: int) -> TaskResult:
    return run_metered(
        partial(function, partition), stage=stage, index=index, node=os.environ[NODE_VARIABLE], retries=retries
    )


def _run_member(function: GangFunction, payload: Any, stage: str, gang: _LocalGang, retries: int) -> TaskResult:
    enter_node(gang.place)
    # A member that waits here keeps its process, so that no process becomes two members.
    gang.all_gather("here")
    return run_member(function, payload, gang, stage=stage, node=os.environ[NODE_VARIABLE], retries=retries)


class _LocalGang(GangContext):
    """Members meet through files in a folder of this machine."""

    def __init__(self, rank: int, cluster: ClusterSpec, place: NodePlace, folder: Path) -> None:
        self.rank = rank
        self.place = place
        self.world_size = cluster.nodes
        self.threads = cluster.cores_per_node
        self.host = place.host
        self._folder = folder
        self._round = 0

    def all_gather(self, message: str) -> list[str]:
        self._round += 1
        write_atomic(self._folder / f"{self._round}-{self.rank}", message)
        paths = [self._folder / f"{self._round}-{rank}" for rank in range(self.world_size)]
        deadline = time.monotonic() + GATHER_TIMEOUT_S
        while not all(path.exists() for path in paths):
            if time.monotonic() > deadline:
                missing = [rank for rank, path in enumerate(paths) if not path.exists()]
                raise JobFailedError(f"rank {self.rank} waited {GATHER_TIMEOUT_S:.0f} s for ranks {missing}")
            time.sleep(0.005)
        return [path.read_text() for path in paths]
