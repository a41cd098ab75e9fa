"""Engine ``ray``: Ray tasks on an emulated or any other Ray cluster."""

from __future__ import annotations

import asyncio
import logging
import os
import sys
from collections.abc import Callable, Generator, Sequence
from functools import partial
from typing import Any

from nodewise.core.errors import MissingDependencyError, NodewiseError
from nodewise.engines.attempts import Attempts, first_failure, has_lost_member
from nodewise.engines.base import GangFunction, TaskFunction, TaskResult
from nodewise.engines.worker import run_metered, warm_up
from nodewise.specs.access import ClusterAccess
from nodewise.specs.cluster import ClusterSpec
from nodewise.specs.gang import GangContext
from nodewise.specs.place import NODE_VARIABLE

__all__ = ["RayEngine"]

NODE_TIMEOUT_S = 120.0
MEMBER_GRACE_S = 3.0


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
                result = self._result_of(reference)
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

    def gang(self, stage: str, function: GangFunction, payload: Any) -> list[TaskResult]:
        import ray
        from ray.util.placement_group import placement_group, remove_placement_group
        from ray.util.scheduling_strategies import PlacementGroupSchedulingStrategy

        nodes, cores = self._cluster.nodes, self._cluster.cores_per_node
        group = placement_group([{"CPU": cores}] * nodes, strategy="STRICT_SPREAD")
        try:
            ray.get(group.ready(), timeout=NODE_TIMEOUT_S)
            attempts = Attempts(stage)
            while True:
                retries = attempts.retries(0)
                meeting = ray.remote(num_cpus=0)(_Meeting).remote(nodes)
                members = [
                    ray.remote(
                        num_cpus=cores,
                        max_retries=0,
                        scheduling_strategy=PlacementGroupSchedulingStrategy(
                            placement_group=group, placement_group_bundle_index=rank
                        ),
                    )(_run_member).remote(function, payload, stage, _RayGang(rank, nodes, cores, meeting), retries)
                    for rank in range(nodes)
                ]
                results = self._await_gang(members)
                ray.kill(meeting)
                if results is not None:
                    return results
                attempts.lose([0])
        finally:
            remove_placement_group(group)

    def _await_gang(self, members: list[Any]) -> list[TaskResult] | None:
        """The results in order of rank, or None if a member was lost; then the others are ended too."""
        import ray

        results: dict[Any, TaskResult] = {}
        pending = members
        grace_s = 0.0
        try:
            while pending:
                (reference,), pending = ray.wait(pending, num_returns=1)
                result = self._result_of(reference)
                if result is None:
                    # The others notice by themselves, and end; what is cancelled in that moment may take the next
                    # attempt's process along, which Ray gives to whoever comes.
                    grace_s = MEMBER_GRACE_S
                    return None
                failure = first_failure([result])
                if failure is not None:
                    raise failure
                results[reference] = result
            return None if has_lost_member(results.values()) else [results[reference] for reference in members]
        finally:
            if pending:
                _, pending = ray.wait(pending, num_returns=len(pending), timeout=grace_s)
            for reference in pending:
                ray.cancel(reference, force=True)
            if pending:
                ray.wait(pending, num_returns=len(pending), timeout=MEMBER_GRACE_S)

    def _result_of(self, reference: Any) -> TaskResult | None:
        """What a task returned; None if its process died."""
        import ray
        from ray.exceptions import NodeDiedError, OutOfMemoryError, WorkerCrashedError

        try:
            result: TaskResult = ray.get(reference)
        except (NodeDiedError, OutOfMemoryError, WorkerCrashedError):
            return None
        return result

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


def _node() -> str:
    if NODE_VARIABLE in os.environ:
        return os.environ[NODE_VARIABLE]
    import ray

    node: str = ray.get_runtime_context().get_node_id()
    return node


def _run_task(function: TaskFunction, partition: Any, stage: str, index: int, retries: int) -> TaskResult:
    return run_metered(partial(function, partition), stage=stage, index=index, node=_node(), retries=retries)


def _run_member(function: GangFunction, payload: Any, stage: str, gang: _RayGang, retries: int) -> TaskResult:
    return run_metered(
        lambda meter: function(payload, meter, gang), stage=stage, index=gang.rank, node=_node(), retries=retries
    )


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
        import ray

        address: str = ray.util.get_node_ip_address()
        return address

    def all_gather(self, message: str) -> list[str]:
        import ray

        self._round += 1
        messages: list[str] = ray.get(self._meeting.all_gather.remote(self._round, self.rank, message))
        return messages
