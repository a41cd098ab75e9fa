"""The chart of a forecast: time against nodes, measured, predicted and beyond."""

from __future__ import annotations

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import NullLocator

from nodewise.core.units import format_duration, format_ratio
from nodewise.report.charts import LINE_COLOURS, WIDTH_IN, Chart
from nodewise.report.svg import chart_style, to_svg
from nodewise.report.text import NOTHING, percent, usd
from nodewise.specs.forecast import ForecastPoint, ScalingForecast

__all__ = ["scaling_chart"]

ROUND_S = (
    *(number * 10.0**power for power in range(-3, 1) for number in (1, 2, 5)),
    *(10.0, 20.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1200.0, 1800.0),
    *(number * 10.0**power * 3600 for power in range(4) for number in (1, 2, 5)),
)
MOST_TICKS = 8
BAND_COLOUR, LAW_COLOUR = "#56B4E9", LINE_COLOURS[0]


def scaling_chart(forecast: ScalingForecast) -> Chart | None:
    """Time against nodes, both in equal ratios, with the interval as a band; None for a single number of nodes.

    The ideal (twice the nodes, half the time) is dashed; what lies beyond the measured range is hatched.
    """
    points = forecast.points
    if len(points) < 2:
        return None
    title, summary = "Time against nodes", _summary(forecast)
    with chart_style():
        figure = Figure(figsize=(WIDTH_IN, 4.8), dpi=72, layout="constrained")
        axes = figure.add_subplot()
        axes.set_xscale("log")
        axes.set_yscale("log")
        _draw(axes, forecast)
        nodes = [point.nodes for point in points]
        axes.set_xticks(nodes, [f"{count:,}" for count in nodes])
        axes.xaxis.set_minor_locator(NullLocator())
        axes.set_xlim(nodes[0] / 1.1, nodes[-1] * 1.1)
        ticks_s = _time_ticks(*axes.get_ylim())
        axes.set_yticks(ticks_s, [format_duration(tick) for tick in ticks_s])
        axes.yaxis.set_minor_locator(NullLocator())
        axes.set_xlabel("nodes")
        axes.set_ylabel("billed time of a run")
        figure.legend(loc="outside upper left", ncols=3, handlelength=2.4, fontsize=11)
        svg = to_svg(figure, key="scaling", title=title, summary=summary)
    return Chart(
        title=title,
        summary=summary,
        svg=svg,
        columns=("Nodes", "Time, s", "90 % from, s", "to, s", "Law, s", "Speedup", "Efficiency", "Cost", "Basis"),
        rows=tuple(_row(point) for point in points),
    )


def _draw(axes: Axes, forecast: ScalingForecast) -> None:
    points = forecast.points
    nodes = [point.nodes for point in points]
    low, high = [point.low_s for point in points], [point.high_s for point in points]
    axes.fill_between(nodes, low, high, color=BAND_COLOUR, alpha=0.35, linewidth=0, label="90 % of further runs")
    beyond = [point.basis == "extrapolated" for point in points]
    # Between a number that was reached and the next one, which was not, nothing is known of either side.
    reaching = [is_beyond or any(beyond[max(0, i - 1) : i + 2]) for i, is_beyond in enumerate(beyond)]
    if any(beyond):
        axes.fill_between(
            nodes,
            low,
            high,
            where=reaching,
            facecolor="none",
            edgecolor="#666666",
            hatch="//",
            linewidth=0,
            label="extrapolated: not measured",
        )
    by_law = [point.law_s for point in points if point.law_s is not None]
    if forecast.law is not None and len(by_law) == len(points):
        axes.plot(nodes, by_law, color=LAW_COLOUR, linewidth=1.8, label=forecast.law.title)
    base = points[0]
    ideal = [base.seconds * base.nodes / count for count in nodes]
    axes.plot(nodes, ideal, color="#000000", linestyle="--", linewidth=1.2, label=f"ideal, from {base.nodes}")
    unmeasured = [point for point in points if point.basis != "measured"]
    if unmeasured:
        axes.plot(
            [point.nodes for point in unmeasured],
            [point.seconds for point in unmeasured],
            linestyle="",
            marker="o",
            markerfacecolor="#ffffff",
            color=LINE_COLOURS[1],
            markersize=7,
            label="predicted median",
        )
    runs = [(point.nodes, seconds) for point in points for seconds in point.measured_s]
    if runs:
        counts, seconds = zip(*runs, strict=True)
        axes.plot(counts, seconds, linestyle="", marker="o", color=LINE_COLOURS[1], markersize=7, label="measured run")


def _time_ticks(least_s: float, most_s: float) -> list[float]:
    """Round times in between, not too many of them."""
    ticks = [tick for tick in ROUND_S if least_s <= tick <= most_s]
    step = -(-len(ticks) // MOST_TICKS)
    return ticks[:: max(1, step)]


def _summary(forecast: ScalingForecast) -> str:
    first, last = forecast.points[0], forecast.points[-1]
    low, high = format_duration(last.low_s), format_duration(last.high_s)
    return (
        f"From {format_duration(first.seconds)} on {first.nodes} ({first.basis}) to {format_duration(last.seconds)} on "
        f"{last.nodes} ({last.basis}, 90 % of runs {low} to {high}), {format_ratio(last.speedup)} as fast"
    )


def _row(point: ForecastPoint) -> tuple[str, ...]:
    law = NOTHING if point.law_s is None else f"{point.law_s:.2f}"
    times = (f"{point.seconds:.2f}", f"{point.low_s:.2f}", f"{point.high_s:.2f}", law)
    gain = (format_ratio(point.speedup), percent(point.efficiency), usd(point.cost_usd))
    return (f"{point.nodes:,}", *times, *gain, point.basis)
