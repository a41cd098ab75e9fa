"""A replay for the terminal, and the words that it shares with the page."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from nodewise.core.units import format_count, format_duration, format_rate
from nodewise.report.console import Column, make_table, print_line, print_path
from nodewise.report.text import percent, plural, printable, usd
from nodewise.specs.whatif import ClusterShape, CriticalStage, WastedCoreHours, WhatIfPoint, WhatIfResult

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

__all__ = ["WASTE_NAMES", "cluster_words", "core_hours", "longest_stages", "render_whatif", "sentences", "waste_of"]

STAGES_SHOWN = 5
HARDLY = 0.1
"""Gain by more nodes that is not worth a word."""

WASTE_NAMES = {
    "driver": "driver at work alone",
    "skew": "waiting for a stage's last tasks",
    "too_few_tasks": "too few tasks",
    "start_up": "start-up",
    "failed_attempts": "attempts that failed",
}
"""What core-hours are wasted by, by its name in results."""


def render_whatif(result: WhatIfResult, console: Console) -> None:
    """Print what the replay found, the curve of each cluster, the waste and the critical path; from 80 columns on."""
    for sentence in sentences(result):
        print_line(console, sentence)
    for number, shape in enumerate(result.clusters):
        console.print()
        print_line(console, cluster_words(shape), style="bold")
        console.print(_curve_table([point for point in result.curve if point.cluster == number]))
    console.print()
    console.print(_waste_table(result))
    if result.critical_path:
        console.print()
        console.print(_path_table(result))
    if result.notes:
        console.print()
    for note in result.notes:
        print_line(console, note)
    if result.report_path is not None:
        print_path(console, "Report", result.report_path)


def sentences(result: WhatIfResult) -> list[str]:
    """What was replayed and how well that fits, how many nodes are enough, what the rest went to."""
    nodes = f"{plural(result.recorded_nodes, 'node')} x {plural(result.recorded_cores_per_node, 'core')}"
    off = abs(result.replayed_s - result.measured_s) / result.measured_s if result.measured_s > 0 else 0.0
    told = [
        f"{result.name}: measured {format_duration(result.measured_s)} on {nodes}, with "
        f"{plural(result.tasks, 'task')} in {plural(result.stages, 'stage')}; replayed there "
        f"{format_duration(result.replayed_s)}, {percent(off, 1)} off.",
        f"No number of nodes goes below {format_duration(result.critical_path_s)} (predicted): start-up, the driver "
        f"and the longest chain of stages.",
    ]
    told += filter(None, [_enough(result)])
    kind, hours = max(waste_of(result.wasted_core_hours).items(), key=lambda item: item[1])
    if result.core_hours > 0 and hours > 0:
        useful = percent(result.useful_core_hours / result.core_hours)
        told.append(
            f"Of the recorded cluster's {core_hours(result.core_hours)} core-hours {useful} were useful; most of the "
            f"rest, {percent(hours / result.core_hours)}, went to: {WASTE_NAMES[kind]}."
        )
    return told


def _enough(result: WhatIfResult) -> str:
    """The least of the first cluster's nodes from which on more hardly help; empty for a single count."""
    points = [point for point in result.curve if point.cluster == 0]
    if len(points) < 2:
        return ""
    fastest_s = min(point.predicted_s for point in points)
    enough = next(point for point in points if point.predicted_s <= fastest_s * (1 + HARDLY))
    cost = "" if enough.cost_usd is None else f", for {usd(enough.cost_usd)}"
    interval = f"{format_duration(enough.low_s)} to {format_duration(enough.high_s)}"
    cluster = cluster_words(result.clusters[0])
    return (
        f"{plural(enough.nodes, 'node')} ({cluster}) would take {format_duration(enough.predicted_s)} "
        f"({enough.basis}, 90 %: {interval}){cost}; of the counts asked for, more gain less than {percent(HARDLY)}."
    )


def waste_of(wasted: WastedCoreHours) -> dict[str, float]:
    """Core-hours by the names of :data:`WASTE_NAMES`."""
    return {name: getattr(wasted, name) for name in WASTE_NAMES}


def core_hours(hours: float) -> str:
    """With as many digits as tell two small runs apart."""
    return format_count(hours) if hours >= 100 else f"{hours:.3g}"


def cluster_words(shape: ClusterShape) -> str:
    """``m5.xlarge, 4 cores per node, network 10 Gbit/s``."""
    parts = [
        shape.node_type,
        None if shape.cores_per_node is None else f"{plural(shape.cores_per_node, 'core')} per node",
        None if shape.core_speed == 1 else f"cores {shape.core_speed:g} times as fast",
        None if shape.disk_bytes_per_s is None else f"disk {shape.disk_bytes_per_s / 1e6:g} MB/s",
        None if shape.network_bits_per_s is None else f"network {format_rate(shape.network_bits_per_s)}",
    ]
    return ", ".join(filter(None, parts))


def longest_stages(chain: Sequence[CriticalStage], count: int) -> list[CriticalStage]:
    """Those that take longest with their driver part, in their order."""
    kept = sorted(chain, key=lambda stage: -(stage.driver_s + stage.longest_task_s))[:count]
    return [stage for stage in chain if stage in kept][:count]


def _curve_table(points: Sequence[WhatIfPoint]) -> Table:
    has_price = any(point.cost_usd is not None for point in points)
    table = make_table(
        Column("NODES"),
        Column("SLOTS"),
        Column("TIME"),
        Column("90 % INTERVAL"),
        *([Column("COST")] if has_price else []),
        Column("USEFUL"),
        Column("BASIS", "left", folds=True),
    )
    for point in points:
        table.add_row(
            format_count(point.nodes),
            format_count(point.slots),
            format_duration(point.predicted_s),
            f"{format_duration(point.low_s)} - {format_duration(point.high_s)}",
            *([usd(point.cost_usd)] if has_price else []),
            percent(point.utilisation),
            point.basis,
        )
    return table


def _waste_table(result: WhatIfResult) -> Table:
    table = make_table(
        Column("CORE-HOURS OF THE RECORDED CLUSTER", "left", folds=True), Column("HOURS"), Column("SHARE")
    )
    hours = {"useful": result.useful_core_hours} | {
        WASTE_NAMES[name]: hours for name, hours in waste_of(result.wasted_core_hours).items()
    }
    for name, value in hours.items():
        if value > 0:
            table.add_row(name, core_hours(value), percent(value / result.core_hours))
    table.add_row("all", core_hours(result.core_hours), "")
    return table


def _path_table(result: WhatIfResult) -> Table:
    table = make_table(
        Column("CRITICAL PATH: LONGEST STAGES", "left", folds=True),
        Column("DRIVER"),
        Column("LONGEST TASK"),
        Column("TASKS"),
    )
    for stage in longest_stages(result.critical_path, STAGES_SHOWN):
        table.add_row(
            printable(stage.name),
            format_duration(stage.driver_s),
            format_duration(stage.longest_task_s),
            format_count(stage.num_tasks),
        )
    left = len(result.critical_path) - STAGES_SHOWN
    if left > 0:
        table.add_row(f"and {plural(left, 'more stage')}", "", "", "")
    return table
