"""``nodewise forecast``."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path

import pytest
from typer.testing import CliRunner

from nodewise.cli.main import app
from nodewise.core.errors import InputError
from nodewise.specs.cluster import ClusterSpec
from nodewise.specs.run import RunStatus, StageRecord
from nodewise.workspace import Workspace


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return a_workspace(tmp_path / "ws", 1, 2, 4, 8)


def a_workspace(root: Path, *counts: int) -> Workspace:
    """One run on each number of nodes."""
    made = Workspace(root)
    for nodes in counts:
        cluster = ClusterSpec(engine="spark", nodes=nodes, node_type="m5.large")
        begun = made.create_run("compare", cluster, experiment="flowers-20261121-101500")
        seconds = 100 + 1000 / nodes
        stage = StageRecord(name="prepare [b]\x1b[31m", wall_s=seconds, records=100)
        run = replace(begun, status=RunStatus.FINISHED, cluster_s=seconds + 20, start_up_s=20.0, stages=(stage,))
        made.finish_run(run)
    return made


def forecast(*arguments: str, columns: int = 80) -> str:
    result = CliRunner().invoke(app, ["forecast", *arguments], env={"COLUMNS": str(columns)}, catch_exceptions=False)
    assert result.exit_code == 0
    return result.stdout


@pytest.mark.parametrize("columns", [80, 120])
def test_it_says_a_sentence_a_table_and_what_limits(workspace: Workspace, columns: int) -> None:
    shown = forecast("flowers", "--nodes", "3,16", "--workspace", str(workspace.root), columns=columns)
    assert max(map(len, shown.splitlines())) <= columns
    assert re.search(r"1 +18m 40s", shown)
    assert re.search(r"16 .* extrapolated", shown)
    assert re.search(r"3 .* predicted", shown)
    assert "measured, n=1" in shown
    assert "Amdahl's law" in shown
    assert "\x1b" not in shown


def test_with_too_few_runs_it_says_which_to_make(tmp_path: Path) -> None:
    made = a_workspace(tmp_path / "few", 1)
    shown = forecast("--nodes", "1,2,4", "--workspace", str(made.root))
    assert re.match(r"Not enough is known to say: measure \d more runs on (1, )?2 and 4 nodes \(about", shown)
    assert "To measure next, since 1 number of nodes was measured" in shown
    assert "By the law" not in shown


def test_the_json_has_every_point_with_its_interval(workspace: Workspace, tmp_path: Path) -> None:
    path = tmp_path / "out.json"
    forecast("--nodes", "16", "--data", "2x", "--workspace", str(workspace.root), "--json", str(path))
    result = json.loads(path.read_text())["result"]
    assert [point["nodes"] for point in result["points"]] == [1, 2, 4, 8, 16]
    assert all(point["low_s"] < point["seconds"] < point["high_s"] for point in result["points"])
    assert result["data_is_assumed"]
    assert result["laws"][0]["name"] == "amdahl"


def test_the_report_is_written_and_named(workspace: Workspace, tmp_path: Path) -> None:
    path = tmp_path / "page.html"
    assert str(path) in forecast("--workspace", str(workspace.root), "--report", str(path)).replace("\n", "")
    assert path.read_text().startswith("<!DOCTYPE html>")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--nodes", "1,many"], "is not a list of whole numbers"),
        (["--nodes", "0"], "0 is no number of nodes"),
        (["--data", "lots"], "is no multiple"),
        (["--train-smallest", "3"], "--train-smallest does not go with"),
        (["--replay", "x.csv", "--nodes", "4"], "--nodes does not go with --replay"),
        (["flowers", "--replay", "x.csv"], "JOB does not go with --replay"),
    ],
)
def test_what_cannot_be_meant_is_refused(workspace: Workspace, arguments: list[str], message: str) -> None:
    with pytest.raises(InputError, match=message):
        forecast(*arguments, "--workspace", str(workspace.root))


def test_times_that_others_measured_are_forecast_and_compared(tmp_path: Path) -> None:
    traces = tmp_path / "traces.csv"
    head = "source,workload,framework,dataset,instance_type,nodes,runtime_s,n_repeats,runtime_min_s,runtime_max_s,"
    head += "price_per_node_hour_usd,cost_usd,status,vcpus_per_node,mem_gib_per_node,extra"
    rows = [
        f"mine,sort,spark,big,m5.large,{nodes},{20 + 400 / nodes},1,,,0.096,,ok,2,8,{{}}" for nodes in (1, 2, 4, 8, 16)
    ]
    traces.write_text("\n".join([head, *rows]) + "\n")
    path = tmp_path / "out.json"
    shown = forecast("--replay", str(traces), "--train-smallest", "3", "--json", str(path))
    assert "2 run times on more nodes" in shown
    assert "sort, spark," in shown
    found = json.loads(path.read_text())["result"]["rows"]
    assert [row["nodes"] for row in found] == [8, 16]
    assert {"measured_s", "predicted_s", "low_s", "high_s"} <= set(found[0])
