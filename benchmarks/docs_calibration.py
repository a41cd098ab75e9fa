"""The calibration plot of ``docs/benchmarks.md``: how often intervals hold, against how often they say they do."""

from __future__ import annotations

from typing import Any

from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from nodewise.report.charts import LINE_COLOURS, LINE_STYLES, MARKERS
from nodewise.report.svg import chart_style, to_svg

__all__ = ["calibration_svg"]

Results = dict[str, Any]
GOAL = (0.85, 0.95)
"""Of the measured times within the 90 % interval."""


def calibration_svg(results: Results) -> str:
    """A line for each source; on the diagonal an interval holds as often as it says."""
    sources = {**results["sources"], **results["training"]}
    with chart_style():
        figure = Figure(figsize=(9, 6), dpi=72, layout="constrained")
        axes = figure.add_subplot()
        axes.plot([0, 1], [0, 1], color="#666666", linestyle=":", linewidth=1.4, label="as it says")
        axes.plot([0.9, 0.9], GOAL, color="#bbbbbb", linewidth=9, solid_capstyle="butt", label="goal at 90 %")
        for number, (name, source) in enumerate(sources.items()):
            covered = {float(share): inside for share, inside in source["covered"].items()}
            axes.plot(
                list(covered),
                list(covered.values()),
                color=LINE_COLOURS[number % len(LINE_COLOURS)],
                linestyle=LINE_STYLES[number % len(LINE_STYLES)],
                marker=MARKERS[number % len(MARKERS)],
                label=name,
            )
        axes.set(xlim=(0, 1), ylim=(0, 1.02), xlabel="Interval", ylabel="Share of the measured times within it")
        axes.xaxis.set_major_formatter(PercentFormatter(1))
        axes.yaxis.set_major_formatter(PercentFormatter(1))
        axes.legend(loc="center left", bbox_to_anchor=(1, 0.5))
        ends = ", ".join(f"{name} {source['covered']['0.9'] * 100:.0f} %" for name, source in sources.items())
        summary = f"Within the 90 % interval lie: {ends}"
        return to_svg(figure, key="calibration", title="How often intervals hold", summary=summary)
