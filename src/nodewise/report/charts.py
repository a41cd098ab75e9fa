"""The charts of a comparison, each with the same facts as text and as a table."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import cycle

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, PercentFormatter

from nodewise.core.units import format_duration
from nodewise.report.labels import place_labels
from nodewise.report.svg import chart_style, to_svg
from nodewise.report.text import OTHER_STAGES, condition, long_stages, other_stages_s, percent, seconds_range, usd
from nodewise.specs.results import ComparisonResult, EpochResult, ScenarioResult

__all__ = [
    "START_UP_LOOK",
    "WIDTH_IN",
    "Chart",
    "cost_chart",
    "time_chart",
    "training_chart",
    "wrap_name",
    "write_on_bar",
]

# Okabe and Ito, "Color Universal Design" (2008): told apart with any kind of colour vision. Each comes with a hatch, a
# marker or a line style of its own, so that nothing depends on colour.
STAGE_LOOKS = (("#56B4E9", "//"), ("#0072B2", ""), ("#E69F00", "\\\\"), ("#009E73", "||"), ("#CC79A7", "++"))
START_UP_LOOK = ("#999999", "xx")
STOP_LOOK = ("#FFFFFF", "")
LINE_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#000000", "#56B4E9")
LINE_STYLES = ("-", "--", "-.", ":")
MARKERS = "osD^vPX"
WIDTH_IN = 10.0
"""720 points, so that a chart shown 720 pixels wide has its text in true size."""
LABEL_LETTERS = 24


@dataclass(frozen=True, slots=True, kw_only=True)
class Chart:
    """A drawing (an ``<svg>`` element), the sentence that stands for it, and its data as a table of text."""

    title: str
    summary: str
    svg: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


def time_chart(comparison: ComparisonResult) -> Chart:
    """Stacked bars: what the billed time of each scenario was spent on, in seconds."""
    scenarios = comparison.scenarios
    stages = long_stages(comparison)
    has_others = any(other_stages_s(scenario, stages) for scenario in scenarios)
    parts = ["start-up", *stages, *([OTHER_STAGES] if has_others else []), "stop"]
    looks = [START_UP_LOOK, *(look for _, look in zip(parts[1:-1], cycle(STAGE_LOOKS), strict=False)), STOP_LOOK]
    seconds = [_parts_s(scenario, parts, stages) for scenario in scenarios]
    longest = max((sum(values) for values in seconds), default=0.0) or 1.0
    title = "Where the billed time went"
    summary = "; ".join(
        f"{scenario.name} {format_duration(scenario.seconds)}, the largest part {parts[values.index(max(values))]}"
        for scenario, values in zip(scenarios, seconds, strict=True)
    )
    with chart_style():
        figure = Figure(figsize=(WIDTH_IN, 1.4 + 0.6 * len(scenarios)), dpi=72, layout="constrained")
        axes = figure.add_subplot()
        axes.grid(visible=False, axis="y")
        left = [0.0] * len(scenarios)
        for index, (part, (colour, hatch)) in enumerate(zip(parts, looks, strict=True)):
            widths = [values[index] for values in seconds]
            axes.barh(
                range(len(scenarios)),
                widths,
                left=left,
                height=0.62,
                color=colour,
                hatch=hatch,
                edgecolor="#333333",
                linewidth=0.6,
                label=part,
            )
            for row, width in enumerate(widths):
                if width > 0.07 * longest:
                    write_on_bar(axes, left[row] + width / 2, row, format_duration(width))
            left = [start + width for start, width in zip(left, widths, strict=True)]
        for row, (end, scenario) in enumerate(zip(left, scenarios, strict=True)):
            axes.text(end + 0.01 * longest, row, format_duration(scenario.seconds), va="center", weight="bold")
        axes.set_yticks(range(len(scenarios)), [wrap_name(scenario.name) for scenario in scenarios])
        axes.tick_params(axis="y", length=0)
        axes.invert_yaxis()
        axes.set_xlim(0, 1.12 * longest)
        axes.set_xlabel("seconds" + (", medians" if any(scenario.repeats > 1 for scenario in scenarios) else ""))
        figure.legend(loc="outside upper left", ncols=min(len(parts), 6))
        svg = to_svg(figure, key="time", title=title, summary=summary)
    return Chart(
        title=title,
        summary=summary,
        svg=svg,
        columns=("Scenario", *(f"{part}, s" for part in parts), "billed time, s"),
        rows=tuple(
            (scenario.name, *(f"{value:.2f}" for value in values), f"{scenario.seconds:.2f}")
            for scenario, values in zip(scenarios, seconds, strict=True)
        ),
    )


def cost_chart(comparison: ComparisonResult) -> Chart | None:
    """Cost against time, with the scenarios that no other beats in both joined by a line; None without two prices."""
    points = [(scenario, scenario.cost_usd) for scenario in comparison.scenarios if scenario.cost_usd is not None]
    if len(points) < 2:
        return None
    best = _front([(scenario.seconds, cost) for scenario, cost in points])
    conditions = sorted({condition(scenario) for scenario, _ in points} - {""})
    title = "Cost against time"
    unbeaten = ", ".join(points[index][0].name for index in best)
    summary = f"Lower left is better. No other scenario is both faster and cheaper than: {unbeaten}"
    with chart_style():
        figure = Figure(figsize=(WIDTH_IN, 4.6), dpi=72, layout="constrained")
        axes = figure.add_subplot()
        axes.plot(
            [points[index][0].seconds for index in best],
            [points[index][1] for index in best],
            color="#666666",
            linestyle="--",
            linewidth=1.2,
            zorder=1,
        )
        for index, (scenario, cost) in enumerate(points):
            colour = LINE_COLOURS[index % len(LINE_COLOURS)]
            if scenario.repeats > 1:
                spread = [[scenario.seconds - scenario.seconds_min], [scenario.seconds_max - scenario.seconds]]
                axes.errorbar([scenario.seconds], [cost], xerr=spread, color=colour, capsize=4, linewidth=1.2)
            axes.plot(
                [scenario.seconds],
                [cost],
                marker=MARKERS[index % len(MARKERS)],
                markersize=10,
                markerfacecolor=colour if index in best else "#FFFFFF",
                markeredgecolor=colour,
                markeredgewidth=1.8,
                linestyle="none",
            )
        axes.margins(0.12)
        axes.set_xlim(left=0)
        axes.set_ylim(bottom=0)
        axes.set_xlabel("billed time, seconds")
        # A second line for each condition: several node types do not fit beside the axis.
        axes.set_ylabel("cost, USD")
        if conditions:
            axes.set_title(
                "\n".join(f"Cost of emulated scenarios: {text}" for text in conditions), fontsize=11, loc="left"
            )
        names = [wrap_name(scenario.name) for scenario, _ in points]
        place_labels(figure, axes, [(scenario.seconds, cost) for scenario, cost in points], names)
        svg = to_svg(figure, key="cost", title=title, summary=summary)
    return Chart(
        title=title,
        summary=summary,
        svg=svg,
        columns=("Scenario", "Billed time", "Cost", "Cost is"),
        rows=tuple(
            (
                scenario.name,
                format_duration(scenario.seconds)
                + (f" ({seconds_range(scenario.seconds_min, scenario.seconds_max)})" if scenario.repeats > 1 else ""),
                usd(cost),
                condition(scenario) or "nodes x price x billed time",
            )
            for scenario, cost in points
        ),
    )


def training_chart(comparison: ComparisonResult) -> Chart | None:
    """Test accuracy and loss after each epoch, one line per scenario; None if nothing was trained."""
    trained = [scenario for scenario in comparison.scenarios if scenario.epochs]
    if not trained:
        return None
    title = "Training curves"
    summary = "; ".join(_last_epoch(scenario.name, scenario.epochs[-1]) for scenario in trained)
    with chart_style():
        figure = Figure(figsize=(WIDTH_IN, 4.4 + 0.25 * ((len(trained) - 1) // 3)), dpi=72, layout="constrained")
        accuracy_axes, loss_axes = figure.subplots(1, 2)
        for index, scenario in enumerate(trained):
            look = {
                "color": LINE_COLOURS[index % len(LINE_COLOURS)],
                "linestyle": LINE_STYLES[index % len(LINE_STYLES)],
                "marker": MARKERS[index % len(MARKERS)],
                # Curves with the same seed lie on each other: the later ones are thinner, so that all stay visible.
                "linewidth": max(1.4, 5.0 - 1.2 * index),
                "markersize": max(4.0, 9.0 - 1.7 * index),
            }
            held_out = [
                (epoch.epoch, epoch.test_accuracy) for epoch in scenario.epochs if epoch.test_accuracy is not None
            ]
            accuracy_axes.plot([epoch for epoch, _ in held_out], [share for _, share in held_out], **look)
            loss_axes.plot(
                [epoch.epoch for epoch in scenario.epochs],
                [epoch.loss for epoch in scenario.epochs],
                label=wrap_name(scenario.name),
                **look,
            )
        accuracy_axes.yaxis.set_major_formatter(PercentFormatter(xmax=1, symbol=" %"))
        for axes, name in ((accuracy_axes, "accuracy on held-out images"), (loss_axes, "training loss")):
            axes.set_title(name, loc="left", fontsize=12)
            axes.set_xlabel("epoch")
            axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        loss_axes.set_ylim(bottom=0)
        figure.legend(loc="outside upper left", ncols=3, handlelength=3.5)
        svg = to_svg(figure, key="training", title=title, summary=summary)
    return Chart(
        title=title,
        summary=summary,
        svg=svg,
        columns=("Scenario", "Epoch", "Loss", "Training accuracy", "Test accuracy", "Seconds"),
        rows=tuple(
            (
                scenario.name,
                str(epoch.epoch),
                f"{epoch.loss:.4f}",
                percent(epoch.train_accuracy, 1),
                percent(epoch.test_accuracy, 1),
                f"{epoch.seconds:.2f}",
            )
            for scenario in trained
            for epoch in scenario.epochs
        ),
    )


def _parts_s(scenario: ScenarioResult, parts: Sequence[str], stages: Sequence[str]) -> list[float]:
    seconds = {stage.name: stage.seconds for stage in scenario.stages if stage.name in stages}
    ends = {parts[0]: scenario.start_up_seconds, parts[-1]: scenario.stop_seconds}
    others = {OTHER_STAGES: other_stages_s(scenario, stages)}
    return [(others | seconds | ends).get(part, 0.0) for part in parts]


def _front(points: Sequence[tuple[float, float]]) -> list[int]:
    """Indices of the points that no other beats in both coordinates, from left to right."""
    front: list[int] = []
    for index in sorted(range(len(points)), key=lambda index: points[index]):
        if not front or points[index][1] < points[front[-1]][1]:
            front.append(index)
    return front


def _last_epoch(name: str, epoch: EpochResult) -> str:
    accuracy = (
        "" if epoch.test_accuracy is None else f"{percent(epoch.test_accuracy, 1)} of the held-out images right, "
    )
    return f"{name} after epoch {epoch.epoch}: {accuracy}loss {epoch.loss:.3f}"


def write_on_bar(axes: Axes, x: float, y: float, text: str) -> None:
    """Write in the middle of a part of a bar."""
    # The hatches run under the text, so it brings its own ground.
    box = {"facecolor": "#FFFFFF", "edgecolor": "none", "pad": 1.5}
    axes.text(x, y, text, ha="center", va="center", fontsize=11, bbox=box)


def wrap_name(name: str) -> str:
    """A name in lines short enough to stand beside an axis."""
    return "\n".join(textwrap.wrap(name, LABEL_LETTERS, max_lines=3, placeholder=" ..."))
