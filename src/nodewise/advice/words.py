"""Advice in sentences, each number of which stands in, or follows from, the ranking."""

from __future__ import annotations

import math
from collections.abc import Sequence
from decimal import Decimal

from nodewise.advice.ranking import LIKELY
from nodewise.core.units import format_duration, format_usd
from nodewise.specs.advice import AdviceStep, Configuration, Goal, RankedConfiguration

__all__ = ["changes_of", "limit_words", "named", "sentence_of", "share"]


def named(configuration: Configuration) -> str:
    """``4 x m5.xlarge``."""
    return f"{configuration.nodes} x {configuration.instance_type}"


def share(part: float) -> str:
    """``12 %``; with a decimal below one."""
    return f"{part * 100:.{0 if part >= 0.01 else 1}f} %"


def limit_words(deadline_s: float | None, budget_usd: float | None) -> str:
    """``within 20m`` or ``for at most $5``; empty without a limit."""
    if deadline_s is not None:
        return f"within {format_duration(deadline_s)}"
    return f"for at most {_usd(budget_usd)}" if budget_usd is not None else ""


def sentence_of(
    goal: Goal,
    choice: RankedConfiguration | None,
    ranked: Sequence[RankedConfiguration],
    steps: Sequence[AdviceStep],
    limit: str,
) -> str:
    """Choice, what it takes and costs, how sure that is, and when another choice wins."""
    if choice is None:
        if not steps:
            return "Nothing was run yet, so there is no choice: make the run that is proposed."
        return f"No run ended well{f' {limit}' if limit else ''} yet, so there is no choice."
    best = {"cost": "cheapest", "time": "fastest"}[goal]
    tried = len({(step.configuration.instance_type, step.configuration.nodes) for step in steps})
    text = (
        f"Use {named(choice.configuration)}: {_figures(choice)}, the {best} of {tried} configurations that were run"
        f"{f', {limit}' if limit else ''}."
    )
    rival = _rival(goal, choice, ranked)
    return f"{text} {rival}" if rival else text


def changes_of(goal: Goal, choice: RankedConfiguration | None, ranked: Sequence[RankedConfiguration]) -> list[str]:
    """What would change the answer: a price, and a limit on the other quantity."""
    if choice is None:
        return []
    found = []
    others = [one for one in ranked if one.configuration.instance_type != choice.configuration.instance_type]
    others = [one for one in others if one.chance_within is None or one.chance_within >= LIKELY]
    if goal == "cost" and others:
        found.append(_if_cheaper(choice, min(others, key=_cost)))
    if goal == "cost":
        faster = [one for one in ranked if one.is_on_front and one.seconds < choice.seconds]
        limit = f"a deadline below {format_duration(choice.seconds)}"
        following = max(faster, key=lambda one: one.seconds, default=None)
    else:
        cheaper = [one for one in ranked if one.is_on_front and _cost(one) < _cost(choice)]
        limit = f"a budget below {_usd(_cost(choice))}"
        following = min(cheaper, key=lambda one: one.seconds, default=None)
    if following is not None:
        name = named(following.configuration)
        found.append(f"With {limit}, {name} is next: {_figures(following)} ({following.basis}).")
    return found


def _if_cheaper(choice: RankedConfiguration, other: RankedConfiguration) -> str:
    ratio = _cost(other) / _cost(choice)
    name = named(other.configuration)
    if ratio <= 1:
        return f"{name} is believed to cost {share(1 - ratio)} less, but was not run."
    kind, cheaper = other.configuration.instance_type, 1 - 1 / ratio
    return f"If {kind} were {share(cheaper)} cheaper, {name} would cost as little ({other.basis})."


def _rival(goal: Goal, choice: RankedConfiguration, ranked: Sequence[RankedConfiguration]) -> str:
    """What an hour costs that another configuration saves, or that it loses."""
    if choice.cost_usd is None:
        return ""
    # What is faster and dearer, or slower and cheaper.
    way = 1 if goal == "cost" else -1
    front = [
        one
        for one in ranked
        if one.is_on_front and way * one.seconds < way * choice.seconds and way * _cost(one) > way * choice.cost_usd
    ]
    if not front:
        return ""
    prices = {one: (_cost(one) - choice.cost_usd) / (choice.seconds - one.seconds) * 3600 for one in front}
    other = min(front, key=lambda one: prices[one]) if goal == "cost" else max(front, key=lambda one: prices[one])
    than = "more" if goal == "cost" else "less"
    return (
        f"If an hour saved is worth {than} than {_usd(prices[other])} to you, take {named(other.configuration)}: "
        f"{_figures(other)} ({other.basis})."
    )


def _figures(one: RankedConfiguration) -> str:
    between = f"90 %: {format_duration(one.seconds_low)} to {format_duration(one.seconds_high)}"
    money = "" if one.cost_usd is None else f" and {_usd(one.cost_usd)} a run"
    return f"{format_duration(one.seconds)}{money} ({between})"


def _cost(one: RankedConfiguration) -> float:
    """US dollars; of one without a price infinitely many."""
    return math.inf if one.cost_usd is None else one.cost_usd


def _usd(amount: float) -> str:
    return format_usd(Decimal(amount))
