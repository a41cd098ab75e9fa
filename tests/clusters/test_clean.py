"""Tests of what ``nodewise clean`` finds, and of what it leaves alone."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from tests.clusters.conftest import Site

from nodewise.clusters.clean import RestItem, find_cluster_rests, find_data_rests, find_old_runs, remove_rest
from nodewise.clusters.lifecycle import create_cluster
from nodewise.clusters.link import take_cluster
from nodewise.clusters.plan import ClusterPlan, cluster_folder, environments_folder, make_scratch
from nodewise.clusters.processes import cluster_processes
from nodewise.core.errors import ClusterStateError
from nodewise.core.spark_classes import spark_conf_dir
from nodewise.isolation.places import Isolation
from nodewise.isolation.tiers import detect_tier
from nodewise.specs.cluster import ClusterSpec
from nodewise.specs.clusters import ClusterState
from nodewise.specs.place import CLUSTER_VARIABLE, EmulationTier, NodeLimits
from nodewise.specs.run import RunStatus
from nodewise.workspace import Workspace

LOCAL = ClusterPlan(cluster=ClusterSpec(engine="local", nodes=2))
SLEEP = [sys.executable, "-c", "import time; time.sleep(600)"]


def old(path: Path, content: bytes = b"12345") -> Path:
    """A file that was written an hour ago."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    age(path)
    return path


def age(path: Path) -> None:
    past = time.time() - 3600
    os.utime(path, (past, past))


def names(items: list[RestItem], *kinds: str) -> list[str]:
    return sorted(item.name for item in items if item.kind in kinds)


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    made = Workspace(tmp_path / "workspace")
    made.create()
    return made


def test_files_that_were_not_written_to_their_end_are_found_and_removed(workspace: Workspace) -> None:
    part = old(workspace.root / "runs" / "r" / ".part-0123456789ab-tasks.parquet")
    download = old(workspace.datasets_dir / "cifar-10-python.tar.gz.part", b"123")
    folder = old(workspace.root / "sets" / ".part-0123456789ab-flowers" / "a.jpg").parent
    age(folder)
    # Not ours, or not the end of something: names that only look alike.
    others = [
        old(workspace.root / "part-00000.parquet"),
        old(workspace.root / "runs" / "r" / "x.part"),
        old(workspace.root / "runs" / "r" / "a.part-b"),
        old(workspace.datasets_dir / "counterpart"),
    ]
    found = find_data_rests(workspace)
    assert names(found, "temporary file") == sorted(map(str, [part, download, folder]))
    assert sum(item.bytes for item in found) == 5 + 3 + 5
    assert sum(remove_rest(workspace, item) for item in found) == 13
    assert not any(path.exists() for path in (part, download, folder))
    assert all(path.exists() for path in others)
    assert find_data_rests(workspace) == []


def test_files_in_use_new_ones_and_those_behind_links_are_left_alone(workspace: Workspace, tmp_path: Path) -> None:
    outside = old(tmp_path / "elsewhere" / ".part-outside")
    (workspace.root / "link").symlink_to(outside.parent)
    (workspace.root / ".part-link").symlink_to(outside)
    (workspace.root / ".part-new").write_bytes(b"1")
    opened = old(workspace.root / ".part-open")
    with opened.open("rb"):
        assert find_data_rests(workspace) == []
    assert names(find_data_rests(workspace), "temporary file") == [str(opened)]
    assert outside.exists()


def test_only_runs_that_are_over_and_old_enough_are_found(workspace: Workspace) -> None:
    run = workspace.create_run("prepare", ClusterSpec(engine="local"))
    assert find_old_runs(workspace, timedelta()) == []
    workspace.finish_run(replace(run, status=RunStatus.FINISHED))
    assert find_old_runs(workspace, timedelta(days=1)) == []
    (item,) = find_old_runs(workspace, timedelta())
    assert (item.kind, item.name) == ("run", run.run_id)
    assert item.detail == f"prepare, finished, of {datetime.now(UTC):%Y-%m-%d}"
    remove_rest(workspace, item)
    assert workspace.list_runs() == []


def test_an_idle_cluster_is_ended_and_one_that_is_busy_is_not(site: Site) -> None:
    record = create_cluster(site.workspace, "mine", LOCAL)
    rests = find_cluster_rests(site.workspace)
    (idle,) = [item for item in rests if item.kind == "cluster"]
    assert (idle.name, idle.detail) == ("mine", "RUNNING, 2 nodes")
    # Its places and its scratch folder are in use.
    assert record.cluster_id not in names(rests, "cluster's rest")
    assert not [name for name in names(rests, "scratch folder") if name.startswith(str(site.temp))]
    _, link = take_cluster(site.workspace, "mine", "run", "prepare", {})
    assert names(find_cluster_rests(site.workspace), "cluster") == []
    with pytest.raises(ClusterStateError, match="busy with run run"):
        remove_rest(site.workspace, idle)
    link.close()
    remove_rest(site.workspace, idle)
    assert site.workspace.clusters.get("mine").state is ClusterState.TERMINATED
    site.check_nothing_left()


