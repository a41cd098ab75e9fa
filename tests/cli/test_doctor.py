"""``nodewise doctor`` and how findings of preflight are shown."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from nodewise.cli.main import _report, app
from nodewise.core.errors import PreflightError
from nodewise.core.findings import Finding

from .conftest import Cli


def test_doctor_says_what_the_machine_has(cli: Cli) -> None:
    for columns in ("80", "120"):
        shown = cli("doctor", env={"COLUMNS": columns})
        assert shown.returncode == 0
        assert max(map(len, shown.stdout.splitlines())) <= int(columns)
        assert "emulation tier: " in shown.stdout


def test_doctor_writes_json(cli: Cli) -> None:
    content = json.loads(cli("doctor", "--json", "-").stdout)
    assert (content["ok"], content["command"]) == (True, "doctor")
    assert content["result"]["emulation_tier"] in ("namespaces", "cgroups", "processes")
    for check in content["result"]["checks"]:
        assert {"name", "ok", "detail", "remedy"} <= check.keys()


def test_doctor_fails_where_nothing_can_work(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "ws").mkdir()
    (tmp_path / "ws" / "nodewise.db").write_bytes(b"not a database" * 100)
    done = cli("doctor", "--json", "doctor.json")
    assert done.returncode == 1
    assert "error: nodewise cannot work here: workspace" in done.stderr
    content = json.loads((tmp_path / "doctor.json").read_text())
    assert (content["ok"], content["error"]["code"]) == (False, "missing_dependency")
    assert content["result"]["checks"]


def test_every_finding_is_shown_with_its_remedy(capsys: pytest.CaptureFixture[str]) -> None:
    import typer.main

    error = PreflightError(
        [
            Finding(level="error", what="photo does not exist", remedy="did you mean 'photos'?"),
            Finding(level="warning", what="2 tasks for 8 slots", detail="6 are idle", remedy="cut it finer"),
        ]
    )
    assert _report(error, typer.main.get_command(app), ["prepare", "--json", "-"]) == 2
    shown = capsys.readouterr()
    assert shown.err.splitlines() == [
        "error: photo does not exist",
        "hint: did you mean 'photos'?",
        "warning: 2 tasks for 8 slots: 6 are idle; cut it finer",
    ]
    assert json.loads(shown.out)["error"] == {
        "code": "preflight",
        "message": "photo does not exist",
        "hint": "did you mean 'photos'?",
    }


def test_several_problems_are_a_list_under_one_error(capsys: pytest.CaptureFixture[str]) -> None:
    import typer.main

    error = PreflightError(
        [
            Finding(level="error", what="photo does not exist", remedy="did you mean 'photos'?"),
            Finding(level="error", what="no Java", remedy="install it"),
        ]
    )
    assert _report(error, typer.main.get_command(app), ["prepare", "--json", "-"]) == 2
    shown = capsys.readouterr()
    assert shown.err.splitlines() == [
        "error: 2 problems found before anything was started",
        "- photo does not exist; did you mean 'photos'?",
        "- no Java; install it",
    ]
    assert json.loads(shown.out)["error"]["hint"] == "did you mean 'photos'?; install it"
