"""How one scenario relates to another: ratios that are absent, never wrong, where they have no meaning."""

from __future__ import annotations

from nodewise.specs.results import ScenarioResult

__all__ = [
    "are_apart",
    "cost_per_1000",
    "cost_ratio",
    "efficiency",
    "overlap",
    "speedup",
    "speedup_range",
    "work_speedup",
]


def speedup(baseline: ScenarioResult, scenario: ScenarioResult) -> float | None:
    """The baseline's billed seconds over the scenario's: above 1 is faster. None if either took no time."""
    return _ratio(baseline.seconds, scenario.seconds)


def speedup_range(baseline: ScenarioResult, scenario: ScenarioResult) -> tuple[float, float] | None:
    """The lowest and the highest speedup that any two of their runs show; None unless both ran at least twice."""
    lowest = _ratio(baseline.seconds_min, scenario.seconds_max)
    highest = _ratio(baseline.seconds_max, scenario.seconds_min)
    if min(baseline.repeats, scenario.repeats) < 2 or lowest is None or highest is None:
        return None
    return lowest, highest


def work_speedup(baseline: ScenarioResult, scenario: ScenarioResult) -> float | None:
    """Speedup of the stages alone, without start-up and stop of the clusters."""
    return _ratio(sum(stage.seconds for stage in baseline.stages), sum(stage.seconds for stage in scenario.stages))


def efficiency(baseline: ScenarioResult, scenario: ScenarioResult) -> float | None:
    """Speedup per node, relative to the baseline's nodes: 1 is ideal."""
    ratio = speedup(baseline, scenario)
    return None if ratio is None else ratio * baseline.nodes / scenario.nodes


def cost_ratio(baseline: ScenarioResult, scenario: ScenarioResult) -> float | None:
    """The scenario's cost over the baseline's; None unless both are known and the baseline's is above 0."""
    if baseline.cost_usd is None or scenario.cost_usd is None or baseline.cost_usd <= 0:
        return None
    return scenario.cost_usd / baseline.cost_usd


def cost_per_1000(cost_usd: float | None, records: int) -> float | None:
    """US dollars per 1000 records; None where the cost is unknown or nothing went through."""
    return None if cost_usd is None or records <= 0 else cost_usd / records * 1000


def are_apart(one: ScenarioResult, other: ScenarioResult) -> bool:
    """Whether the ranges of their billed times lie so far apart that equal scenarios would hardly ever show it.

    With three runs each, ranges of equal scenarios do not even touch in one comparison of ten. So the gap has to be a
    part of both ranges together: 0.6 (12 / pairs - 1), where ``pairs`` is the product of the numbers of runs; from 12
    pairs on any gap will do. In simulation (times with a normal, a log-normal or Student's t-distribution) equal
    scenarios are then told apart in 2 to 7 % of comparisons, whatever their spread.
    """
    gap = max(other.seconds_min - one.seconds_max, one.seconds_min - other.seconds_max)
    spread = one.seconds_max - one.seconds_min + other.seconds_max - other.seconds_min
    return gap > max(0, 0.6 * (12 / (one.repeats * other.repeats) - 1)) * spread and gap > 0


def overlap(one: ScenarioResult, other: ScenarioResult) -> bool:
    """Whether the billed times of their runs overlap, ends included."""
    return one.seconds_min <= other.seconds_max and other.seconds_min <= one.seconds_max


def _ratio(numerator: float, denominator: float) -> float | None:
    return numerator / denominator if numerator > 0 and denominator > 0 else None
