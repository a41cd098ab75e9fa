"""The chart of where the nodes' time went."""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from nodewise.core.units import format_duration
from nodewise.report.charts import START_UP_LOOK, WIDTH_IN, Chart, wrap_name, write_on_bar
from nodewise.report.svg import chart_style, to_svg
from nodewise.report.text import PART_NAMES, biggest_change, percent, split_words
from nodewise.specs.results import ComparisonResult, ScenarioResult

__all__ = ["split_chart"]

PART_LOOKS = {
    "compute": ("#0072B2", ""),
    "read_write": ("#E69F00", "\\\\"),
    "communicate": ("#CC79A7", "++"),
    "wait": ("#F0E442", "//"),
    "idle": ("#FFFFFF", ""),
}
START_UP_ROOM = 0.5
"""How much of a start-up is drawn beside its bar, as a share of the time after it; a longer one runs out of the picture
and its seconds are written all the same."""


def split_chart(comparison: ComparisonResult) -> Chart | None:
    """Bars of 100 %: what the nodes did with their time, the start-up beside them; None where it was not measured."""
    scenarios = [scenario for scenario in comparison.scenarios if scenario.time_split]
    if not scenarios:
        return None
    title = "Where the nodes' time went"
    first = next((one for one in scenarios if one.name == comparison.baseline), scenarios[0])
    changes = [biggest_change(first, scenario) for scenario in scenarios if scenario is not first]
    told = [f"{scenario.name}: {split_words(scenario)}" for scenario in scenarios] + [text for text in changes if text]
    summary = "; ".join(told)
    with chart_style():
        figure = Figure(figsize=(WIDTH_IN, 1.4 + 0.6 * len(scenarios)), dpi=72, layout="constrained")
        axes = figure.add_subplot()
        axes.grid(visible=False, axis="y")
        _start_ups(axes, scenarios)
        left = [0.0] * len(scenarios)
        for part, (colour, hatch) in PART_LOOKS.items():
            widths = [scenario.time_split[part] for scenario in scenarios]
            axes.barh(
                range(len(scenarios)),
                widths,
                left=left,
                height=0.62,
                color=colour,
                hatch=hatch,
                edgecolor="#333333",
                linewidth=0.6,
                label=PART_NAMES[part],
            )
            for row, width in enumerate(widths):
                if width > 0.06:
                    write_on_bar(axes, left[row] + width / 2, row, percent(width))
            left = [start + width for start, width in zip(left, widths, strict=True)]
        axes.set_yticks(range(len(scenarios)), [wrap_name(scenario.name) for scenario in scenarios])
        axes.tick_params(axis="y", length=0)
        axes.invert_yaxis()
        axes.set_xlim(right=1.01)
        axes.set_xticks([0, 0.25, 0.5, 0.75, 1])
        axes.xaxis.set_major_formatter(PercentFormatter(xmax=1, symbol=" %"))
        axes.set_xlabel("of the nodes' time after start-up")
        figure.legend(loc="outside upper left", ncols=6)
        svg = to_svg(figure, key="split", title=title, summary=summary)
    return Chart(
        title=title,
        summary=summary,
        svg=svg,
        columns=("Scenario", *PART_NAMES.values(), "start-up, s", "ideal, s", "billed time, s", "limited by"),
        rows=tuple(
            (
                scenario.name,
                *(percent(scenario.time_split[part], 1) for part in PART_NAMES),
                f"{scenario.start_up_seconds:.2f}",
                "-" if scenario.ideal_seconds is None else f"{scenario.ideal_seconds:.2f}",
                f"{scenario.seconds:.2f}",
                scenario.limited_by or "-",
            )
            for scenario in scenarios
        ),
    )


def _start_ups(axes: Axes, scenarios: Sequence[ScenarioResult]) -> None:
    """Bars to the left of 0, of the same scale."""
    shares = [
        scenario.start_up_seconds / max(scenario.seconds - scenario.start_up_seconds, 1e-9) for scenario in scenarios
    ]
    room = min(START_UP_ROOM, max(shares))
    gap = 0.02
    colour, hatch = START_UP_LOOK
    axes.barh(
        range(len(scenarios)),
        [-share for share in shares],
        left=-gap,
        height=0.62,
        color=colour,
        hatch=hatch,
        edgecolor="#333333",
        linewidth=0.6,
        label="start-up",
    )
    axes.set_xlim(left=-room - 2 * gap)
    for row, (share, scenario) in enumerate(zip(shares, scenarios, strict=True)):
        if share > 0.08:
            write_on_bar(axes, -gap - min(share, room) / 2, row, format_duration(scenario.start_up_seconds))
