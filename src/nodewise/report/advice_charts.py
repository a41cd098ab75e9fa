"""The charts of an advice over nodes and over its search: time against nodes, and how the search went."""

from __future__ import annotations

from collections import defaultdict
from itertools import accumulate

from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from nodewise.core.units import format_duration
from nodewise.report.advice_front import charted, write_plainly
from nodewise.report.charts import LINE_COLOURS, LINE_STYLES, MARKERS, WIDTH_IN, Chart
from nodewise.report.svg import chart_style, to_svg
from nodewise.report.text import NOTHING, printable, usd
from nodewise.specs.advice import Advice, RankedConfiguration

__all__ = ["scaling_chart", "search_chart"]

CURVES_SHOWN = 4


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
        write_plainly(axes.yaxis)
        axes.set_xlabel("nodes")
        axes.set_ylabel("time of a run, seconds")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        figure.legend(loc="outside upper left", ncols=CURVES_SHOWN)
        summary = f"Marks are measured, lines and 90 % bands predicted: {'; '.join(told)}"
        svg = to_svg(figure, key="scaling", title=title, summary=summary)
    rows = [one for name in shown for one in sorted(by_type[name], key=lambda one: one.configuration.nodes)]
    return charted(title, summary, svg, advice, rows)


def search_chart(advice: Advice) -> Chart | None:
    """The best so far and the money spent, after each run; None before there are two."""
    if len(advice.steps) < 2:
        return None
    numbers = list(range(1, len(advice.steps) + 1))
    is_cost = advice.goal == "cost"
    best_label = "best price, USD per hour" if advice.stream else "best cost, USD" if is_cost else "best time, seconds"
    best = [(number, step.best) for number, step in zip(numbers, advice.steps, strict=True) if step.best is not None]
    spent = list(accumulate(step.cost_usd or 0.0 for step in advice.steps))
    title = "How the search went"
    summary = f"{len(numbers)} runs" + (f", {usd(spent[-1])} in all" if advice.search_cost_usd is not None else "")
    with chart_style():
        figure = Figure(figsize=(WIDTH_IN, 3.4), dpi=72, layout="constrained")
        left = figure.add_subplot()
        left.step([at for at, _ in best], [value for _, value in best], where="post", color=LINE_COLOURS[0], marker="o")
        left.set_xlabel("run")
        left.set_ylabel(best_label)
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
