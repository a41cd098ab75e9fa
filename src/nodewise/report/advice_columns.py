"""What the ranking of an advice shows of each configuration, the same in the terminal and on the page."""

from __future__ import annotations

from collections.abc import Callable

from nodewise.core.units import format_duration
from nodewise.report.text import NOTHING, percent, plural, printable, usd
from nodewise.specs.advice import Advice, RankedConfiguration
from nodewise.specs.advice_request import format_latency, format_per_s

__all__ = ["candidates_text", "goal_text", "name_of", "ranking_columns"]

Cell = Callable[[RankedConfiguration], str]


def ranking_columns(advice: Advice) -> dict[str, Cell]:
    """The columns between a configuration's name and what its figures rest on: heading, and text of a row."""
    if advice.stream is not None:
        return {
            "$/h": lambda one: usd(one.configuration.usd_per_hour),
            "Handles": lambda one: NOTHING if one.stream is None else format_per_s(one.stream.records_per_s),
            "Head room": _head_room,
            "95 % in": _p95,
            "Keeps up": lambda one: percent(one.chance_within),
        }
    columns: dict[str, Cell] = {"Time": lambda one: format_duration(one.seconds), "90 %": _interval}
    if advice.spot is not None:
        columns["Expected"] = lambda one: NOTHING if one.expected_s is None else format_duration(one.expected_s)
    columns["Cost"] = lambda one: usd(one.cost_usd)
    if advice.deadline_s is not None or advice.budget_usd is not None:
        columns["In limit"] = lambda one: percent(one.chance_within)
    return columns


def candidates_text(advice: Advice) -> str:
    """How many candidates there are, and how many were left out for which reason."""
    left_out = "; ".join(f"{count:,} {reason}" for reason, count in advice.left_out.items())
    text = plural(advice.candidates, "candidate")
    return f"{text}; left out: {left_out}" if left_out else text


def goal_text(advice: Advice) -> str:
    """What is asked for: ``least cost within 20m 00s``."""
    if advice.stream is not None:
        stream = advice.stream
        return f"least price per hour for {format_per_s(stream.rate_per_s)}, 95 % within {format_latency(stream.p95_s)}"
    parts = [f"least {advice.goal}"]
    if advice.deadline_s is not None:
        parts.append(f"within {format_duration(advice.deadline_s)}")
    if advice.budget_usd is not None:
        parts.append(f"for at most {usd(advice.budget_usd)} a run")
    if advice.spot is not None:
        parts.append("at spot prices")
    return " ".join(parts)


def name_of(one: RankedConfiguration) -> str:
    """``4 x m5.xlarge``, with nothing that a terminal or a chart would act on."""
    return f"{one.configuration.nodes} x {printable(one.configuration.instance_type)}"


def _interval(one: RankedConfiguration) -> str:
    return f"{format_duration(one.seconds_low)} - {format_duration(one.seconds_high)}"


def _head_room(one: RankedConfiguration) -> str:
    return NOTHING if one.stream is None or one.stream.head_room < 0 else percent(one.stream.head_room)


def _p95(one: RankedConfiguration) -> str:
    return NOTHING if one.stream is None or one.stream.p95_s is None else format_latency(one.stream.p95_s)
