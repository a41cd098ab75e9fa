"""The charts of an advice: cost against time, time against nodes, and how the search went."""

from __future__ import annotations

from collections import defaultdict
from itertools import accumulate

from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter

from nodewise.core.units import format_duration
from nodewise.report.charts import LINE_COLOURS, LINE_STYLES, MARKERS, WIDTH_IN, Chart
from nodewise.report.labels import place_labels
from nodewise.report.svg import chart_style, to_svg
from nodewise.report.text import NOTHING, printable, usd
from nodewise.specs.advice import Advice, RankedConfiguration

__all__ = ["front_chart", "scaling_chart", "search_chart"]

CURVES_SHOWN = 4
LABELS_SHOWN = 6


def front_chart(advice: Advice) -> Chart | None:
    """Cost against time with 90 % intervals; None where costs are not known or nothing was run."""
    points = [(one, one.cost_usd) for one in advice.ranked if one.cost_usd is not None]
    if len(points) < 2 or not advice.steps:
        return None
    front = sorted((one for one, _ in points if one.is_on_front), key=lambda one: one.seconds)
    title = "Cost against time"
    names = ", ".join(_name(one) for one in front)
    summary = f"Lower left is better. Nothing is believed to be both faster and cheaper than: {names}"
    with chart_style():
        figure = Figure(figsize=(WIDTH_IN, 4.8), dpi=72, layout="constrained")
        axes = figure.add_subplot()
        axes.plot(
            [one.seconds for one in front],
            [one.cost_usd or 0.0 for one in front],
            color="#666666",
            linestyle="--",
            linewidth=1.2,
            zorder=1,
        )
        for kind, fill in (("predicted", "#FFFFFF"), ("measured", LINE_COLOURS[0])):
            chosen = [(one, cost) for one, cost in points if one.basis == kind]
            for one, cost in chosen:
                ahead = [[one.seconds - one.seconds_low], [one.seconds_high - one.seconds]]
                if one.is_on_front or one.basis == "measured":
                    axes.errorbar(
                        [one.seconds], [cost], xerr=ahead, color="#999999", linewidth=1.0, capsize=2, zorder=2
                    )
            axes.plot(
                [one.seconds for one, _ in chosen],
                [cost for _, cost in chosen],
                marker="o" if kind == "measured" else "D",
                markersize=9 if kind == "measured" else 5,
                markerfacecolor=fill,
                markeredgecolor=LINE_COLOURS[0] if kind == "measured" else "#666666",
                linestyle="none",
                label=f"{kind}, with 90 % interval" if kind == "measured" else f"{kind}; interval where on the front",
                zorder=3,
            )
        if advice.choice is not None and advice.choice.cost_usd is not None:
            axes.plot(
                [advice.choice.seconds],
                [advice.choice.cost_usd],
                marker="o",
                markersize=17,
                markerfacecolor="none",
                markeredgecolor=LINE_COLOURS[1],
                markeredgewidth=2,
                linestyle="none",
                label="advised",
                zorder=4,
            )
        axes.set_xscale("log")
        axes.set_yscale("log")
        _write_plainly(axes.xaxis, axes.yaxis)
        axes.set_xlabel("time of a run, seconds")
        axes.set_ylabel("cost of a run, USD")
        axes.margins(0.08)
        figure.legend(loc="outside upper left", ncols=3)
        measured = [one for one, _ in points if one.basis == "measured"]
        labelled = list(dict.fromkeys([*front, *measured]))[:LABELS_SHOWN]
        places = [(one.seconds, one.cost_usd or 0.0) for one in labelled]
        place_labels(figure, axes, places, [_name(one) for one in labelled])
        svg = to_svg(figure, key="front", title=title, summary=summary)
    return Chart(title=title, summary=summary, svg=svg, columns=_COLUMNS, rows=tuple(_row(one) for one, _ in points))


