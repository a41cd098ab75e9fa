"""The words that the terminal and the HTML file share, so that both say the same."""

from __future__ import annotations

from collections.abc import Collection
from decimal import Decimal

from nodewise.core.units import format_duration, format_ratio, format_usd
from nodewise.specs.results import ComparisonResult, ScenarioResult

__all__ = [
    "PART_NAMES",
    "biggest_change",
    "cluster_text",
    "condition",
    "long_stages",
    "other_stages_s",
    "percent",
    "plural",
    "printable",
    "ratio",
    "seconds_range",
    "split_words",
    "usd",
]

PART_NAMES = {
    "compute": "compute",
    "read_write": "read + write",
    "communicate": "communicate",
    "wait": "wait",
    "idle": "idle",
}
"""What nodes do with their time, by its name in results."""

STAGES_SHOWN = 6
OTHER_STAGES = "other stages"
"""Stands for those that there is no room for; a program may have hundreds."""

NOTHING = "-"
"""Stands where a value is not known or has no meaning."""


def long_stages(comparison: ComparisonResult) -> list[str]:
    """The names of the stages, in their order; of more than six those that take longest in any scenario."""
    longest: dict[str, float] = {}
    for scenario in comparison.scenarios:
        for stage in scenario.stages:
            longest[stage.name] = max(longest.get(stage.name, 0.0), stage.seconds)
    kept = sorted(longest, key=lambda name: -longest[name])[:STAGES_SHOWN]
    return [name for name in longest if name in kept]


def other_stages_s(scenario: ScenarioResult, shown: Collection[str]) -> float:
    """Seconds of the stages that are not shown."""
    return sum(stage.seconds for stage in scenario.stages if stage.name not in shown)


def usd(amount: float | None) -> str:
    """US dollars, or ``unknown``."""
    return format_usd(None if amount is None else Decimal(str(amount)))


def ratio(value: float | None) -> str:
    """A ratio as ``2.31x``, or a dash."""
    return NOTHING if value is None else format_ratio(value)


def percent(share: float | None, digits: int = 0) -> str:
    """A share of 1 as ``42 %``, or a dash."""
    return NOTHING if share is None else f"{share * 100:.{digits}f} %"


def plural(count: int, noun: str) -> str:
    """A count with its noun: ``1 node``, ``1,797 images``."""
    return f"{count:,} {noun}" + ("" if count == 1 else "s")


def seconds_range(lowest: float, highest: float) -> str:
    """A range of times, the unit once if both have the same: ``40.1-44.0 s``."""
    low, high = format_duration(lowest), format_duration(highest)
    if low.endswith(" s") and high.endswith(" s"):
        low = low.removesuffix(" s")
    return f"{low}-{high}"


def cluster_text(scenario: ScenarioResult) -> str:
    """What the scenario ran on: ``spark, 5 nodes x 2 cores, Standard_DS3_v2``."""
    nodes = f"{plural(scenario.nodes, 'node')} x {plural(scenario.cores_per_node, 'core')}"
    return ", ".join(filter(None, [scenario.engine, nodes, scenario.node_type]))


def condition(scenario: ScenarioResult) -> str:
    """What must stand beside the cost of an emulated scenario; empty where the cost is one."""
    if not scenario.emulated or scenario.cost_usd is None:
        return ""
    return f"if run on {scenario.node_type or 'such nodes'} at this speed"


def printable(text: str) -> str:
    """The text with control characters replaced: names of files may hold escape sequences for the terminal."""
    return "".join(character if character.isprintable() else "\ufffd" for character in text)


def split_words(scenario: ScenarioResult) -> str:
    """What its nodes did with their time: ``compute 61 %, wait 30 %, idle 9 %``; parts of no percent are left out."""
    parts = [(name, scenario.time_split.get(part, 0.0)) for part, name in PART_NAMES.items()]
    return ", ".join(f"{name} {percent(share)}" for name, share in parts if share >= 0.005)


def biggest_change(baseline: ScenarioResult, scenario: ScenarioResult) -> str:
    """The part whose share differs most from the baseline's, in words; empty where none differs by a percent."""
    part = max(PART_NAMES, key=lambda part: abs(scenario.time_split[part] - baseline.time_split[part]))
    before, after = baseline.time_split[part], scenario.time_split[part]
    if abs(after - before) < 0.01:
        return ""
    change = f"{PART_NAMES[part]} {percent(before)} -> {percent(after)}"
    return f"largest change from {baseline.name} to {scenario.name}: {change}"
