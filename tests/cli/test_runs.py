from __future__ import annotations

import json
import os
import pty
import subprocess
import sys
from dataclasses import replace
from decimal import Decimal
from pathlib import Path

import pytest

from nodewise.specs.cluster import ClusterSpec
from nodewise.specs.run import RunRecord, RunStatus, StageRecord, TaskRecord
from nodewise.workspace import Workspace


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return Workspace(tmp_path / "w")


def runs(workspace: Workspace, *arguments: str, stdin: int = subprocess.DEVNULL) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "nodewise", "runs", *arguments, "--workspace", str(workspace.root)]
    return subprocess.run(command, stdin=stdin, capture_output=True, text=True, check=False)


def finished(workspace: Workspace, *, scenario: str = "spark [b]5") -> RunRecord:
    cluster = ClusterSpec(engine="spark", nodes=5, cores_per_node=1, node_type="Standard_DS3_v2")
    begun = workspace.create_run("compare", cluster, scenario=scenario, tags={"who": "me"})
    run = replace(
        begun,
        status=RunStatus.FINISHED,
        ended_at=begun.created_at,
        cluster_s=600.0,
        start_up_s=4.0,
        cost_usd=Decimal("0.431667"),
        accuracy=0.75,
        stages=(StageRecord(name="prepare", wall_s=20.0, records=1797, num_tasks=8),),
    )
    workspace.finish_run(run)
    task = TaskRecord(
        stage="prepare",
        task=0,
        node="node-0",
        started_at=1.0,
        ended_at=3.0,
        cpu_s=1.5,
        records=1797,
        read_bytes=2048,
        written_bytes=1024,
        peak_memory_bytes=1 << 20,
        retries=1,
    )
    workspace.write_tasks(run.run_id, [task])
    return run


def test_the_list_fits_80_columns_and_marks_what_is_no_bill(workspace: Workspace) -> None:
    run = finished(workspace)

    result = runs(workspace, "list")

    assert (result.returncode, result.stderr) == (0, "")
    header, row, _, note = result.stdout.splitlines()
    assert header.split() == ["RUN", "WHAT", "CLUSTER", "TIME", "COST", "ACCURACY", "STATUS"]
    assert row.startswith(f"{run.run_id} spark [b]5 ")
    assert row.split()[-7:] == ["spark", "x5", "10m", "00s", "~$0.4317", "75.0%", "finished"]
    assert "not a bill" in note
    assert max(map(len, result.stdout.splitlines())) <= 80


def test_a_long_name_is_wrapped_and_ids_stay_whole(workspace: Workspace) -> None:
    run = finished(workspace, scenario="five nodes of the smallest kind")

    lines = runs(workspace, "list").stdout.splitlines()

    assert run.run_id in lines[1]
    assert lines[1].endswith("finished")
    assert max(map(len, lines)) <= 80


def test_the_list_as_json_is_alone_on_standard_output(workspace: Workspace) -> None:
    first, second = finished(workspace), finished(workspace)

    written = json.loads(runs(workspace, "list", "--json", "-").stdout)

    assert (written["ok"], written["error"], written["command"]) == (True, None, "runs list")
    assert [run["run_id"] for run in written["result"]["runs"]] == [second.run_id, first.run_id]
    assert written["result"]["runs"][0]["cost_usd"] == 0.431667


def test_an_empty_workspace_lists_nothing_and_makes_nothing(workspace: Workspace) -> None:
    result = runs(workspace, "list", "--json", "-")

    assert json.loads(result.stdout)["result"] == {"runs": []}
    assert result.stderr == f"no runs in {workspace.root}\n"
    assert not workspace.root.exists()


def test_a_run_is_shown_with_its_stages_and_tasks(workspace: Workspace) -> None:
    run = finished(workspace)

    output = runs(workspace, "show", run.run_id[:-1]).stdout

    assert "spark [b]5" in output
    assert "spark, 5 nodes of 1 core, emulated on this machine" in output
    assert "$0.4317, if run on Standard_DS3_v2 at this speed (not a bill)" in output
    assert "who=me" in output
    lines = [line.split() for line in output.splitlines()]
    assert ["prepare", "20.0", "s", "1,797", "90", "8"] in lines
    task = ["prepare", "node-0", "1", "2.0", "s", "1.5", "s", "1,797", "2.0", "KiB", "1.0", "KiB", "1.0", "MiB", "1"]
    assert task in lines


