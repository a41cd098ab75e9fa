"""Engine ``ray``: Ray tasks on an emulated or any other Ray cluster."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Callable, Generator, Sequence
from functools import partial
from typing import Any

from nodewise.core.errors import MissingDependencyError, NodewiseError
from nodewise.engines.attempts import Attempts
from nodewise.engines.base import MAX_TASK_FAILURES, CrewFunction, GangFunction, TaskFunction, TaskResult
from nodewise.engines.crew import CrewPlan
from nodewise.engines.ray_crew import run_crew
from nodewise.engines.ray_gang import run_gang
from nodewise.engines.ray_members import NODE_TIMEOUT_S, node_name, outcome
from nodewise.engines.worker import run_metered, warm_up
from nodewise.specs.access import ClusterAccess
from nodewise.specs.cluster import ClusterSpec

__all__ = ["RayEngine"]


class RayEngine:
    """Ray tasks on a cluster that is up: an emulated one, or any other."""

    name = "ray"

    def __init__(self, cluster: ClusterSpec, access: ClusterAccess | None = None) -> None:
        self._cluster = cluster
        self._access = access
        self._environment_before: dict[str, str] | None = None
        self._connected = False
        self._speak_again: Callable[[], None] = lambda: None

    def start(self, modules: Sequence[str] = ()) -> None:
        address = self._cluster.address
        options: dict[str, Any] = {}
        if self._access is not None:
            self._environment_before = dict(os.environ)
            os.environ.update(self._access.environment)
            address = self._access.address
            options["_node_ip_address"] = self._access.driver_host
        ray = _import_ray()
        try:
            ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR, **options)
        except (ConnectionError, RuntimeError, ValueError) as error:
            raise NodewiseError(
                f"no Ray cluster answers at {address}: {str(error).splitlines()[0]}",
                hint="is the address right and the cluster up? `ray status --address ADDRESS` tells",
            ) from error
        self._connected = True
        self._speak_again = _silence()
        # One task in every slot, so that each node has its workers before the first job is timed.
        touch = ray.remote(num_cpus=1, scheduling_strategy="SPREAD")(warm_up)
        ray.get([touch.remote(modules) for _ in range(self._slots_now())], timeout=NODE_TIMEOUT_S)

    def _slots_now(self) -> int:
        # More at once than there are nodes would have an autoscaler add some before there is any work.
        if self._access is None or not self._access.is_autoscaled:
            return self._cluster.slots
        return len(self._access.places) * self._cluster.cores_per_node

    def map(self, stage: str, function: TaskFunction, partitions: Sequence[Any]) -> Generator[TaskResult]:
        import ray

        # Ray's own retries do not tell how many there were, and the record of a task does.
        remote = ray.remote(num_cpus=1, max_retries=0, scheduling_strategy="SPREAD")(_run_task)
        attempts = Attempts(stage)
        waiting = list(range(len(partitions)))[::-1]
        running: dict[Any, int] = {}
        try:
            while waiting or running:
                while waiting and len(running) < self._cluster.slots:
                    index = waiting.pop()
                    running[remote.remote(function, partitions[index], stage, index, attempts.retries(index))] = index
                (reference,), _ = ray.wait(list(running), num_returns=1)
                index = running.pop(reference)
                result = outcome(reference)
                if result is None:
                    attempts.lose([index])
                    waiting.append(index)
                elif result.error is not None:
                    raise result.error
                else:
                    yield result
        finally:
            for reference in running:
                ray.cancel(reference, force=True)

    def gang(
        self, stage: str, function: GangFunction, payload: Any, max_restarts: int = MAX_TASK_FAILURES - 1
    ) -> list[TaskResult]:
        return run_gang(stage, function, payload, self._cluster, max_restarts)

    def crew(
        self, stage: str, function: CrewFunction, payload: Any, members_per_node: int = 1
    ) -> Generator[TaskResult]:
        return run_crew(stage, function, payload, CrewPlan(self._cluster, members_per_node))

    def stop(self) -> None:
        if self._connected:
            import ray

            ray.shutdown()
            self._speak_again()
            self._connected = False
        if self._environment_before is not None:
            os.environ.clear()
            os.environ.update(self._environment_before)
            self._environment_before = None


def _import_ray() -> Any:
    """Import Ray, and have it look anew at how this cluster authenticates, if another one was used before."""
    known = "ray" in sys.modules
    try:
        import ray
    except ImportError:
        raise MissingDependencyError("engine 'ray' needs the package ray", hint="pip install 'nodewise[ray]'") from None
    if known:
        from ray._raylet import AuthenticationTokenLoader, Config  # type: ignore[attr-defined]

        Config.initialize("")
        AuthenticationTokenLoader.instance().reset_cache()
    return ray


def _silence() -> Callable[[], None]:
    """Keep Ray from printing a paragraph on standard output for every worker that dies; returns what undoes it.

    The death is in the task's record, and standard output may be somebody's JSON. No setting of Ray turns this off.
    """
    from ray._private import worker

    name = "print_to_stdstream"
    before = getattr(worker, name, None)
    setattr(worker, name, lambda *_args, **_kwargs: None)
    return lambda: setattr(worker, name, before)


def _run_task(function: TaskFunction, partition: Any, stage: str, index: int, retries: int) -> TaskResult:
    return run_metered(partial(function, partition), stage=stage, index=index, node=node_name(), retries=retries)
