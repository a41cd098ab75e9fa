"""The page of a forecast: everything is there, nothing is loaded, no name is taken for markup."""

from __future__ import annotations

import re
from pathlib import Path

from nodewise.analysis.scaling.forecast import ForecastSubject, MeasuredRun, Question, forecast_scaling
from nodewise.report.forecast_charts import scaling_chart
from nodewise.report.forecast_page import write_forecast_page
from nodewise.specs.forecast import PhysicsLine, ScalingForecast

from .pages import Page

HOSTILE = "<script>alert(1)</script>\x1b[31m{{7*7}}$x$"


def a_forecast(*counts: int, asked: tuple[int, ...] = (), price: float | None = 0.096) -> ScalingForecast:
    runs = [
        MeasuredRun(run_id=f"r{nodes}-{repeat}", nodes=nodes, billed_s=(10 + 100 / nodes) * (1 + 0.04 * repeat) + 12)
        for nodes in counts
        for repeat in range(2)
    ]
    subject = ForecastSubject(
        job=HOSTILE,
        engine="spark",
        node_type="m5.large",
        emulated=True,
        price_usd_per_hour=price,
        price_note="list price",
        physics=(PhysicsLine(what=f"{HOSTILE}: driver", seconds=3.0, source="its record"),),
        physics_run_id="r8-0",
    )
    return forecast_scaling(runs, subject, Question(nodes=asked))


def page_of(tmp_path: Path, forecast: ScalingForecast) -> str:
    path = tmp_path / "new" / "page.html"
    write_forecast_page(path, forecast)
    assert [entry.name for entry in path.parent.iterdir()] == ["page.html"]
    return path.read_text()


def test_the_page_says_what_the_forecast_says(tmp_path: Path) -> None:
    forecast = a_forecast(1, 2, 4, 8, asked=(3, 16))
    text = Page(page_of(tmp_path, forecast)).text
    assert forecast.sentence in text
    assert forecast.limit in text
    assert "extrapolated" in text
    assert "measured, n=2" in text
    assert "list price" in text
    assert "its record" in text


def test_a_notebook_shows_the_page(tmp_path: Path) -> None:
    forecast = a_forecast(1, 2, 4)
    write_forecast_page(tmp_path / "page.html", forecast)
    assert forecast._repr_html_() == (tmp_path / "page.html").read_text()


def test_the_page_loads_nothing_and_takes_no_name_for_markup(tmp_path: Path) -> None:
    source = page_of(tmp_path, a_forecast(1, 2, 4, 8))
    assert "<script" not in source
    assert "{{7*7}}" in source
    assert not re.search(r'(?:src|href)="(?!#)', source)
    assert len(source) < 300_000


def test_what_is_to_be_measured_next_is_on_the_page(tmp_path: Path) -> None:
    text = Page(page_of(tmp_path, a_forecast(1, 2, asked=(1, 2, 32)))).text
    assert "What to measure next" in text


def test_the_chart_has_the_points_and_marks_what_was_not_measured() -> None:
    chart = scaling_chart(a_forecast(1, 2, 4, 8, asked=(16,)))
    assert chart is not None
    assert [row[0] for row in chart.rows] == ["1", "2", "4", "8", "16"]
    assert chart.rows[-1][-1] == "extrapolated"
    assert "extrapolated: not measured" in chart.svg
    within = scaling_chart(a_forecast(1, 2, 4, 8, asked=(1, 8)))
    assert within is not None
    assert "not measured" not in within.svg


def test_one_number_of_nodes_has_no_chart(tmp_path: Path) -> None:
    forecast = a_forecast(4, asked=(4,), price=None)
    assert scaling_chart(forecast) is None
    assert "no law can be fitted" in Page(page_of(tmp_path, forecast)).text
