"""A forecast as one HTML file that opens from disk: no script, nothing loaded from outside."""

from __future__ import annotations

from pathlib import Path

from nodewise.core.files import write_atomic
from nodewise.report.forecast_charts import scaling_chart
from nodewise.report.forecast_terminal import basis_words, law_sentence
from nodewise.report.page import drawn, page_environment
from nodewise.specs.forecast import ScalingForecast

__all__ = ["forecast_page", "write_forecast_page"]

RUNS_SHOWN = 50


def forecast_page(forecast: ScalingForecast) -> str:
    """The page."""
    chart = scaling_chart(forecast)
    page = page_environment()
    page.filters.update(basis=basis_words)
    return page.get_template("forecast.html.jinja").render(
        forecast=forecast,
        law=law_sentence(forecast.law),
        chart=None if chart is None else drawn(chart),
        has_price=any(point.cost_usd is not None for point in forecast.points),
        runs=forecast.run_ids[:RUNS_SHOWN],
    )


def write_forecast_page(path: Path, forecast: ScalingForecast) -> None:
    """Write the page; the file is whole or absent."""
    write_atomic(path, forecast_page(forecast))
