"""Advice on a batch in sentences, each number of which stands in, or follows from, the ranking."""

from __future__ import annotations

import math
from collections.abc import Sequence
from decimal import Decimal

from nodewise.advice.request import Request
from nodewise.core.units import format_duration, format_usd
from nodewise.specs.advice import AdviceStep, Configuration, Goal, RankedConfiguration
from nodewise.specs.advice_request import SpotSpec

__all__ = ["assumed_of", "cost_of", "figures_of", "named", "no_choice", "sentence_of", "share", "tried_of", "usd"]


def named(configuration: Configuration) -> str:
    """``4 x m5.xlarge``."""
    return f"{configuration.nodes} x {configuration.instance_type}"


def share(part: float) -> str:
    """``12 %``; with a decimal below one."""
    return f"{part * 100:.{0 if part >= 0.01 else 1}f} %"


def usd(amount: float) -> str:
    """``$0.31``."""
    return format_usd(Decimal(amount))


def cost_of(one: RankedConfiguration) -> float:
    """US dollars of a run; of one without a price infinitely many."""
    return math.inf if one.cost_usd is None else one.cost_usd


def tried_of(steps: Sequence[AdviceStep]) -> int:
    """How many configurations were run."""
    return len({step.configuration for step in steps})


def no_choice(steps: Sequence[AdviceStep], lacking: str) -> str:
    """Why there is no choice; ``lacking`` is what no run did."""
    if not steps:
        return "Nothing was run yet, so there is no choice: make the run that is proposed."
    return f"No run {lacking} yet, so there is no choice."


def sentence_of(
    request: Request,
    choice: RankedConfiguration | None,
    ranked: Sequence[RankedConfiguration],
    steps: Sequence[AdviceStep],
) -> str:
    """Choice, what it takes and costs, how sure that is, and when another choice wins."""
    limit = _limit(request)
    if choice is None:
        return no_choice(steps, " ".join(filter(None, ("ended well", limit))))
    best = {"cost": "cheapest", "time": "fastest"}[request.goal]
    text = (
        f"Use {named(choice.configuration)}: {figures_of(choice)}, the {best} of {tried_of(steps)} configurations that "
        f"were run{f', {limit}' if limit else ''}."
    )
    rival = _rival(request.goal, choice, ranked)
    return f"{text} {rival}" if rival else text


def figures_of(one: RankedConfiguration) -> str:
    """Time, its interval and cost; with interruptions, where some are assumed."""
    between = f"90 %: {format_duration(one.seconds_low)} to {format_duration(one.seconds_high)}"
    money = "" if one.cost_usd is None else f" and {usd(one.cost_usd)} a run"
    if one.expected_s is None:
        return f"{format_duration(one.seconds)}{money} ({between})"
    return (
        f"{format_duration(one.expected_s)}{money} with interruptions, else {format_duration(one.seconds)} ({between})"
    )


def assumed_of(spot: SpotSpec) -> str:
    """What is assumed of interruptions."""
    back = "to its beginning"
    if spot.checkpoint_s is not None:
        back = f"by up to {format_duration(spot.checkpoint_s)} of its work"
    return (
        f"Assumed, not measured: a node is interrupted {spot.interruptions_per_hour:g} times an hour on average; each "
        f"time the job is thrown back {back}, and goes on after {format_duration(spot.restart_s)}."
    )


def _limit(request: Request) -> str:
    """``within 20m`` or ``for at most $5``; empty without a limit."""
    if request.deadline_s is not None:
        return f"within {format_duration(request.deadline_s)}"
    return f"for at most {usd(request.budget_usd)}" if request.budget_usd is not None else ""


def _rival(goal: Goal, choice: RankedConfiguration, ranked: Sequence[RankedConfiguration]) -> str:
    """What an hour costs that another configuration saves, or that it loses."""
    if choice.cost_usd is None:
        return ""
    # What is faster and dearer, or slower and cheaper.
    way = 1 if goal == "cost" else -1
    front = [
        one
        for one in ranked
        if one.is_on_front and way * one.seconds < way * choice.seconds and way * cost_of(one) > way * choice.cost_usd
    ]
    if not front:
        return ""
    prices = {one: (cost_of(one) - choice.cost_usd) / (choice.seconds - one.seconds) * 3600 for one in front}
    other = min(front, key=lambda one: prices[one]) if goal == "cost" else max(front, key=lambda one: prices[one])
    than = "more" if goal == "cost" else "less"
    return (
        f"If an hour saved is worth {than} than {usd(prices[other])} to you, take {named(other.configuration)}: "
        f"{figures_of(other)} ({other.basis})."
    )
