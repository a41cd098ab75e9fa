"""A speed test as a run: on every engine, with its files, and what it refuses."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from tests.engines.clusters import on_no_cluster
from tests.readers.made_sources import make_images, shard_source

from nodewise.analysis.speedtest import average
from nodewise.core.errors import CorruptFileError, InputError, SpecError
from nodewise.core.progress import SILENT
from nodewise.runs.speedtest import run_speedtest
from nodewise.specs.cluster import ClusterSpec, EngineName
from nodewise.specs.codec import to_json
from nodewise.specs.job import SpeedtestSpec
from nodewise.specs.results import SpeedtestCell, SpeedtestResult
from nodewise.specs.run import RunStatus
from nodewise.workspace import Workspace

SPEC = SpeedtestSpec(batch_sizes=(2, 4), batch_counts=(1, 3), repeat=2, readers=("nodewise",), size=16)


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return Workspace(tmp_path / "workspace")


@pytest.fixture
def data(tmp_path: Path) -> list[str]:
    """Ten image files and forty records."""
    shard_source(tmp_path / "shards")
    return [str(make_images(tmp_path / "photos", 10)), str(tmp_path / "shards")]


def run(
    data: list[str],
    workspace: Workspace,
    spec: SpeedtestSpec = SPEC,
    *,
    engine: EngineName = "local",
    nodes: int = 1,
    **options: Any,
) -> SpeedtestResult:
    cluster = ClusterSpec(engine=engine, nodes=nodes, cores_per_node=2)
    return run_speedtest(data, spec, cluster, workspace, options.pop("report_path", None), SILENT, **options)


def check(result: SpeedtestResult) -> None:
    """Two sources, four settings, two repetitions; ten files are too few for four times three."""
    assert len(result.cells) == 16
    for cell in result.cells:
        records = cell.batch_size * cell.batch_count
        is_short = cell.source == "photos (images)" and records == 12
        assert (cell.records, cell.short) == (10 if is_short else records, is_short)
        assert (cell.records_per_s is None) == is_short
        assert cell.pixel_bytes == cell.records * (16 * 16 if "photos" in cell.source else 12 * 16) * 3
        assert cell.bytes > 0
    # The same records in every repetition, so the same hash.
    hashes = {(cell.source, cell.batch_size, cell.batch_count): cell.ids_sha256 for cell in result.cells}
    assert all(cell.ids_sha256 == hashes[cell.source, cell.batch_size, cell.batch_count] for cell in result.cells)
    assert set(result.ceilings) == {"photos (images)", "shards (tfrecord, png)"}
    assert result.imports_s["nodewise"]
    assert result.sentence


def test_a_run_keeps_cells_result_and_report(data: list[str], workspace: Workspace) -> None:
    result = run(data, workspace, tags={"team": "a"})
    check(result)
    assert (result.order, result.cache, result.engine, result.nodes) == ("sequential", "as found", "local", 1)
    assert {cell.node for cell in result.cells} == {"node-0"}
    assert result.means == average(result.cells)
    assert result.recompute_seconds is None
    record = workspace.get_run(result.run_id)
    assert (record.command, record.status, record.tags) == ("speedtest", RunStatus.FINISHED, {"team": "a"})
    assert record.result == {"speedtest": to_json(result)}
    # A task for every cell, and for the ceilings of each source in each repetition.
    tasks = workspace.read_tasks(result.run_id)
    assert len(tasks) == 16 + 4
    assert sum(task.records for task in tasks) == record.stages[0].records == sum(cell.records for cell in result.cells)
    folder = workspace.run_dir(result.run_id)
    assert json.loads((folder / "speedtest.json").read_text()) == to_json(result)
    table = pq.ParquetFile(folder / "cells.parquet").read()
    assert table.column_names == [field.name for field in dataclasses.fields(SpeedtestCell)]
    assert [SpeedtestCell(**row) for row in table.to_pylist()] == list(result.cells)
    assert Path(result.report_path).parent.parent == workspace.reports_dir
    assert "nodewise" in Path(result.report_path).read_text()


def test_a_report_goes_where_it_is_asked_to(data: list[str], workspace: Workspace, tmp_path: Path) -> None:
    result = run(data[1:], workspace, report_path=tmp_path / "here" / "report.html")
    assert result.report_path == str(tmp_path / "here" / "report.html")
    assert (tmp_path / "here" / "report.html").is_file()
    assert not workspace.reports_dir.exists()


def test_warm_files_come_from_the_page_cache(data: list[str], workspace: Workspace) -> None:
    result = run(data, workspace, dataclasses.replace(SPEC, cold=False, repeat=1))
    assert result.cache == "warm"
    # The system may drop a page whenever it likes.
    assert all(cell.from_cache is None or cell.from_cache >= 0.95 for cell in result.cells)


def test_cold_files_come_from_the_device(data: list[str], workspace: Workspace) -> None:
    try:
        result = run(data, workspace, dataclasses.replace(SPEC, cold=True, repeat=1))
    except InputError as error:
        pytest.skip(error.message)
    assert result.cache == "cold"
    assert {cell.from_cache for cell in result.cells if "photos" in cell.source} == {0.0}


def test_several_nodes_measure_side_by_side(data: list[str], workspace: Workspace) -> None:
    result = run(data, workspace, nodes=2)
    check(result)
    assert (result.order, result.nodes) == ("parallel", 2)
    assert {cell.node for cell in result.cells} == {"node-0", "node-1"}


@on_no_cluster("ray")
def test_ray_measures_the_same(engine: None, data: list[str], workspace: Workspace) -> None:
    result = run(data, workspace, engine="ray")
    check(result)
    assert (result.engine, result.order) == ("ray", "sequential")


@on_no_cluster("spark")
@pytest.mark.slow
def test_spark_without_caching_measures_again_for_every_average(
    engine: None, data: list[str], workspace: Workspace
) -> None:
    spec = dataclasses.replace(SPEC, batch_counts=(3,), repeat=1, cache=False)
    result = run(data[1:], workspace, spec, engine="spark")
    assert [(cell.batch_size, cell.records, cell.node) for cell in result.cells] == [
        (2, 6, "node-0"),
        (4, 12, "node-0"),
    ]
    expected = average(result.cells)
    keys = [(mean.source, mean.reader, mean.parameter, mean.value, mean.n) for mean in result.means]
    assert keys == [(mean.source, mean.reader, mean.parameter, mean.value, mean.n) for mean in expected]
    # Other measurements, so no mean is the same to the last digit.
    assert not {mean.records_per_s for mean in result.means} & {mean.records_per_s for mean in expected}
    assert result.recompute_seconds is not None
    assert result.recompute_seconds > 0


@on_no_cluster("spark")
def test_spark_averages_what_it_keeps(engine: None, data: list[str], workspace: Workspace) -> None:
    result = run(data[1:], workspace, dataclasses.replace(SPEC, batch_counts=(3,), repeat=1), engine="spark")
    assert result.means == average(result.cells)
    assert result.recompute_seconds is None


@pytest.mark.parametrize(
    ("changes", "options", "words"),
    [
        ({"batch_sizes": ()}, {}, "batch_sizes"),
        ({"repeat": 0}, {}, "repeat"),
        ({"readers": ("tfdata",)}, {}, "unknown reader"),
        ({"cache": False}, {}, "only Spark"),
        ({"cache": False}, {"engine": "ray"}, "only Spark"),
        ({"cold": True}, {"nodes": 2}, "several nodes of one machine"),
    ],
)
def test_what_cannot_be_done_is_refused_and_leaves_no_run(
    data: list[str], workspace: Workspace, changes: dict[str, Any], options: dict[str, Any], words: str
) -> None:
    with pytest.raises((InputError, SpecError), match=words):
        run(data, workspace, dataclasses.replace(SPEC, **changes), **options)
    assert workspace.list_runs() == []


def test_no_data_is_no_result(workspace: Workspace, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    for data in (["nowhere*"], [str(tmp_path / "empty")]):
        with pytest.raises(InputError):
            run(data, workspace)
    with pytest.raises(InputError, match="nothing to read"):
        run([], workspace)
    assert workspace.list_runs() == []


def test_damaged_data_fails_the_run_with_its_place(data: list[str], workspace: Workspace, tmp_path: Path) -> None:
    (shard,) = (tmp_path / "shards").glob("train-00000-*.tfrec")
    content = bytearray(shard.read_bytes())
    content[-20] ^= 1
    shard.write_bytes(content)
    spec = dataclasses.replace(SPEC, batch_sizes=(25,), batch_counts=(1,))
    with pytest.raises(CorruptFileError) as caught:
        run(data[1:], workspace, spec)
    assert (caught.value.path, caught.value.record) == (str(shard), 24)
    (failed,) = workspace.list_runs()
    assert failed.status is RunStatus.FAILED
