"""The command import-eventlog, as a process: what it prints, writes and refuses."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from tests.eventlogs.small_logs import app_start, as_lines, pack, small_application, stage_submitted, task_end

from nodewise.workspace import Workspace


@pytest.fixture
def log(tmp_path: Path) -> Path:
    content = as_lines(small_application()) + b"broken\n"
    (tmp_path / "app-1.zstd").write_bytes(pack("zstd", content))
    return tmp_path / "app-1.zstd"


def test_an_import_keeps_the_contract(cli: Any, read_json: Any, log: Path, tmp_path: Path) -> None:
    done = cli("import-eventlog", log.name, "--json", "out.json")

    assert done.returncode == 0, done.stderr
    content = read_json(tmp_path / "out.json")
    assert (content["ok"], content["command"]) == (True, "import-eventlog")
    run = Workspace(tmp_path / "ws").list_runs()[0]
    expected = {
        "run_id": run.run_id,
        "app_id": "app-1",
        "spark_version": "3.5.3",
        "stages": 1,
        "tasks": 2,
        "failed_tasks": 0,
        "executors": 2,
        "cores": 8,
        "seconds": 10.0,
        "executor_run_seconds": 4.0,
        "executor_cpu_seconds": 2.0,
        "unreadable_lines": 1,
    }
    assert {name: content["result"][name] for name in expected} == expected


@pytest.mark.parametrize("columns", ["80", "120"])
def test_the_summary_fits_the_terminal(columns: str, cli: Any, log: Path, tmp_path: Path) -> None:
    done = cli("import-eventlog", log.name, env={"COLUMNS": columns})

    lines = [line.rstrip() for line in done.stdout.splitlines()]
    run = Workspace(tmp_path / "ws").list_runs()[0]
    assert lines[:10] == [
        "application  app-1 (etl)",
        "Spark        3.5.3",
        "status       finished",
        "stages       1",
        "tasks        2, 0 failed",
        "executors    2, at most 8 cores at a time",
        "time         10.0 s",
        "tasks ran    4.0 s, on the CPU 2.0 s",
        "busy         5.0 % of the time of all cores",
        lines[9],
    ]
    unreadable = " ".join(" ".join(lines[9:]).split())
    assert unreadable.startswith("unreadable app-1.zstd, line 13: not JSON: Expecting value: line 1 column 1 (char 0)")
    assert "0: count at etl.py:7  3.5 s      2        2.0 s    3.0 s  1.50x" in lines
    assert lines[-1] == f"More: nodewise runs show {run.run_id}"
    assert max(map(len, lines)) <= int(columns)
    assert done.stderr.splitlines()[0] == "read app-1.zstd ..."


def test_the_run_is_listed_and_shown_as_the_applications(cli: Any, log: Path, tmp_path: Path) -> None:
    cli("import-eventlog", log.name)

    listed = cli("runs", "list").stdout.splitlines()[1].split()
    shown = cli("runs", "show", listed[0]).stdout

    assert listed[1:] == ["etl", "spark", "x2", "10.0", "s", "finished"]
    assert "2023-11-14 22:13:20 UTC" in shown
    assert "spark, 2 nodes of 4 cores, at yarn" in shown


def test_a_second_import_says_that_it_is_one(cli: Any, log: Path) -> None:
    first = json.loads(cli("import-eventlog", log.name, "--json", "-").stdout)["result"]
    done = cli("import-eventlog", log.name, "--json", "-")
    second = json.loads(done.stdout)["result"]

    assert second == first | {"imported_before": True}
    assert "This application was imported before; --again does it once more." in done.stderr
    again = json.loads(cli("import-eventlog", log.name, "--again", "--json", "-").stdout)["result"]
    assert again["run_id"] != first["run_id"]


def test_what_is_no_log_is_refused(cli: Any, tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("no log\n")

    done = cli("import-eventlog", "notes.txt")

    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.splitlines()[-2] == "error: notes.txt is no Spark event log"
    assert not (tmp_path / "ws").exists()


def test_names_cannot_break_the_terminal(cli: Any, tmp_path: Path) -> None:
    events = [app_start(name="etl\x1b[31m\nred"), stage_submitted(0, name="[bold]\x1b[2J"), task_end(0, 0, 5)]
    (tmp_path / "log").write_bytes(as_lines(events))

    done = cli("import-eventlog", "log")

    assert done.returncode == 0
    assert "\x1b" not in done.stdout + done.stderr
    assert "[bold]\ufffd[2J" in done.stdout
    run_id = done.stdout.split()[-1]
    assert "\x1b" not in cli("runs", "show", run_id).stdout + cli("runs", "list").stdout


def test_an_import_that_is_interrupted_leaves_no_run(environment: dict[str, str], tmp_path: Path) -> None:
    begin = as_lines([app_start(), stage_submitted(0)])
    tasks = as_lines([task_end(number, 0, 100) for number in range(1000)])
    (tmp_path / "log").write_bytes(begin + tasks * 400)
    workspace = Workspace(tmp_path / "ws")
    command = [sys.executable, "-m", "nodewise", "import-eventlog", "log"]
    process = subprocess.Popen(command, cwd=tmp_path, env=environment, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 60
    while not workspace.list_runs() and time.monotonic() < deadline:
        time.sleep(0.05)

    process.send_signal(signal.SIGINT)

    assert process.wait(60) == 130
    assert workspace.list_runs() == []
    assert list((tmp_path / "ws" / "runs").iterdir()) == []
