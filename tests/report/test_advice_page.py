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
from nodewise.report.advice_charts import scaling_chart, search_chart
from nodewise.report.advice_columns import name_of
from nodewise.report.advice_front import front_chart
from nodewise.report.advice_page import write_advice_page
from nodewise.report.advice_terminal import render_advice
from nodewise.specs.advice import Advice, AdviceStep, Configuration
from nodewise.specs.advice_request import SpotSpec, StreamSpec

Edit = Callable[[Configuration], Configuration]


STREAM = Request(stream=StreamSpec(rate_per_s=400, p95_s=5, records_per_run=100_000))
SPOT = Request(spot=SpotSpec(interruptions_per_hour=0.2), deadline_s=400)


def an_advice(runs: int, edit: Edit = lambda one: one, job: str = "nightly", request: Request | None = None) -> Advice:
    space = search_space([edit(one) for one in configurations()])
    if request is None:
        request = Request(deadline_s=400) if space.usd_per_hour is not None else Request(goal="time")
    advisor = Advisor(job, space, request)
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


def test_the_front_is_drawn_with_intervals_whatever_is_to_be_small() -> None:
    for request, title in ((Request(), "Cost"), (Request(goal="time"), "Cost"), (STREAM, "Throughput")):
        chart = front_chart(an_advice(3, request=request))
        assert chart is not None
        assert chart.title.startswith(f"{title} against ")
        assert "predicted; interval where on the front" in chart.svg
        assert len(chart.rows) == 20


def test_a_stream_is_shown_with_throughput_head_room_and_price(tmp_path: Path) -> None:
    advice = an_advice(4, request=STREAM)
    write_advice_page(tmp_path / "page.html", advice)
    page = (tmp_path / "page.html").read_text()
    assert "least price per hour for 400/s, 95 % within 5.0 s" in page
    assert "best price, USD per hour" in page
    text = terminal(advice, 120)
    for heading in ("$/h", "Handles", "Head room", "Keeps up"):
        assert f'<th scope="col">{heading}</th>' in page
        assert heading.upper() in text
    # 100,000 records in 180 s on 16 cores: 556 a second, of which 400 leave 28 %.
    assert advice.choice is not None
    (row,) = (line for line in text.splitlines() if name_of(advice.choice) in line and "measured: " in line)
    assert "556/s       28 %" in row
    assert "BEST $/H" in text


def test_interruptions_and_what_was_left_out_are_shown(tmp_path: Path) -> None:
    advice = replace(an_advice(3, request=SPOT), left_out={"above $2 an hour": 7})
    write_advice_page(tmp_path / "page.html", advice)
    page, text = (tmp_path / "page.html").read_text(), terminal(advice, 100)
    assert "least cost within 6m 40s at spot prices" in page
    assert '<th scope="col">Expected</th>' in page
    assert "EXPECTED" in text
    for place in (page, text):
        assert "20 candidates; left out: 7 above $2 an hour" in place


def test_the_choice_is_in_the_table_wherever_it_stands() -> None:
    advice = an_advice(3)
    last = advice.ranked[-1]
    table = terminal(replace(advice, choice=last), 120)
    assert f"20  {last.configuration.nodes} x {last.configuration.instance_type}" in table
    assert "and 9 more" in table


@pytest.mark.parametrize("request_", [None, STREAM, SPOT], ids=["cost", "stream", "spot"])
@pytest.mark.parametrize("width", [80, 120])
def test_the_terminal_keeps_to_its_width_and_says_what_was_measured(width: int, request_: Request | None) -> None:
    advice = an_advice(4, request=request_)
    text = terminal(advice, width)
    assert max(map(len, text.splitlines())) <= width
    for basis, why in (("measured", "1 run"), ("predicted", "")):
        assert basis in text
        assert (f"{basis}: {why}" in text) is (width == 120)
    assert f"{20 - 10 - (advice.choice in advice.ranked[10:])} more" in text
