"""The charts of a replay: time and cost against nodes, and what the cores did."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import nan

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, NullLocator, PercentFormatter

from nodewise.core.units import format_duration
from nodewise.report.charts import LINE_COLOURS, LINE_STYLES, MARKERS, START_UP_LOOK, WIDTH_IN, Chart, write_on_bar
from nodewise.report.svg import chart_style, to_svg
from nodewise.report.text import percent, usd
from nodewise.report.whatif_terminal import WASTE_NAMES, cluster_words, core_hours, waste_of
from nodewise.specs.whatif import WhatIfPoint, WhatIfResult

__all__ = ["cost_curve", "time_curve", "waste_chart"]

WASTE_LOOKS = {
    "driver": ("#E69F00", "\\\\"),
    "skew": ("#CC79A7", "++"),
    "too_few_tasks": ("#F0E442", "//"),
    "start_up": START_UP_LOOK,
    "failed_attempts": ("#D55E00", ".."),
}
USEFUL_LOOK = ("#0072B2", "")
BARS_SHOWN = 12
TICKS_SHOWN = 12


def time_curve(result: WhatIfResult) -> Chart:
    """Predicted time against nodes with its interval, the measured time, and what no number of nodes goes below."""
    title = "Time against nodes"
    of_first = _by_cluster(result)[0]
    first, last = of_first[0], of_first[-1]
    summary = (
        f"From {format_duration(first.predicted_s)} on {first.nodes:,} to {format_duration(last.predicted_s)} on "
        f"{last.nodes:,} ({last.basis}, 90 % {format_duration(last.low_s)} to {format_duration(last.high_s)}); "
        f"measured {format_duration(result.measured_s)} on {result.recorded_nodes:,}"
    )
    with chart_style():
        figure = Figure(figsize=(WIDTH_IN, 4.8), dpi=72, layout="constrained")
        axes = figure.add_subplot()
        axes.axhline(
            result.critical_path_s, color="#666666", linestyle=":", linewidth=1.4, label="with infinitely many nodes"
        )
        for number, points in enumerate(_by_cluster(result)):
            nodes = [point.nodes for point in points]
            low, high = [point.low_s for point in points], [point.high_s for point in points]
            axes.fill_between(nodes, low, high, color=LINE_COLOURS[number % len(LINE_COLOURS)], alpha=0.2, linewidth=0)
        _draw_curves(axes, result, lambda point: point.predicted_s)
        axes.plot(
            [result.recorded_nodes],
            [result.measured_s],
            linestyle="",
            marker="*",
            markersize=14,
            color="#000000",
            label="measured",
        )
        _scale_nodes(axes, result)
        axes.set_ylim(bottom=0)
        axes.yaxis.set_major_formatter(FuncFormatter(lambda seconds, _: format_duration(seconds)))
        axes.set_ylabel("time")
        figure.legend(loc="outside upper left", ncols=2, handlelength=2.4, fontsize=11)
        svg = to_svg(figure, key="whatif-time", title=title, summary=summary)
    columns = ("Nodes", "Slots", "Cluster", "Time, s", "90 % from, s", "to, s", "Cost", "Useful", "Basis")
    rows = tuple(
        (
            f"{point.nodes:,}",
            f"{point.slots:,}",
            cluster_words(result.clusters[point.cluster]),
            f"{point.predicted_s:.2f}",
            f"{point.low_s:.2f}",
            f"{point.high_s:.2f}",
            usd(point.cost_usd),
            percent(point.utilisation, 1),
            point.basis,
        )
        for point in result.curve
    )
    return Chart(title=title, summary=summary, svg=svg, columns=columns, rows=rows)


def cost_curve(result: WhatIfResult) -> Chart | None:
    """Cost against nodes; None without a price."""
    priced = [point for point in result.curve if point.cost_usd is not None]
    if not priced:
        return None
    title = "Cost against nodes"
    cheapest = min(priced, key=lambda point: point.cost_usd or 0.0)
    seconds = format_duration(cheapest.predicted_s)
    summary = f"Cheapest on {cheapest.nodes:,} (predicted): {usd(cheapest.cost_usd)} in {seconds}"
    with chart_style():
        figure = Figure(figsize=(WIDTH_IN, 3.6), dpi=72, layout="constrained")
        axes = figure.add_subplot()
        _draw_curves(axes, result, lambda point: point.cost_usd)
        _scale_nodes(axes, result)
        axes.set_ylim(bottom=0)
        axes.yaxis.set_major_formatter(FuncFormatter(lambda cost, _: usd(cost)))
        axes.set_ylabel("cost of a run")
        figure.legend(loc="outside upper left", ncols=2, handlelength=2.4, fontsize=11)
        svg = to_svg(figure, key="whatif-cost", title=title, summary=summary)
    rows = tuple((f"{point.nodes:,}", usd(point.cost_usd), format_duration(point.predicted_s)) for point in priced)
    return Chart(title=title, summary=summary, svg=svg, columns=("Nodes", "Cost", "Time"), rows=rows)


def waste_chart(result: WhatIfResult) -> Chart:
    """Bars of 100 %: what the core-hours went to, of the recorded cluster and of those of the first curve."""
    points = _thinned(_by_cluster(result)[0])
    names = ["recorded", *(f"{point.nodes:,}" for point in points)]
    all_hours = [result.core_hours, *(point.core_hours for point in points)]
    useful = [result.useful_core_hours, *(point.useful_core_hours for point in points)]
    wasted = [waste_of(result.wasted_core_hours), *(waste_of(point.wasted) for point in points)]
    parts = {"useful": useful} | {kind: [one[kind] for one in wasted] for kind in WASTE_NAMES}
    looks = {"useful": USEFUL_LOOK} | WASTE_LOOKS
    labels = {"useful": "useful"} | WASTE_NAMES
    title = "What the core-hours went to"
    summary = f"Useful: {percent(_share(useful[0], all_hours[0]))} as recorded, " + ", ".join(
        f"{percent(_share(useful[index], all_hours[index]))} on {names[index]}" for index in sorted({1, len(names) - 1})
    )
    with chart_style():
        figure = Figure(figsize=(WIDTH_IN, 1.5 + 0.42 * len(names)), dpi=72, layout="constrained")
        axes = figure.add_subplot()
        axes.grid(visible=False, axis="y")
        left = [0.0] * len(names)
        for kind, hours in parts.items():
            if not any(hours):
                continue
            widths = [_share(value, total) for value, total in zip(hours, all_hours, strict=True)]
            colour, hatch = looks[kind]
            axes.barh(
                range(len(names)),
                widths,
                left=left,
                height=0.66,
                color=colour,
                hatch=hatch,
                edgecolor="#333333",
                linewidth=0.6,
                label=labels[kind],
            )
            for row, width in enumerate(widths):
                if width > 0.07:
                    write_on_bar(axes, left[row] + width / 2, row, percent(width))
            left = [start + width for start, width in zip(left, widths, strict=True)]
        axes.set_yticks(range(len(names)), names)
        axes.tick_params(axis="y", length=0)
        axes.invert_yaxis()
        axes.set_xlim(0, 1.01)
        axes.xaxis.set_major_formatter(PercentFormatter(xmax=1, symbol=" %"))
        axes.set_xlabel("of the cluster's core-hours")
        axes.set_ylabel("nodes")
        figure.legend(loc="outside upper left", ncols=3, fontsize=11)
        svg = to_svg(figure, key="whatif-waste", title=title, summary=summary)
    columns = ("Nodes", "Core-hours", *labels.values())
    rows = tuple(
        (name, core_hours(all_hours[index]), *(core_hours(hours[index]) for hours in parts.values()))
        for index, name in enumerate(names)
    )
    return Chart(title=title, summary=summary, svg=svg, columns=columns, rows=rows)


def _by_cluster(result: WhatIfResult) -> list[list[WhatIfPoint]]:
    return [[point for point in result.curve if point.cluster == number] for number in range(len(result.clusters))]


def _draw_curves(axes: Axes, result: WhatIfResult, value: Callable[[WhatIfPoint], float | None]) -> None:
    for number, points in enumerate(_by_cluster(result)):
        axes.plot(
            [point.nodes for point in points],
            [nan if (amount := value(point)) is None else amount for point in points],  # no price: not drawn
            color=LINE_COLOURS[number % len(LINE_COLOURS)],
            linestyle=LINE_STYLES[number % len(LINE_STYLES)],
            marker=MARKERS[number % len(MARKERS)],
            markersize=5,
            linewidth=1.8,
            label=f"predicted: {cluster_words(result.clusters[number])}",
        )


def _scale_nodes(axes: Axes, result: WhatIfResult) -> None:
    counts = sorted({point.nodes for point in result.curve} | {result.recorded_nodes})
    if counts[-1] > 4 * counts[0]:
        axes.set_xscale("log")
        axes.xaxis.set_minor_locator(NullLocator())
    step = -(-len(counts) // TICKS_SHOWN)
    shown = counts[::-step][::-1]
    axes.set_xticks(shown, [f"{count:,}" for count in shown])
    axes.set_xlabel("nodes")


def _thinned(points: Sequence[WhatIfPoint]) -> Sequence[WhatIfPoint]:
    step = -(-len(points) // BARS_SHOWN)
    return points[::-step][::-1]


def _share(part: float, whole: float) -> float:
    return part / whole if whole > 0 else 0.0
