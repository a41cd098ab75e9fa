"""Advice as a page and in the terminal."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console
from tests.advice.made import configurations, scaling

from nodewise.advice.advisor import Advisor, Request
from nodewise.advice.space import Observation, search_space
from nodewise.report.advice_charts import front_chart, scaling_chart, search_chart
from nodewise.report.advice_page import write_advice_page
from nodewise.report.advice_terminal import render_advice
from nodewise.specs.advice import Advice, AdviceStep, Configuration

Edit = Callable[[Configuration], Configuration]


def an_advice(runs: int, edit: Edit = lambda one: one, job: str = "nightly") -> Advice:
    space = search_space([edit(one) for one in configurations()])
    advisor = Advisor(job, space, Request(deadline_s=400) if space.usd_per_hour is not None else Request(goal="time"))
    observed: list[Observation] = []
    steps: list[AdviceStep] = []
    for _ in range(runs):
        index = advisor.next_run(observed)
        assert index is not None
        observed.append(Observation(index, scaling(space.configurations[index])))
        cost = None if space.usd_per_hour is None else space.cost_usd(observed[-1])
        name = space.configurations[index].name
        best = advisor.best_value(observed)
        seconds = observed[-1].runtime_s
        steps.append(
            AdviceStep(configuration=name, source="run", seconds=seconds, is_ok=True, cost_usd=cost, best=best)
        )
    return advisor.advise(observed, steps)


def terminal(advice: Advice, width: int) -> str:
    console = Console(width=width, record=True, force_terminal=False, file=None, quiet=False, markup=False)
    with console.capture() as captured:
        render_advice(advice, console)
    return captured.get()


def test_the_page_says_what_the_advice_says(tmp_path: Path) -> None:
    advice = an_advice(3)
    write_advice_page(tmp_path / "page.html", advice, command="nodewise advise job.yaml")
    page = (tmp_path / "page.html").read_text()
    assert advice.choice is not None
    for text in (advice.sentence, advice.reason, "within 6m 40s", "Cost against time", "Time against nodes"):
        assert text in page.replace("&#39;", "'")
    assert page.count("measured: 1 run") >= 3
    assert "nodewise advise job.yaml" in page
    for foreign in ("<script", "http://", "src=", "@import"):
        assert foreign not in page.replace('xmlns="http://www.w3.org/2000/svg"', "")


def test_a_notebook_shows_the_page(tmp_path: Path) -> None:
    advice = an_advice(2)
    write_advice_page(tmp_path / "page.html", advice)
    assert advice._repr_html_() == (tmp_path / "page.html").read_text()


def test_no_name_is_taken_for_markup(tmp_path: Path) -> None:
    advice = an_advice(2, lambda one: replace(one, instance_type=f"<b>{one.instance_type}$"), job="<i>x</i>")
    write_advice_page(tmp_path / "page.html", advice)
    page = (tmp_path / "page.html").read_text()
    assert "<b>" not in page
    assert "<i>" not in page


def test_before_a_run_there_are_no_charts() -> None:
    advice = an_advice(0)
    assert (front_chart(advice), scaling_chart(advice), search_chart(advice)) == (None, None, None)
    assert "Run next: " in terminal(advice, 80)


def test_without_prices_there_is_no_cost_to_draw() -> None:
    advice = an_advice(3, lambda one: replace(one, usd_per_node_hour=None))
    assert front_chart(advice) is None
    assert scaling_chart(advice) is not None
    chart = search_chart(advice)
    assert chart is not None
    assert len(chart.rows) == 3


@pytest.mark.parametrize("width", [80, 120])
def test_the_terminal_keeps_to_its_width_and_says_what_was_measured(width: int) -> None:
    advice = an_advice(3)
    text = terminal(advice, width)
    assert max(map(len, text.splitlines())) <= width
    assert "measured: 1 run" in " ".join(text.split())
    assert "predicted:" in text
    assert "10 more" in text
