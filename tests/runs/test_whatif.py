from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from tests.eventlogs.small_logs import as_lines, small_application

import nodewise
from nodewise.core.errors import InputError
from nodewise.specs.cluster import ClusterSpec
from nodewise.specs.run import RunStatus
from nodewise.workspace import Workspace


@pytest.fixture
def log(tmp_path: Path) -> Path:
    (tmp_path / "app-1").write_bytes(as_lines(small_application()))
    return tmp_path / "app-1"


def test_an_event_log_is_replayed_from_where_it_lies(log: Path) -> None:
    result = nodewise.replay(log, clusters=["nodes=2..4,type=m5.xlarge"])

    assert (result.measured_s, result.replayed_s) == (10, pytest.approx(10))
    assert [point.nodes for point in result.curve] == [2, 3, 4]
    # m5.xlarge has 4 vCPUs; a dollar sum for each.
    assert {point.slots // point.nodes for point in result.curve} == {4}
    assert all(point.cost_usd and point.cost_usd > 0 for point in result.curve)
    assert result.curve[0].cost_usd == pytest.approx(0.192 * 2 * 10 / 3600, rel=0.2)


def test_an_imported_log_is_replayed_by_the_id_of_its_run(log: Path, tmp_path: Path) -> None:
    run_id = nodewise.import_eventlog(log, workspace=tmp_path / "ws").run_id
    log.unlink()

    result = nodewise.replay(run_id[:-1], workspace=tmp_path / "ws")

    assert (result.measured_s, result.recorded_nodes) == (10, 2)
    assert result.replayed_s == pytest.approx(10)


def test_a_run_of_nodewise_is_replayed(digits_folder: Path, tmp_path: Path) -> None:
    prepared = nodewise.prepare(
        digits_folder, tmp_path / "shards", size=8, sample=0.1, shard_records=20, workspace=tmp_path / "ws"
    )
    result = nodewise.replay(prepared.run_id, workspace=tmp_path / "ws", report=tmp_path / "page.html")

    run = Workspace(tmp_path / "ws").get_run(prepared.run_id)
    assert result.measured_s == pytest.approx(run.cluster_s)
    assert result.replayed_s == pytest.approx(result.measured_s, rel=0.05)
    assert result.recorded_nodes == 1
    assert result.report_path == str(tmp_path / "page.html")
    assert "What if" in (tmp_path / "page.html").read_text()


def test_a_program_on_spark_is_replayed_from_its_own_event_log(log: Path, tmp_path: Path) -> None:
    workspace = Workspace(tmp_path / "ws")
    run = workspace.create_run("run", ClusterSpec(engine="spark", nodes=1, cores_per_node=8))
    workspace.finish_run(replace(run, status=RunStatus.FINISHED, result={"event_log_path": str(log)}))

    result = nodewise.replay(run.run_id, workspace=workspace.root)

    # Two executors of its one node.
    assert (result.measured_s, result.recorded_nodes, result.recorded_cores_per_node) == (10, 1, 8)


def test_a_run_that_is_going_on_is_refused(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path / "ws")
    run = workspace.create_run("run", ClusterSpec(engine="spark"))

    with pytest.raises(InputError, match="is going on"):
        nodewise.replay(run.run_id, workspace=workspace.root)


@pytest.mark.parametrize(
    ("source", "options", "reason"),
    [
        ("nowhere", {}, "'nowhere' is neither a file, nor a run in workspace"),
        ("app-1", {"clusters": ["nodes=2,type=m5.xlarg"]}, "unknown node type 'm5.xlarg'"),
        ("app-1", {"clusters": ["nodes=none"]}, "nodes=none is no whole number"),
        ("app-1", {"partitions": 0}, "0 is no number of partitions"),
    ],
)
def test_what_cannot_be_replayed_is_refused(
    source: str, options: dict[str, object], reason: str, log: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(log.parent)

    with pytest.raises(InputError, match=reason):
        nodewise.replay(source, workspace=log.parent / "ws", **options)  # type: ignore[arg-type]
