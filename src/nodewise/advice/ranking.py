"""Every configuration with what is known or believed of it, the best first."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from statistics import median

import numpy as np

from nodewise.advice.belief import Posterior
from nodewise.advice.interruptions import Interruptions
from nodewise.advice.objective import Objective
from nodewise.advice.quantiles import HIGH, LOW, MIDDLE, quantiles
from nodewise.advice.space import Array, Observation, SearchSpace, family_of
from nodewise.advice.streaming import StreamQueues
from nodewise.specs.advice import RankedConfiguration

__all__ = ["LIKELY", "rank"]

LIKELY = 0.5
"""Chance to keep to the limit below which a configuration stands behind all others."""


def rank(
    space: SearchSpace,
    objective: Objective,
    posterior: Posterior,
    observed: Sequence[Observation],
    *,
    interruptions: Interruptions | None = None,
    queues: StreamQueues | None = None,
) -> list[RankedConfiguration]:
    """All configurations by what they are believed to come to; those that hardly keep to the limit last.

    Of two that come to the same the faster is first.
    """
    low, middle, high = (np.exp(found) for found in quantiles(posterior, (LOW, MIDDLE, HIGH)))
    well: dict[int, list[float]] = defaultdict(list)
    for one in observed:
        if one.is_ok:
            well[one.index].append(one.runtime_s)
    for index, seconds in well.items():
        middle[index] = median(seconds)
        low[index], high[index] = min(low[index], middle[index]), max(high[index], middle[index])
    is_limited = bool(np.isfinite(objective.most_log_s).any())
    chance = objective.chance_within(posterior)
    billed = [middle, low, high]
    if interruptions is not None:
        billed = [np.exp(interruptions.log_expected(np.log(bound))) for bound in billed]
    rates = None if space.usd_per_hour is None else space.rates
    front = _front(billed[0], None if rates is None else rates if queues else rates * billed[0])
    order = np.lexsort((middle, objective.log_value(np.log(middle)), chance < LIKELY))
    does = queues.figures(middle) if queues else None
    ranked = []
    for index in map(int, order):
        usd = [None if rates is None else float(bound[index] * rates[index]) for bound in billed]
        ranked.append(
            RankedConfiguration(
                configuration=space.configurations[index],
                basis="measured" if index in well else "predicted",
                runs=len(well.get(index, ())),
                seconds=float(middle[index]),
                seconds_low=float(low[index]),
                seconds_high=float(high[index]),
                expected_s=float(billed[0][index]) if interruptions else None,
                cost_usd=usd[0],
                cost_usd_low=usd[1],
                cost_usd_high=usd[2],
                chance_within=float(chance[index]) if is_limited else None,
                is_on_front=front[index],
                stream=does[index] if does else None,
                why=_why(space, index, well, observed),
            )
        )
    return ranked


def _front(seconds: Array, dollars: Array | None) -> list[bool]:
    """Whether no other configuration is as fast and as cheap, and one of the two more so."""
    if dollars is None:
        return [bool(one == seconds.min()) for one in seconds]
    found = []
    for time, cost in zip(seconds, dollars, strict=True):
        as_good = (seconds <= time) & (dollars <= cost)
        found.append(not bool((as_good & ((seconds < time) | (dollars < cost))).any()))
    return found


def _why(space: SearchSpace, index: int, well: dict[int, list[float]], observed: Sequence[Observation]) -> str:
    if index in well:
        runs = len(well[index])
        return f"{runs} run{'s' * (runs > 1)}"
    name = space.configurations[index].instance_type
    types = [space.configurations[one].instance_type for one in well]
    failed = any(one.index == index for one in observed)
    if failed:
        return "a run on it failed"
    if name in types:
        same = types.count(name)
        return f"{same} run{'s' * (same > 1)} on other counts of this type"
    if family_of(name) in map(family_of, types):
        return "runs on types of this family"
    return "runs on other types" if types else "nothing was run yet"
