"""What would change advice on a batch: a price, a limit, more data, more interruptions. A sentence each.

They follow from the ranking alone, without a further run.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from nodewise.advice.interruptions import break_even_per_hour
from nodewise.advice.ranking import LIKELY
from nodewise.advice.request import Request
from nodewise.advice.words import cost_of, figures_of, named, share, usd
from nodewise.core.units import format_duration
from nodewise.specs.advice import RankedConfiguration
from nodewise.specs.advice_request import SpotSpec

__all__ = ["changes_of", "if_cheaper"]

LEAST_SHARE = 0.001
"""Of a cost, below which a difference is none."""


def changes_of(
    request: Request, choice: RankedConfiguration | None, ranked: Sequence[RankedConfiguration]
) -> list[str]:
    """What would change the answer; nothing before there is one."""
    if choice is None:
        return []
    price = _if_cheaper(choice, ranked) if request.goal == "cost" else _if_within(request, ranked)
    interrupted = "" if request.spot is None else _if_interrupted(request.spot, choice)
    texts = price, _if_tighter(request, choice, ranked), _if_more_data(request, choice), interrupted
    return [text for text in texts if text]


def _if_cheaper(choice: RankedConfiguration, ranked: Sequence[RankedConfiguration]) -> str:
    """At which price of its type another one would cost as little."""
    return if_cheaper(
        choice, [one for one in ranked if one.chance_within is None or one.chance_within >= LIKELY], cost_of
    )


def if_cheaper(
    choice: RankedConfiguration,
    likely: Sequence[RankedConfiguration],
    amount_of: Callable[[RankedConfiguration], float],
) -> str:
    """At which price of its type the best of another type would cost as little; empty where there is no other.

    Args:
        likely: Those that are likely within the limit.
        amount_of: US dollars that are to be small.
    """
    amount = amount_of(choice)
    # What was run and costs less is not the choice because it was past the limit.
    others = [
        one
        for one in likely
        if one.configuration.instance_type != choice.configuration.instance_type
        and (one.basis == "predicted" or amount_of(one) >= amount)
    ]
    if not others:
        return ""
    other = min(others, key=amount_of)
    name, ratio = named(other.configuration), amount_of(other) / amount
    if abs(ratio - 1) < LEAST_SHARE:
        return f"{name} costs as little ({other.basis})."
    if ratio < 1:
        return f"{name} is believed to cost {share(1 - ratio)} less, but was not run."
    kind = other.configuration.instance_type
    return f"If {kind} were {share(1 - 1 / ratio)} cheaper, {name} would cost as little ({other.basis})."


def _if_within(request: Request, ranked: Sequence[RankedConfiguration]) -> str:
    """At which price of its type a faster one would be within the budget."""
    if request.budget_usd is None:
        return ""
    beyond = [one for one in ranked if one.is_on_front and cost_of(one) > request.budget_usd]
    if not beyond:
        return ""
    other = min(beyond, key=cost_of)
    cheaper = share(1 - request.budget_usd / cost_of(other))
    name, kind = named(other.configuration), other.configuration.instance_type
    return f"If {kind} were {cheaper} cheaper, {name} would be within the budget: {figures_of(other)} ({other.basis})."


def _if_tighter(request: Request, choice: RankedConfiguration, ranked: Sequence[RankedConfiguration]) -> str:
    """Which one follows if the limit is below what the choice comes to, or its data grows past the limit."""
    if request.goal == "cost":
        faster = [one for one in ranked if one.is_on_front and _time(one) < _time(choice)]
        following = max(faster, key=_time, default=None)
        limit, given, comes_to = f"a deadline below {format_duration(_time(choice))}", request.deadline_s, _time(choice)
    else:
        cheaper = [one for one in ranked if one.is_on_front and cost_of(one) < cost_of(choice)]
        following = min(cheaper, key=_time, default=None)
        limit, given, comes_to = f"a budget below {usd(cost_of(choice))}", request.budget_usd, cost_of(choice)
    if following is None:
        return ""
    data = "" if given is None else f", or with more than {given / comes_to:.2g} times the data if times grow with it"
    return f"With {limit}{data}, {named(following.configuration)} is next: {figures_of(following)} ({following.basis})."


def _if_more_data(request: Request, choice: RankedConfiguration) -> str:
    """What larger data does where there is no limit that it would reach."""
    if request.deadline_s is not None or request.budget_usd is not None:
        return ""
    node_gib = choice.configuration.memory_gib
    memory = "" if node_gib is None else f" ({node_gib * choice.configuration.nodes:g} GiB in all)"
    return (
        f"With more data the choice stays as long as all times grow with it, so while the job fits into its "
        f"memory{memory}; that was not measured."
    )


def _if_interrupted(spot: SpotSpec, choice: RankedConfiguration) -> str:
    """Up to how many interruptions spot prices pay, since those that are assumed are nobody's measurement."""
    node = choice.configuration
    on_demand, price = node.usd_per_node_hour_on_demand, node.usd_per_node_hour
    if on_demand is None or price is None or on_demand <= price:
        return ""
    most = break_even_per_hour(spot, node.nodes, choice.seconds, on_demand / price)
    return (
        f"On demand it would cost {usd(on_demand * node.nodes * choice.seconds / 3600)} a run; spot costs less as long "
        f"as a node is interrupted less than {most:.2g} times an hour ({spot.interruptions_per_hour:g} is assumed)."
    )


def _time(one: RankedConfiguration) -> float:
    """Seconds that a run takes on average."""
    return one.seconds if one.expected_s is None else one.expected_s
