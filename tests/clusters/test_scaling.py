"""Tests of clusters that autoscale: real ones, on which the engine's own scheduler asks for nodes."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from tests.engines import tasks
from tests.engines.clusters import on_no_cluster

from nodewise.clusters.lifecycle import create_cluster, delete_cluster, resize_cluster
from nodewise.clusters.link import take_cluster
from nodewise.clusters.plan import ClusterPlan
from nodewise.core.errors import InputError
from nodewise.engines.base import Engine
from nodewise.engines.registry import create_engine
from nodewise.specs.cluster import ClusterSpec, EngineName
from nodewise.workspace import Workspace

MOST = 3 if os.environ.get("NODEWISE_TEST_ALL") == "1" else 2
PATIENCE_S = 90.0


@pytest.fixture(autouse=True)
def _no_other_engine(engine: None) -> None:
    tasks.carry_by_value()


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return Workspace(tmp_path / "workspace")


@pytest.fixture
def scaled(workspace: Workspace) -> Iterator[Callable[[EngineName], Engine]]:
    """Starts an engine on a cluster ``elastic`` of one node or more."""
    with closing(_Started()) as started:

        def start(name: EngineName) -> Engine:
            spec = ClusterSpec(engine=name, nodes=MOST)
            create_cluster(workspace, "elastic", ClusterPlan(cluster=spec, autoscale=(1, MOST)))
            started.undo.append(lambda: delete_cluster(workspace, "elastic", force=True))
            _, link = take_cluster(workspace, "elastic", "run", "prepare", {})
            started.undo.append(link.close)
            engine = create_engine(spec, link.access)
            started.undo.append(engine.stop)
            engine.start()
            return engine

        yield start


class _Started:
    def __init__(self) -> None:
        self.undo: list[Callable[[], None]] = []

    def close(self) -> None:
        for undo in reversed(self.undo):
            undo()


def nodes_come_and_go(workspace: Workspace, engine: Engine) -> None:
    """A burst of tasks makes one node as many as there may be, and some seconds without any make them one again."""
    assert workspace.clusters.get("elastic").nodes == 1
    at_work = set()
    # More than one node could do in time; on a slow machine it takes a while until all are up.
    with closing(engine.map("burst", tasks.sleep, [1.0] * 120)) as results:
        for result in results:
            at_work.add(result.record.node)
            if len(at_work) == MOST:
                break
    assert at_work == {f"node-{number}" for number in range(MOST)}
    wait_until(lambda: workspace.clusters.get("elastic").nodes == 1)
    events = workspace.clusters.events(workspace.clusters.get("elastic").cluster_id)
    changes = [event.kind for event in events if event.kind.startswith("NODE_")]
    assert changes.count("NODE_REMOVED") == MOST - 1
    assert "NODE_LOST" not in changes
    added = [event.message for event in events if event.kind == "NODE_ADDED"]
    assert added[-1].endswith(f"tasks wait; {MOST} nodes now")
    # And again: those that went are no hindrance.
    assert len(list(engine.map("after", tasks.sleep, [0.1] * MOST))) == MOST


@on_no_cluster("spark")
def test_spark_gets_nodes_while_tasks_wait_and_gives_back_idle_ones(
    workspace: Workspace, scaled: Callable[[EngineName], Engine]
) -> None:
    engine = scaled("spark")
    with pytest.raises(InputError, match="train needs all nodes at once, which Spark does not do on a cluster that"):
        engine.gang("train", tasks.gather_twice, "hello")
    with pytest.raises(InputError, match=f"'elastic' has 1 to {MOST} nodes, as its engine needs them"):
        resize_cluster(workspace, "elastic", 2, force=True)
    nodes_come_and_go(workspace, engine)


@on_no_cluster("ray")
def test_ray_gets_nodes_while_tasks_wait_and_gives_back_idle_ones(
    workspace: Workspace, scaled: Callable[[EngineName], Engine]
) -> None:
    engine = scaled("ray")
    nodes_come_and_go(workspace, engine)
    # A gang needs all nodes, and Ray's autoscaler adds what is missing.
    assert len(engine.gang("train", tasks.gather_twice, "hello")) == MOST


def wait_until(reached: Callable[[], Any]) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not reached():
        assert time.monotonic() < deadline
        time.sleep(0.2)