def scaling_chart(advice: Advice) -> Chart | None:
    """Time against nodes of the best node types, with 90 % bands; None before a run ended well."""
    if not any(step.is_ok for step in advice.steps):
        return None
    by_type: dict[str, list[RankedConfiguration]] = defaultdict(list)
    for one in advice.ranked:
        by_type[one.configuration.instance_type].append(one)
    shown = [name for name, counts in by_type.items() if len(counts) > 1][:CURVES_SHOWN]
    if not shown:
        return None
    title = "Time against nodes"
    told = []
    with chart_style():
        figure = Figure(figsize=(WIDTH_IN, 4.4), dpi=72, layout="constrained")
        axes = figure.add_subplot()
        for number, name in enumerate(shown):
            line = sorted(by_type[name], key=lambda one: one.configuration.nodes)
            nodes, colour = [one.configuration.nodes for one in line], LINE_COLOURS[number]
            axes.fill_between(
                nodes,
                [one.seconds_low for one in line],
                [one.seconds_high for one in line],
                color=colour,
                alpha=0.13,
                linewidth=0,
            )
            style = LINE_STYLES[number % len(LINE_STYLES)]
            axes.plot(nodes, [one.seconds for one in line], color=colour, linestyle=style, label=printable(name))
            measured = [one for one in line if one.basis == "measured"]
            axes.plot(
                [one.configuration.nodes for one in measured],
                [one.seconds for one in measured],
                marker=MARKERS[number],
                markersize=9,
                color=colour,
                linestyle="none",
            )
            told.append(
                f"{printable(name)} {format_duration(line[0].seconds)} on {nodes[0]} to "
                f"{format_duration(line[-1].seconds)} on {nodes[-1]}"
            )
        axes.set_yscale("log")
        _write_plainly(axes.yaxis)
        axes.set_xlabel("nodes")
        axes.set_ylabel("time of a run, seconds")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        figure.legend(loc="outside upper left", ncols=CURVES_SHOWN)
        summary = f"Marks are measured, lines and 90 % bands predicted: {'; '.join(told)}"
        svg = to_svg(figure, key="scaling", title=title, summary=summary)
    rows = tuple(_row(one) for name in shown for one in sorted(by_type[name], key=lambda one: one.configuration.nodes))
    return Chart(title=title, summary=summary, svg=svg, columns=_COLUMNS, rows=rows)


def search_chart(advice: Advice) -> Chart | None:
    """The best so far and the money spent, after each run; None before there are two."""
    if len(advice.steps) < 2:
        return None
    numbers = list(range(1, len(advice.steps) + 1))
    is_cost = advice.goal == "cost"
    best = [(number, step.best) for number, step in zip(numbers, advice.steps, strict=True) if step.best is not None]
    spent = list(accumulate(step.cost_usd or 0.0 for step in advice.steps))
    title = "How the search went"
    summary = f"{len(numbers)} runs" + (f", {usd(spent[-1])} in all" if advice.search_cost_usd is not None else "")
    with chart_style():
        figure = Figure(figsize=(WIDTH_IN, 3.4), dpi=72, layout="constrained")
        left = figure.add_subplot()
        left.step([at for at, _ in best], [value for _, value in best], where="post", color=LINE_COLOURS[0], marker="o")
        left.set_xlabel("run")
        left.set_ylabel("best cost, USD" if is_cost else "best time, seconds")
        left.set_ylim(bottom=0)
        left.xaxis.set_major_locator(MaxNLocator(integer=True))
        if advice.search_cost_usd is not None:
            right = left.twinx()
            right.spines["right"].set_visible(True)
            right.grid(visible=False)
            right.plot(numbers, spent, color=LINE_COLOURS[1], linestyle="--", marker="s")
            right.set_ylabel("spent on the search, USD (dashed)")
            right.set_ylim(bottom=0)
        svg = to_svg(figure, key="search", title=title, summary=summary)
    return Chart(
        title=title,
        summary=summary,
        svg=svg,
        columns=("Run", "Cluster", "Time", "Ended well", "Cost", "Spent", "Best so far"),
        rows=tuple(
            (
                str(number),
                f"{step.configuration.nodes} x {printable(step.configuration.instance_type)}",
                format_duration(step.seconds),
                "yes" if step.is_ok else "no",
                usd(step.cost_usd),
                usd(total),
                NOTHING if step.best is None else usd(step.best) if is_cost else format_duration(step.best),
            )
            for number, step, total in zip(numbers, advice.steps, spent, strict=True)
        ),
    )


def _write_plainly(*axes: Axis) -> None:
    """Numbers beside logarithmic axes as numbers, not as powers of ten, at 1, 2 and 5 of each power."""
    for axis in axes:
        axis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
        axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axis.set_minor_formatter(NullFormatter())


_COLUMNS = ("Cluster", "Time", "90 %", "Cost", "Basis")


def _row(one: RankedConfiguration) -> tuple[str, ...]:
    between = f"{format_duration(one.seconds_low)} to {format_duration(one.seconds_high)}"
    return _name(one), format_duration(one.seconds), between, usd(one.cost_usd), f"{one.basis}: {one.why}"


def _name(one: RankedConfiguration) -> str:
    return f"{one.configuration.nodes} x {printable(one.configuration.instance_type)}"
