"""What gangs and crews on Ray have in common: a place on every node, what became of a member, and its end."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from nodewise.core.errors import InputError
from nodewise.engines.base import TaskResult
from nodewise.specs.cluster import ClusterSpec
from nodewise.specs.place import NODE_VARIABLE

__all__ = ["END_S", "NODE_TIMEOUT_S", "end_tasks", "node_bundles", "node_name", "on_bundle", "outcome", "own_host"]

NODE_TIMEOUT_S = 120.0
END_S = 3.0


@contextmanager
def node_bundles(stage: str, cluster: ClusterSpec) -> Iterator[Any]:
    """A placement group that holds all cores of every node, a bundle to each; bundles and nodes have no fixed order.

    Raises:
        InputError: The cluster has not so many free nodes, nor gets them in time.
    """
    import ray
    from ray.exceptions import GetTimeoutError
    from ray.util.placement_group import placement_group, remove_placement_group

    group = placement_group([{"CPU": cluster.cores_per_node}] * cluster.nodes, strategy="STRICT_SPREAD")
    try:
        try:
            ray.get(group.ready(), timeout=NODE_TIMEOUT_S)
        except GetTimeoutError:
            raise InputError(
                f"{stage} needs {cluster.nodes} nodes with {cluster.cores_per_node} free cores each at the same time, "
                f"which this cluster did not have within {NODE_TIMEOUT_S:.0f} s",
                hint="is it as large as you said, and is nothing else running on it? `ray status` tells",
            ) from None
        yield group
    finally:
        remove_placement_group(group)


def on_bundle(function: Any, group: Any, bundle: int, members: int = 1) -> Any:
    """The function as a task that has its share of a bundle of :func:`node_bundles`, and is not tried again by Ray."""
    import ray
    from ray.util.scheduling_strategies import PlacementGroupSchedulingStrategy

    place = PlacementGroupSchedulingStrategy(placement_group=group, placement_group_bundle_index=bundle)
    # Ray counts in ten-thousandths; rounded up, the shares would be more than the whole.
    share = math.floor(group.bundle_specs[bundle]["CPU"] / members * 10_000) / 10_000
    return ray.remote(num_cpus=share, max_retries=0, scheduling_strategy=place)(function)


def outcome(reference: Any) -> TaskResult | None:
    """What a task returned; None if its process died."""
    import ray
    from ray.exceptions import NodeDiedError, OutOfMemoryError, WorkerCrashedError

    try:
        result: TaskResult = ray.get(reference)
    except (NodeDiedError, OutOfMemoryError, WorkerCrashedError):
        return None
    return result


def end_tasks(references: Sequence[Any], grace_s: float = 0.0) -> None:
    """End tasks that may still run, after a time in which they may end by themselves; waits until they have ended."""
    import ray

    pending = list(references)
    if pending and grace_s:
        _, pending = ray.wait(pending, num_returns=len(pending), timeout=grace_s)
    for reference in pending:
        ray.cancel(reference, force=True)
    if pending:
        ray.wait(pending, num_returns=len(pending), timeout=END_S)


def node_name() -> str:
    """The node that this process is on."""
    if NODE_VARIABLE in os.environ:
        return os.environ[NODE_VARIABLE]
    import ray

    node: str = ray.get_runtime_context().get_node_id()
    return node


def own_host() -> str:
    """The address of this process's node."""
    import ray

    address: str = ray.util.get_node_ip_address()
    return address
