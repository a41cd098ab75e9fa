"""The trade-offs of an advice in a chart: cost against time, or of a stream throughput against price."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from nodewise.report.advice_columns import name_of, ranking_columns
from nodewise.report.charts import LINE_COLOURS, WIDTH_IN, Chart
from nodewise.report.labels import place_labels
from nodewise.report.svg import chart_style, to_svg
from nodewise.specs.advice import Advice, RankedConfiguration
from nodewise.specs.advice_request import StreamSpec, format_per_s

__all__ = ["charted", "front_chart", "write_plainly"]

LABELS_SHOWN = 6
ROWS_LISTED = 100
"""In the table of the chart: a report is to stay small enough to be sent."""
Place = tuple[float, float]


@dataclass(frozen=True, slots=True)
class _Plane:
    """What lies along the axes.

    Attributes:
        place: Of a configuration whose run takes so many seconds and costs so many US dollars.
        needed: The least value of the vertical axis; None: any.
    """

    title: str
    summary: str
    across: str
    up: str
    place: Callable[[RankedConfiguration, float, float], Place]
    needed: float | None = None


def front_chart(advice: Advice) -> Chart | None:
    """Cost against time, or of a stream throughput against price, with 90 % intervals.

    None where prices are not known or nothing was run.
    """
    rows = [one for one in advice.ranked if one.cost_usd is not None]
    if len(rows) < 2 or not advice.steps:
        return None
    front = sorted((one for one in rows if one.is_on_front), key=lambda one: one.seconds)
    names = ", ".join(map(name_of, front))
    plane = _of_batch(names) if advice.stream is None else _of_stream(advice.stream, names)
    with chart_style():
        figure = Figure(figsize=(WIDTH_IN, 4.8), dpi=72, layout="constrained")
        axes = figure.add_subplot()
        axes.plot(*_columns(plane, front), color="#666666", linestyle="--", linewidth=1.2, zorder=1)
        _draw_rows(axes, plane, rows)
        if advice.choice is not None:
            axes.plot(
                *_columns(plane, [advice.choice]),
                marker="o",
                markersize=17,
                markerfacecolor="none",
                markeredgecolor=LINE_COLOURS[1],
                markeredgewidth=2,
                linestyle="none",
                label="advised",
                zorder=4,
            )
        if plane.needed is not None:
            axes.axhline(plane.needed, color=LINE_COLOURS[1], linewidth=1.2, label="the stream", zorder=1)
        axes.set_xscale("log")
        axes.set_yscale("log")
        write_plainly(axes.xaxis, axes.yaxis)
        axes.set_xlabel(plane.across)
        axes.set_ylabel(plane.up)
        axes.margins(0.08)
        figure.legend(loc="outside upper left", ncols=2)
        measured = [one for one in rows if one.basis == "measured"]
        labelled = list(dict.fromkeys([*measured, *(one for one in rows if one.is_on_front)]))[:LABELS_SHOWN]
        place_labels(figure, axes, [_middle(plane, one) for one in labelled], list(map(name_of, labelled)))
        svg = to_svg(figure, key="front", title=plane.title, summary=plane.summary)
    return charted(plane.title, plane.summary, svg, advice, rows[:ROWS_LISTED])


def charted(title: str, summary: str, svg: str, advice: Advice, rows: Sequence[RankedConfiguration]) -> Chart:
    """A chart with the ranking's figures of these configurations as its table."""
    columns = ranking_columns(advice)
    return Chart(
        title=title,
        summary=summary,
        svg=svg,
        columns=("Cluster", *columns, "Basis"),
        rows=tuple(
            (name_of(one), *(cell(one) for cell in columns.values()), f"{one.basis}: {one.why}") for one in rows
        ),
    )


def write_plainly(*axes: Axis) -> None:
    """Numbers beside logarithmic axes as numbers, not as powers of ten, at 1, 2 and 5 of each power."""
    for axis in axes:
        axis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
        axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axis.set_minor_formatter(NullFormatter())


def _of_batch(names: str) -> _Plane:
    return _Plane(
        title="Cost against time",
        summary=f"Lower left is better. Nothing is believed to be both faster and cheaper than: {names}",
        across="time of a run, seconds",
        up="cost of a run, USD",
        place=lambda _, seconds, usd: (seconds, usd),
    )


def _of_stream(stream: StreamSpec, names: str) -> _Plane:
    records = stream.records_per_run or 0
    return _Plane(
        title="Throughput against price",
        summary=f"Upper left is better, above {format_per_s(stream.rate_per_s)}. Nothing is believed to do more for "
        f"less than: {names}",
        across="price of all nodes, USD per hour",
        up="records per second",
        place=lambda one, seconds, _: (one.configuration.usd_per_hour or 0.0, records / seconds),
        needed=stream.rate_per_s,
    )


def _draw_rows(axes: Axes, plane: _Plane, rows: Sequence[RankedConfiguration]) -> None:
    for one in rows:
        if one.is_on_front or one.basis == "measured":
            # What is across and what is up are sure to the same degree, since both follow from the time.
            low = plane.place(one, one.seconds_low, one.cost_usd_low or 0.0)
            high = plane.place(one, one.seconds_high, one.cost_usd_high or 0.0)
            points = zip(low, _middle(plane, one), high, strict=True)
            axes.plot(*points, color="#999999", linewidth=1.0, zorder=2)
    for kind, fill in (("predicted", "#FFFFFF"), ("measured", LINE_COLOURS[0])):
        axes.plot(
            *_columns(plane, [one for one in rows if one.basis == kind]),
            marker="o" if kind == "measured" else "D",
            markersize=9 if kind == "measured" else 5,
            markerfacecolor=fill,
            markeredgecolor=LINE_COLOURS[0] if kind == "measured" else "#666666",
            linestyle="none",
            label=f"{kind}, with 90 % interval" if kind == "measured" else f"{kind}; interval where on the front",
            zorder=3,
        )


def _middle(plane: _Plane, one: RankedConfiguration) -> Place:
    return plane.place(one, one.seconds, one.cost_usd or 0.0)


def _columns(plane: _Plane, rows: Sequence[RankedConfiguration]) -> tuple[list[float], list[float]]:
    places = [_middle(plane, one) for one in rows]
    return [across for across, _ in places], [up for _, up in places]
