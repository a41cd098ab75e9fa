"""Tests of metering nodes that come and go."""

from __future__ import annotations

import os
import time
from datetime import UTC, datetime
from pathlib import Path

from nodewise.metering.sampler import Sampler
from nodewise.runs.follow import NodeFollower
from nodewise.specs.access import ClusterAccess
from nodewise.specs.clusters import ClusterKind, ClusterRecord, ClusterState
from nodewise.specs.codec import to_json
from nodewise.specs.place import NodePlace
from nodewise.workspace import Workspace


def place(name: str) -> NodePlace:
    return NodePlace(name=name, host="127.0.0.1", pids=(os.getpid(),))


def access(*names: str) -> dict[str, object]:
    found: dict[str, object] = to_json(ClusterAccess(places=tuple(map(place, names)), is_autoscaled=True))
    return found


def metered(sampler: Sampler, since: int) -> set[str]:
    return {sample.node for sample in sampler.samples[since:]} - {"machine"}


def wait_for_nodes(sampler: Sampler, names: set[str]) -> None:
    """Until all of the last rows are of these nodes."""
    deadline = time.monotonic() + 30
    while metered(sampler, -2 * (len(names) + 1)) != names:
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_a_node_is_metered_from_when_it_comes_until_it_goes(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path)
    workspace.create()
    record = ClusterRecord(
        cluster_id="c1", name="elastic", kind=ClusterKind.ALL_PURPOSE, engine="ray", provider="emulated",
        state=ClusterState.RUNNING, nodes=1, created_at=datetime.now(UTC), access=access("node-0"),
    )  # fmt: skip
    workspace.clusters.create(record)
    sampler = Sampler([place("node-0")], interval_s=0.1)
    sampler.start()
    follower = NodeFollower(workspace.clusters, "elastic", sampler, (place("node-0"),))
    follower.start()
    try:
        wait_for_nodes(sampler, {"node-0"})
        workspace.clusters.change("c1", access=access("node-0", "node-1"))
        wait_for_nodes(sampler, {"node-0", "node-1"})
        workspace.clusters.change("c1", access=access("node-1"))
        wait_for_nodes(sampler, {"node-1"})
    finally:
        follower.stop()
        sampler.stop()