def test_what_a_cluster_that_is_gone_has_left_is_removed(site: Site) -> None:
    cluster_id = f"gone-{os.getpid()}"
    isolation = Isolation(cluster_id, detect_tier().tier)
    try:
        isolation.add_node("node-0", NodeLimits())
        with subprocess.Popen(SLEEP, env={**os.environ, CLUSTER_VARIABLE: cluster_id}) as orphan:
            while cluster_id not in cluster_processes():
                time.sleep(0.01)
            (rest,) = [item for item in find_cluster_rests(site.workspace) if item.name == cluster_id]
            assert rest.kind == "cluster's rest"
            assert rest.detail.endswith("1 process")
            if isolation.tier is EmulationTier.NAMESPACES:
                assert "1 network namespace" in rest.detail
            remove_rest(site.workspace, rest)
            orphan.wait(5)
            assert cluster_id not in cluster_processes()
    finally:
        isolation.close()
    assert cluster_id not in [item.name for item in find_cluster_rests(site.workspace)]


def test_places_that_somebody_else_may_have_made_are_left_alone(site: Site) -> None:
    cluster_id = f"others-{os.getpid()}"
    isolation = Isolation(cluster_id, detect_tier().tier)
    try:
        isolation.add_node("node-0", NodeLimits())
        assert cluster_id not in [item.name for item in find_cluster_rests(site.workspace)]
    finally:
        isolation.close()


def test_a_scratch_folder_goes_with_its_cluster_and_look_alikes_stay(site: Site, tmp_path: Path) -> None:
    folder = cluster_folder(site.workspace.root, "1121-180000-abcdef")
    folder.mkdir(parents=True)
    scratch = make_scratch(folder)
    (scratch / "spill").write_bytes(b"x" * 100)
    alike = site.temp / "nw-holiday-photos"
    alike.mkdir()
    (site.temp / "nw-link").symlink_to(scratch)
    # It may belong to a cluster that is just coming up.
    assert str(scratch) not in names(find_cluster_rests(site.workspace), "scratch folder")
    age(scratch)
    # On this machine there may be others.
    (item,) = [item for item in find_cluster_rests(site.workspace) if item.name.startswith(str(site.temp))]
    assert (item.name, item.detail) == (str(scratch), "of 1121-180000-abcdef")
    assert item.bytes == 100 + len(str(folder))
    remove_rest(site.workspace, item)
    assert not scratch.exists()
    assert alike.exists()
    alike.rmdir()
    (site.temp / "nw-link").unlink()


def test_sparks_classes_of_other_versions_go_and_those_in_use_stay(
    workspace: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    mine = old(spark_conf_dir().parent / "classes-00000000.jsa").parent
    other = old(mine.parent / "0123456789abcdef" / "classes-00000001.jsa").parent
    new = old(mine.parent / "fedcba9876543210" / "classes-00000002.jsa").parent
    age(mine)
    age(other)
    found = [item for item in find_cluster_rests(workspace) if item.kind == "Spark's classes"]
    assert [(item.name, item.bytes) for item in found] == [(str(other), 5)]
    assert remove_rest(workspace, found[0]) == 5
    assert sorted(mine.parent.iterdir()) == sorted([mine, new])


def test_libraries_of_no_cluster_go_and_those_of_one_stay(workspace: Workspace) -> None:
    for name, requirement in (("a", "tiny==1"), ("b", "other==2")):
        environment = environments_folder(workspace.root) / name
        facts = f'{{"requirements": ["{requirement}"], "created_at": "2026-11-21T18:00:00+00:00"}}'
        old(environment / "nodewise-environment.json", facts.encode())
    plan = ClusterPlan(cluster=ClusterSpec(engine="ray", address="10.0.0.1:6379"), libraries=("tiny==1",))
    create_cluster(workspace, "keeps", plan)
    (item,) = [item for item in find_cluster_rests(workspace) if item.kind == "libraries"]
    assert (item.name, item.detail) == (str(environments_folder(workspace.root) / "b"), "other==2")
    remove_rest(workspace, item)
    assert not Path(item.name).exists()
    assert (environments_folder(workspace.root) / "a").exists()
