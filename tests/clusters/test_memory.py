"""Tests of nodes with a memory limit: what a task does that goes past it, and what is said of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from tests.clusters.conftest import Site
from tests.engines import tasks
from tests.engines.clusters import on_no_cluster

from nodewise.core.errors import WorkerLostError
from nodewise.core.progress import SILENT
from nodewise.isolation.tiers import detect_tier
from nodewise.runs.session import open_session
from nodewise.specs.cluster import ClusterSpec, EngineName
from nodewise.specs.place import EmulationTier, NodeLimits
from nodewise.specs.run import RunStatus

# Beside the task there are on a node: nothing, two JVMs, or Ray's processes.
LIMITS_BYTES: dict[EngineName, int] = {"local": 256 << 20, "spark": 1200 << 20, "ray": 1200 << 20}


@pytest.fixture(autouse=True)
def _limits_hold(engine: None) -> None:
    if detect_tier().tier is EmulationTier.PROCESSES:
        pytest.skip("nothing limits the memory of nodes on this machine; `nodewise doctor` says why")
    tasks.carry_by_value()


def run_tasks(site: Site, cluster: ClusterSpec, some: list[Any], last: Any) -> None:
    """One run: tasks of which one succeeds only when it is tried again, and then one that never does."""
    with open_session(site.workspace, "prepare", cluster, SILENT) as session:
        with session.stage("once") as stage:
            assert stage.map(tasks.allocate, some) == [0] * len(some)
        assert session.last_stage.memory_kills == 1
        assert max(task.retries for task in session.tasks) == 1
        with session.stage("always") as stage:
            stage.map(tasks.allocate, [last])


@pytest.mark.parametrize(
    ("engine", "name"),
    [pytest.param(None, name, id=name, marks=on_no_cluster(name).args[1][0].marks) for name in LIMITS_BYTES],
    indirect=["engine"],
)
@pytest.mark.slow("spark", "ray")
def test_a_task_past_the_limit_is_ended_reported_and_tried_again(site: Site, tmp_path: Path, name: EngineName) -> None:
    limit_bytes = LIMITS_BYTES[name]
    cluster = ClusterSpec(engine=name, nodes=2, limits=NodeLimits(memory_bytes=limit_bytes))
    for word in ("once", "always", "never"):
        (tmp_path / word).mkdir()
    once, always, never = (
        (2 * limit_bytes, times, str(tmp_path / word)) for word, times in [("once", 1), ("always", 1000), ("never", 0)]
    )
    with pytest.raises(WorkerLostError, match=r"ended at the node's memory limit of") as caught:
        run_tasks(site, cluster, [once, never, never, never], always)
    assert "--memory-per-node" in (caught.value.hint or "")
    (run,) = site.workspace.list_runs()
    assert run.status is RunStatus.FAILED
    # The nodes were none the worse for it.
    kinds = [event.kind for event in site.workspace.clusters.events(run.run_id)]
    assert "NODE_LOST" not in kinds
    site.check_nothing_left()