def test_a_run_as_json_holds_its_stages_and_tasks(workspace: Workspace) -> None:
    run = finished(workspace)

    result = json.loads(runs(workspace, "show", run.run_id, "--json", "-").stdout)["result"]

    assert (result["run_id"], result["status"], result["accuracy"]) == (run.run_id, "FINISHED", 0.75)
    assert result["stages"] == [
        {"name": "prepare", "wall_s": 20.0, "records": 1797, "num_tasks": 8, "started_at": 0.0, "memory_kills": 0}
    ]
    assert [(task["node"], task["retries"]) for task in result["tasks"]] == [("node-0", 1)]


def test_a_failed_run_shows_its_reason(workspace: Workspace) -> None:
    run = workspace.create_run("train", ClusterSpec(engine="local"))
    error: dict[str, str | None] = {"code": "job_failed", "message": "no such model", "hint": "give another"}
    workspace.finish_run(replace(run, status=RunStatus.FAILED, error=error))

    lines = [line.split(maxsplit=1) for line in runs(workspace, "show", run.run_id).stdout.splitlines()]

    assert ["error", "no such model"] in [[cell.strip() for cell in line] for line in lines]
    assert ["hint", "give another"] in [[cell.strip() for cell in line] for line in lines]


def test_an_unknown_run_is_refused(workspace: Workspace) -> None:
    result = runs(workspace, "show", "nonsense")

    assert (result.returncode, result.stdout) == (2, "")
    assert result.stderr.startswith("error: unknown run 'nonsense' in workspace ")


def test_delete_says_what_goes_and_what_that_freed(workspace: Workspace) -> None:
    first, second = finished(workspace), finished(workspace)
    (workspace.run_dir(first.run_id) / "tasks.parquet").unlink()
    (workspace.run_dir(first.run_id) / "model").write_bytes(b"x" * 2048)

    result = runs(workspace, "delete", first.run_id, first.run_id, "-y", "--json", "-")

    assert result.returncode == 0
    assert result.stderr.splitlines() == [
        f"{first.run_id}  compare  finished  2.0 KiB in {workspace.run_dir(first.run_id)}",
        "deleted 1 run, 2.0 KiB",
    ]
    assert json.loads(result.stdout)["result"] == {"deleted": [first.run_id], "freed_bytes": 2048}
    assert [run.run_id for run in workspace.list_runs()] == [second.run_id]
    assert not workspace.run_dir(first.run_id).exists()


def test_delete_without_a_terminal_needs_a_yes(workspace: Workspace) -> None:
    run = finished(workspace)

    result = runs(workspace, "delete", run.run_id)

    assert result.returncode == 2
    assert result.stderr.splitlines()[-1] == "hint: add -y; nothing was deleted"
    assert workspace.get_run(run.run_id) == run


@pytest.mark.parametrize(("answer", "left"), [(b"n\n", 1), (b"y\n", 0)])
def test_delete_on_a_terminal_asks(workspace: Workspace, answer: bytes, left: int) -> None:
    run = finished(workspace)
    terminal, their_end = pty.openpty()
    os.write(terminal, answer)

    result = runs(workspace, "delete", run.run_id, stdin=their_end)

    os.close(terminal)
    os.close(their_end)
    assert "Delete 1 run? [y/N]" in result.stderr
    assert result.returncode == 0
    assert len(workspace.list_runs()) == left


def test_one_unknown_id_and_none_is_deleted(workspace: Workspace) -> None:
    run = finished(workspace)

    assert runs(workspace, "delete", run.run_id, "nonsense", "-y").returncode == 2

    assert workspace.list_runs() == [run]


def test_a_run_that_is_going_on_is_not_deleted(workspace: Workspace) -> None:
    run = workspace.create_run("train", ClusterSpec(engine="local"))

    result = runs(workspace, "delete", run.run_id, "-y")

    assert result.returncode == 2
    assert result.stderr.startswith(f"error: run {run.run_id} is going on")
    assert workspace.run_dir(run.run_id).is_dir()
