"""An advice as one HTML file that opens from disk: no script, nothing loaded from outside."""

from __future__ import annotations

from pathlib import Path

from nodewise.core.files import write_atomic
from nodewise.report.advice_charts import scaling_chart, search_chart
from nodewise.report.advice_columns import candidates_text, goal_text, ranking_columns
from nodewise.report.advice_front import front_chart
from nodewise.report.page import drawn, page_environment
from nodewise.specs.advice import Advice

__all__ = ["advice_page", "write_advice_page"]

ROWS_SHOWN = 20


def advice_page(advice: Advice, *, command: str = "") -> str:
    """The page.

    Args:
        command: What was typed, to get the numbers again.
    """
    charts = [chart for chart in (front_chart(advice), scaling_chart(advice), search_chart(advice)) if chart]
    return (
        page_environment()
        .get_template("advice.html.jinja")
        .render(
            advice=advice,
            charts=[drawn(chart) for chart in charts],
            rows=advice.ranked[:ROWS_SHOWN],
            columns=ranking_columns(advice),
            goal=goal_text(advice),
            candidates=candidates_text(advice),
            command=command,
        )
    )


def write_advice_page(path: Path, advice: Advice, *, command: str = "") -> None:
    """Write the page; the file is whole or absent."""
    write_atomic(path, advice_page(advice, command=command))
