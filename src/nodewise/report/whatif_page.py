"""A replay as one HTML file that opens from disk: no script, nothing loaded from outside."""

from __future__ import annotations

from pathlib import Path

from nodewise.core.files import write_atomic
from nodewise.report.page import drawn, page_environment
from nodewise.report.text import printable
from nodewise.report.whatif_charts import cost_curve, time_curve, waste_chart
from nodewise.report.whatif_terminal import cluster_words, core_hours, sentences
from nodewise.specs.whatif import WhatIfResult

__all__ = ["whatif_page", "write_whatif_page"]

STAGES_SHOWN = 200


def write_whatif_page(path: Path, result: WhatIfResult) -> None:
    """Write the page; the file is whole or absent."""
    write_atomic(path, whatif_page(result))


def whatif_page(result: WhatIfResult) -> str:
    """The page as text."""
    page = page_environment()
    page.filters.update(core_hours=core_hours, cluster=cluster_words, printable=printable)
    costs = cost_curve(result)
    charts = [drawn(chart) for chart in (time_curve(result), costs, waste_chart(result)) if chart is not None]
    return page.get_template("whatif.html.jinja").render(
        result=result,
        sentences=sentences(result),
        charts=charts,
        has_price=costs is not None,
        path=result.critical_path[:STAGES_SHOWN],
    )
