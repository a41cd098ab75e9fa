"""Comparisons of programs: other stages than prepare, train and score, and maybe many."""

from __future__ import annotations

import dataclasses
import io
from collections.abc import Callable

import pytest
from rich.console import Console

from nodewise.report.charts import time_chart
from nodewise.report.terminal import render_comparison
from nodewise.specs.results import ComparisonResult, ScenarioResult

from .conftest import make_comparison, make_scenario


def program(name: str, nodes: int, seconds: list[float]) -> ScenarioResult:
    """A Spark program with a stage of each length, all starting up for 2 s and stopping for 1 s."""
    scenario = make_scenario(name, nodes=nodes, accuracy=None)
    stages = tuple(
        dataclasses.replace(scenario.stages[0], name=f"{number}: sum at /a/long/path/of/etl.py:{number}", seconds=one)
        for number, one in enumerate(seconds)
    )
    return dataclasses.replace(
        scenario,
        stages=tuple(dataclasses.replace(stage, records=0, records_per_s=0.0) for stage in stages),
        start_up_seconds=2.0,
        stop_seconds=1.0,
        seconds=sum(seconds) + 3.0,
        records=0,
        epochs=(),
    )


@pytest.fixture
def compared() -> ComparisonResult:
    # The two shortest everywhere are 2 and 5.
    return make_comparison(program("one", 1, [4, 9, 1, 8, 7, 0.5, 6, 5]), program("two", 2, [2, 5, 1, 4, 3, 0.5, 3, 3]))


@pytest.mark.parametrize("width", [80, 120])
def test_of_many_stages_the_longest_six_have_columns(compared: ComparisonResult, width: int) -> None:
    console = Console(file=io.StringIO(), width=width)
    render_comparison(compared, console)
    lines = console.file.getvalue().splitlines()  # type: ignore[attr-defined]
    assert max(len(line.rstrip()) for line in lines[:-1]) <= width
    begin = next(index for index, line in enumerate(lines) if line.split() == ["Time", "one", "two"])
    rows = [line.split() for line in lines[begin + 2 : begin + 11]]
    # Start-up, six stages in their order, the other two together, stop: no records.
    assert [row[0] for row in rows] == ["start-up", "0:", "1:", "3:", "4:", "6:", "7:", "other", "stop"]
    assert [float(row[-4]) for row in rows] == [2, 4, 9, 8, 7, 6, 5, 1.5, 1]
    assert [float(row[-2]) for row in rows] == [2, 2, 5, 4, 3, 3, 3, 1.5, 1]
    assert not any("Accuracy" in line for line in lines)


def test_the_chart_of_times_has_all_seconds_in_as_many_parts(compared: ComparisonResult) -> None:
    chart = time_chart(compared)
    assert len(chart.columns) == 1 + 1 + 6 + 1 + 1 + 1
    assert chart.columns[-3:] == ("other stages, s", "stop, s", "billed time, s")
    for row, scenario in zip(chart.rows, compared.scenarios, strict=True):
        assert sum(map(float, row[1:-1])) == scenario.seconds == float(row[-1])


def test_what_three_jobs_have_is_shown_as_before(example: ComparisonResult, comparison: Callable[..., object]) -> None:
    assert time_chart(example).columns[1:-1] == ("start-up, s", "prepare, s", "train, s", "score, s", "stop, s")
