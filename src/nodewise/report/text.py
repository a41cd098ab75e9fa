"""The words that the terminal and the HTML file share, so that both say the same."""

from __future__ import annotations

from decimal import Decimal

from nodewise.core.units import format_duration, format_ratio, format_usd
from nodewise.specs.results import ScenarioResult

__all__ = ["cluster_text", "condition", "percent", "plural", "printable", "ratio", "seconds_range", "usd"]

NOTHING = "-"
"""Stands where a value is not known or has no meaning."""


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
