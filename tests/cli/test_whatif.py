"""The command forecast --from, as a process."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from tests.eventlogs.small_logs import as_lines, small_application


@pytest.fixture
def log(tmp_path: Path) -> Path:
    (tmp_path / "app-1").write_bytes(as_lines(small_application()))
    return tmp_path / "app-1"


def test_a_replay_keeps_the_contract(cli: Any, read_json: Any, log: Path, tmp_path: Path) -> None:
    done = cli("forecast", "--from", log.name, "--cluster", "nodes=1..2", "--report", "page.html", "--json", "out.json")

    assert done.returncode == 0, done.stderr
    assert "etl: measured 10.0 s on 2 nodes x 4 cores" in done.stdout
    content = read_json(tmp_path / "out.json")
    assert (content["ok"], content["command"]) == (True, "forecast")
    result = content["result"]
    assert (result["measured_s"], result["replayed_s"]) == (10, pytest.approx(10))
    assert result["critical_path_s"] == pytest.approx(10)
    fields = {"nodes", "slots", "predicted_s", "low_s", "high_s", "cost_usd", "utilisation"}
    assert all(fields <= set(point) for point in result["curve"])
    assert [(point["nodes"], point["slots"], point["cost_usd"]) for point in result["curve"]] == [
        (1, 4, None),
        (2, 8, None),
    ]
    assert {"driver", "skew", "too_few_tasks", "start_up"} <= set(result["wasted_core_hours"])
    assert result["useful_core_hours"] == pytest.approx(4 / 3600)
    assert (tmp_path / "page.html").exists()


@pytest.mark.parametrize("columns", ["80", "120"])
def test_what_it_prints_fits_the_terminal(columns: str, cli: Any, log: Path) -> None:
    done = cli("forecast", "--from", log.name, "--cluster", "nodes=1..2,type=m5.xlarge", env={"COLUMNS": columns})

    assert done.returncode == 0, done.stderr
    assert max(map(len, done.stdout.splitlines())) <= int(columns)


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["--from", "app-1", "--nodes", "2"], "--nodes does not go with --from"),
        (["--from", "app-1", "--train-smallest", "2"], "--train-smallest does not go with --from"),
        (["--cluster", "nodes=2"], "--cluster does not go with runs in the workspace"),
        (["--from", "gone"], "'gone' is neither a file, nor a run"),
        (["--from", "app-1", "--cluster", "nodes=2;cores=4"], "nodes=2;cores=4 is no whole number"),
    ],
)
def test_what_does_not_fit_is_refused(arguments: list[str], reason: str, cli: Any, log: Path) -> None:
    done = cli("forecast", *arguments)

    assert done.returncode == 2
    assert reason in done.stderr
