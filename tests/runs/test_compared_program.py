"""A comparison of a program: no images, no accuracy, but stages, times and a verdict."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import pytest

import nodewise
from nodewise.core.errors import InputError, PreflightError, SpecError
from nodewise.specs.codec import load_compare
from nodewise.specs.job import CommandSpec
from nodewise.specs.scenario import CompareSpec, JobsSpec, Scenario

SCENARIOS = (
    Scenario(name="one", engine="local", nodes=1, node_type="Standard_DS3_v2"),
    Scenario(name="two", engine="local", nodes=2, node_type="Standard_DS3_v2"),
)


def comparison(*command: str) -> CompareSpec:
    return CompareSpec(name="programs", jobs=JobsSpec(command=CommandSpec(run=command)), scenarios=SCENARIOS)


@pytest.fixture
def in_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "work.py").write_text("import os, sys\nprint(os.environ['NODEWISE_NODES'], sys.argv[1:])\n")
    return tmp_path


def test_every_scenario_runs_the_program_and_the_report_shows_what_there_is(
    in_a_folder: Path, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    result = nodewise.compare(
        comparison(sys.executable, "work.py", "--password", "hunter2-9f8e7d"), workspace="workspace", report="r.html"
    )
    assert [scenario.name for scenario in result.scenarios] == ["one", "two"]
    for scenario in result.scenarios:
        assert [(stage.name, stage.num_tasks, stage.records) for stage in scenario.stages] == [("work.py", 1, 0)]
        assert (scenario.accuracy, scenario.records) == (None, 0)
        assert scenario.cost_usd is not None
    assert result.verdict
    captured = capfdbinary.readouterr()
    assert b"1 ['--password'" in captured.err
    assert b"2 ['--password'" in captured.err
    assert captured.out == b""
    page = Path("r.html").read_text()
    assert "work.py --password ***" in page.replace("&#39;", "")
    assert "<dt>Program</dt>" in page
    for absent in ("hunter2", "Accuracy", "per 1000", "0 images", "Records/s"):
        assert absent not in page


def test_a_program_that_fails_in_one_scenario_is_left_out_with_its_reason(in_a_folder: Path) -> None:
    (in_a_folder / "work.py").write_text("import os, sys\nsys.exit(int(os.environ['NODEWISE_NODES']) - 1)\n")
    result = nodewise.compare(comparison(sys.executable, "work.py"), workspace="workspace", report="r.html")
    assert result.failed == ("two",)
    assert "work.py ended with exit status 1" in result.left_out["two"]


def test_a_program_that_an_engine_cannot_run_stops_the_comparison_before_it_starts(in_a_folder: Path) -> None:
    (in_a_folder / "work.py").write_text("import ray\n")
    spec = comparison("python", "work.py")
    spec = replace(spec, scenarios=(replace(SCENARIOS[0], engine="spark"), replace(SCENARIOS[1], engine="ray")))
    with pytest.raises(InputError, match=r"scenario 'one': work\.py is a program for ray"):
        nodewise.compare(spec, workspace="workspace")
    assert not Path("workspace").exists()


def test_what_a_script_imports_is_looked_for_before_any_scenario_starts(in_a_folder: Path) -> None:
    (in_a_folder / "work.py").write_text("import no_such_package\n")
    with pytest.raises(PreflightError) as caught:
        nodewise.compare(comparison(sys.executable, "work.py"), workspace="workspace")
    assert [finding.what.partition(":")[0] for finding in caught.value.findings] == ["one", "two"]
    assert all("no_such_package" in finding.what for finding in caught.value.findings)


@pytest.mark.parametrize(
    ("jobs", "message"),
    [
        ("{command: {run: []}}", "line 2: jobs.command.run must name a program"),
        ("{command: {run: ['']}}", "jobs.command.run must name a program"),
        ("{command: {run: [ls], kind: pascal}}", "jobs.command.kind must be"),
        ("{command: {run: ls}}", "jobs.command.run must be a list"),
        ("{command: {run: [ls]}, train: {epochs: 3}}", "jobs.train and command exclude each other"),
        ("{command: {run: [ls]}}\ndataset: {source: d}", "dataset is for prepare, train and score"),
        ("{}", "dataset is missing"),
    ],
)
def test_a_file_that_cannot_mean_a_program_is_refused(jobs: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / "compare.yaml"
    path.write_text(f"name: n\njobs: {jobs}\nscenarios: [{{name: a, engine: local}}]\n")
    with pytest.raises(SpecError) as caught:
        load_compare(path)
    assert message in str(caught.value)
