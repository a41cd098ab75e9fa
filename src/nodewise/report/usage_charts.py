"""The charts of what each node of a scenario used over time."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import PathPatch
from matplotlib.path import Path
from matplotlib.ticker import MaxNLocator

from nodewise.core.units import format_bytes, format_duration, format_rate
from nodewise.report.charts import WIDTH_IN, Chart
from nodewise.report.svg import chart_style, to_svg
from nodewise.report.text import percent
from nodewise.report.usage_rows import Line, NodeRow, mean, node_rows, thinned
from nodewise.specs.results import ComparisonResult, NodeUsage, ScenarioResult, UsageResult
from nodewise.specs.usage import DRIVER, MACHINE

__all__ = ["usage_charts"]

POINTS_OF_A_PAGE = 6000
"""Of all lines together, at about 12 bytes each."""
LEAST_POINTS = 24
ROW_IN = 0.42
ROW_HEIGHT = 0.8
"""Of the 1 that a row has, what its scale takes."""
BEYOND = 1.15
"""Where a line is cut off, as a multiple of its scale: the start of a node is not held to its limits."""
BAND_COLOURS = ("#E8EEF4", "#F6F1E4")
FILL, LINE = "#56B4E9", "#D55E00"

_Path = list[tuple[float, float]]


def usage_charts(comparison: ComparisonResult, room_bytes: int) -> tuple[list[Chart], list[str]]:
    """A chart per scenario whose utilisation was recorded, and the names of those for which there is no room left."""
    recorded = [(scenario, scenario.usage) for scenario in comparison.scenarios if scenario.usage is not None]
    lines = sum(4 * len(node_rows(usage)) for _, usage in recorded)
    points = max(LEAST_POINTS, POINTS_OF_A_PAGE // max(1, lines))
    charts: list[Chart] = []
    for number, (scenario, usage) in enumerate(recorded):
        chart = _usage_chart(scenario, usage, f"usage{number}", points)
        room_bytes -= len(chart.svg)
        if room_bytes < 0:
            return charts, [one.name for one, _ in recorded[number:]]
        charts.append(chart)
    return charts, []


@dataclass(frozen=True, slots=True, kw_only=True)
class _Measure:
    """A column of the chart.

    Attributes:
        lines: The values of a node: the first is drawn filled, a second as a line.
        limit: Of a node.
        tell: A value in words.
        peak: Whether the most is told of each row, instead of the mean after start-up.
    """

    title: str
    lines: Callable[[NodeUsage], list[Line]]
    limit: float | None
    tell: Callable[[float], str]
    peak: bool = False


def _measures(usage: UsageResult) -> list[_Measure]:
    measures = [
        _Measure(title="CPU, cores", lines=lambda node: [node.cpu_cores], limit=usage.cpus, tell=lambda v: f"{v:.2f}"),
        _Measure(
            title="network in (area), out (line)",
            lines=lambda node: [line for line in (node.received_bits_per_s, node.sent_bits_per_s) if line],
            limit=usage.network_limit_bits_per_s,
            tell=format_rate,
        ),
        _Measure(
            title="memory",
            lines=lambda node: [node.memory_bytes],
            limit=usage.memory_limit_bytes,
            tell=lambda value: format_bytes(round(value)),
            peak=True,
        ),
        _Measure(
            title="GPU",
            lines=lambda node: [line for line in (node.gpu_fraction,) if line],
            limit=1.0,
            tell=percent,
        ),
    ]
    return [measure for measure in measures if any(measure.lines(node) for node in usage.nodes)]


def _usage_chart(scenario: ScenarioResult, usage: UsageResult, key: str, points: int) -> Chart:
    rows = node_rows(usage)
    measures = _measures(usage)
    title = f"Utilisation per node: {scenario.name}"
    summary = _summary(usage)
    with chart_style():
        figure = Figure(figsize=(WIDTH_IN, 1.0 + ROW_IN * len(rows)), dpi=72, layout="constrained")
        columns = figure.subplots(1, len(measures), sharey=True, squeeze=False)[0]
        for axes, measure in zip(columns, measures, strict=True):
            _draw_measure(axes, measure, rows, usage, points)
        columns[0].set_yticks(
            [len(rows) - 1 - row + ROW_HEIGHT / 2 for row in range(len(rows))],
            [row.name.replace(", ", ",\n") for row in rows],
        )
        columns[0].set_ylim(0, len(rows) + 0.45)
        svg = to_svg(figure, key=key, title=title, summary=summary)
    return Chart(
        title=title,
        summary=summary,
        svg=svg,
        columns=(
            "Node",
            *(f"{measure.title}, {'most' if measure.peak else 'mean after start-up'}" for measure in measures),
        ),
        rows=tuple((node.node, *(_told(measure, node, usage) for measure in measures)) for node in usage.nodes),
    )


def _draw_measure(axes: Axes, measure: _Measure, rows: Sequence[NodeRow], usage: UsageResult, points: int) -> None:
    axes.grid(visible=False)
    axes.spines["left"].set_visible(False)
    axes.tick_params(axis="y", length=0)
    axes.set_title(measure.title, loc="left", fontsize=11)
    axes.set_xlim(0, usage.ended_s)
    axes.xaxis.set_major_locator(MaxNLocator(4))
    axes.set_xlabel("seconds")
    _draw_stages(axes, usage, len(rows))
    of_nodes = [line for row in rows if not row.apart for line in _lines(measure, row)]
    areas, curves, limits = [], [], []
    for place, row in enumerate(rows):
        base = len(rows) - 1 - place
        lines = _lines(measure, row)
        # Nodes are drawn to one scale, so that they can be compared; driver and machine have no limit.
        limit = None if row.apart else measure.limit
        scale = limit or _highest(lines if row.apart else of_nodes) or 1.0
        drawn = [_points(thinned(line, points), usage.step_s * len(line), scale, base) for line in lines]
        areas += [[(line[0][0], base), *line, (line[-1][0], base)] for line in drawn[:1]]
        curves += drawn[1:]
        limits += [[(0.0, base + ROW_HEIGHT), (usage.ended_s, base + ROW_HEIGHT)]] if limit is not None else []
        words = " / ".join(measure.tell(_figure(measure, line, usage)) for line in lines)
        axes.text(usage.ended_s, base + ROW_HEIGHT, words, ha="right", va="top", fontsize=9, color="#222222")
    grounds = [[(0.0, float(base)), (usage.ended_s, float(base))] for base in range(len(rows))]
    _draw_paths(axes, areas, facecolor=FILL, linewidth=0)
    _draw_paths(axes, curves, edgecolor=LINE, fill=False)
    _draw_paths(axes, limits, edgecolor="#333333", linewidth=0.7, linestyle=(0, (4, 3)), fill=False)
    _draw_paths(axes, grounds, edgecolor="#999999", linewidth=0.6, fill=False)


def _draw_paths(axes: Axes, lines: Sequence[_Path], **look: Any) -> None:
    """All lines of one look as one element: of a page with many nodes, elements take more room than points."""
    if lines:
        axes.add_patch(PathPatch(Path.make_compound_path(*(Path(line) for line in lines)), **look))


def _draw_stages(axes: Axes, usage: UsageResult, rows: int) -> None:
    """Bands, with their names where there is room for them."""
    last_end = max((stage.ended_s for stage in usage.stages), default=usage.start_up_s)
    # Before the first stage can begin there may be more to do than to start the cluster.
    spans = [("start-up", 0.0, usage.start_up_s, "#E4E4E4")]
    spans += [
        (stage.name, stage.started_s, stage.ended_s, BAND_COLOURS[number % 2])
        for number, stage in enumerate(usage.stages)
    ]
    spans.append(("stop", last_end, usage.ended_s, "#E4E4E4"))
    for name, began_s, ended_s, colour in spans:
        if ended_s <= began_s:
            continue
        axes.axvspan(began_s, ended_s, color=colour, linewidth=0, zorder=0)
        if (ended_s - began_s) / usage.ended_s > 0.035 * len(name):
            axes.text((began_s + ended_s) / 2, rows + 0.02, name, ha="center", va="bottom", fontsize=9, color="#444444")


def _lines(measure: _Measure, row: NodeRow) -> list[Line]:
    """The lines of a row: of one node its own, of several the means."""
    of_each = [lines for node in row.nodes if (lines := measure.lines(node))]
    return [[mean(values) for values in zip(*same, strict=True)] for same in zip(*of_each, strict=True)]


def _points(line: Line, length_s: float, scale: float, base: float) -> _Path:
    """A point in the middle of each step of a line over so many seconds; what was not measured lies on the base."""
    step_s = length_s / len(line)
    return [
        ((number + 0.5) * step_s, base + ROW_HEIGHT * min(BEYOND, (value or 0.0) / scale))
        for number, value in enumerate(line)
    ]


def _highest(lines: Sequence[Line]) -> float:
    return max((value for line in lines for value in line if value is not None), default=0.0)


def _figure(measure: _Measure, line: Line, usage: UsageResult) -> float:
    first = 0 if measure.peak else int(usage.start_up_s / usage.step_s)
    return _highest([line]) if measure.peak else mean(line[first:]) or 0.0


def _told(measure: _Measure, node: NodeUsage, usage: UsageResult) -> str:
    lines = measure.lines(node)
    return " / ".join(measure.tell(_figure(measure, line, usage)) for line in lines) or "-"


def _summary(usage: UsageResult) -> str:
    steps = f"Means over steps of {format_duration(usage.step_s)}"
    parts = [f"{steps}; the figures at the right are means after start-up, of memory the most"]
    limits = [
        f"{usage.cpus:g} CPU" if usage.cpus is not None else "",
        format_rate(usage.network_limit_bits_per_s) if usage.network_limit_bits_per_s is not None else "",
        format_bytes(usage.memory_limit_bytes) if usage.memory_limit_bytes is not None else "",
    ]
    held = ", ".join(filter(None, limits))
    parts.append(f"each node is held to {held} (dashed) once it has started" if held else "the nodes have no limits")
    parts += [
        f"{stage.name} from {format_duration(stage.started_s)} to {format_duration(stage.ended_s)}"
        for stage in usage.stages
    ]
    if not any(node.received_bits_per_s for node in usage.nodes if node.node not in (DRIVER, MACHINE)):
        parts.append("nodes share the machine's network, so its traffic is shown with the machine")
    return "; ".join(parts)
