"""The conclusion of a comparison in a few sentences, each number of which stands in, or follows from, its results."""

from __future__ import annotations

from decimal import Decimal

from nodewise.analysis import ratios
from nodewise.analysis.limits import LimitKind, find_limits
from nodewise.analysis.ratios import are_apart, overlap, speedup_range
from nodewise.core.units import format_duration, format_ratio, format_usd
from nodewise.specs.place import EmulationTier
from nodewise.specs.results import ComparisonResult, ScenarioResult

__all__ = ["ACCURACY_MATTERS", "write_verdict"]

SAME_WITHIN = 0.05
"""Single runs that differ by less than this are not told apart: nothing is known of their spread."""
ACCURACY_MATTERS = 0.02
"""Accuracies that differ by no more than this are not told apart: the weights differ from run to run."""
NEARLY_IDEAL = 0.9
"""Efficiency from which on nothing is said to have held a scenario back."""
NAMED_ALTERNATIVES = 5
"""The table has the others."""


def write_verdict(comparison: ComparisonResult, *, wanted_baseline: str | None = None) -> str:
    """Say in plain words which scenario won, at what cost, what limited it and whether more data would change that.

    Args:
        comparison: With all fields but ``verdict``.
        wanted_baseline: The baseline that was asked for, if it may be another than the one that is compared with.
    """
    if not comparison.scenarios:
        reasons = "; ".join(f"{name}: {reason}" for name, reason in comparison.left_out.items())
        return "No scenario could run here, so there is nothing to compare" + (f" ({reasons})." if reasons else ".")
    baseline = _baseline(comparison)
    others = [scenario for scenario in comparison.scenarios if scenario.name != baseline.name]
    sentences = []
    if wanted_baseline not in (None, baseline.name):
        sentences.append(f"{wanted_baseline}, the baseline asked for, was left out: {baseline.name} stands in for it.")
    match others:
        case []:
            sentences.append(_describe_only(baseline))
        case [other]:
            sentences.append(_compare_two(baseline, other, comparison))
        case _:
            sentences += _compare_many(comparison)
    if others:
        sentences.append(_explain(_subject(comparison), comparison))
        sentences.append(_accuracy(baseline, others))
    sentences.append(_emulation(comparison))
    return " ".join(filter(None, sentences))


def _baseline(comparison: ComparisonResult) -> ScenarioResult:
    return next(scenario for scenario in comparison.scenarios if scenario.name == comparison.baseline)


def _describe_only(scenario: ScenarioResult) -> str:
    cost = "no price is known for it" if scenario.cost_usd is None else f"the cost is {_usd(scenario.cost_usd)}"
    return (
        f"Only {scenario.name} ran, so there is nothing to compare it with: "
        f"it took {format_duration(scenario.seconds)} of billed time, and {cost}."
    )


def _compare_two(baseline: ScenarioResult, other: ScenarioResult, comparison: ComparisonResult) -> str:
    ratio = comparison.speedup.get(other.name)
    if ratio is None or not _differ(baseline, other):
        return f"No clear winner: {_tie(baseline, other)}{_cost_clause(baseline, other, comparison)}."
    times = _times(other, baseline)
    spread = _spread(baseline, other, slower=ratio < 1)
    if ratio >= 1:
        claim = f"{other.name} is {format_ratio(ratio)} as fast as {baseline.name}"
    else:
        claim = f"{other.name} is slower than {baseline.name}: it takes {format_ratio(1 / ratio)} as long"
    return f"{claim} ({times}; {spread}){_cost_clause(baseline, other, comparison)}{_hour_saved(baseline, other)}."


def _compare_many(comparison: ComparisonResult) -> list[str]:
    baseline = _baseline(comparison)
    fastest, runner_up, *_ = sorted(comparison.scenarios, key=lambda scenario: scenario.seconds)
    told = {baseline.name}
    if not _differ(fastest, runner_up):
        first = f"No clear winner: {_tie(fastest, runner_up)}"
    elif fastest.name == baseline.name:
        first = f"Fastest is the baseline {fastest.name} with {format_duration(fastest.seconds)} of billed time"
    else:
        told.add(fastest.name)
        ratio = format_ratio(comparison.speedup.get(fastest.name, 1.0))
        in_runs = f"; {_spread(baseline, fastest, slower=False)}" if fastest.repeats > 1 else ""
        first = f"Fastest is {fastest.name}, {ratio} as fast as the baseline {baseline.name}"
        first += f" ({_times(fastest, baseline)}{in_runs})"
        if fastest.name in comparison.cost_ratio:
            first += f", at {format_ratio(comparison.cost_ratio[fastest.name])} its cost"
    return [f"{first}; {_cheapest(comparison, fastest)}.", _more_nodes(comparison, told)]


def _more_nodes(comparison: ComparisonResult, told: set[str]) -> str:
    """What more nodes of the same kind did, scenario by scenario; ``told`` were compared with the baseline already."""
    partners = {scenario.name: _partner(scenario, comparison) for scenario in comparison.scenarios}
    pairs = [
        (partners[scenario.name], scenario)
        for scenario in comparison.scenarios
        if scenario.nodes > partners[scenario.name].nodes
        and not (scenario.name in told and partners[scenario.name].name == comparison.baseline)
    ]
    if not pairs:
        return ""
    faster = [one.seconds > many.seconds for one, many in pairs]
    verb = "were faster" if all(faster) else "were not always faster" if any(faster) else "were slower"
    words = [_in_few_words(one, many) for one, many in pairs[:NAMED_ALTERNATIVES]]
    if len(pairs) > NAMED_ALTERNATIVES:
        words.append(f"{len(pairs) - NAMED_ALTERNATIVES} more in the table")
    return f"More nodes {verb}: {'; '.join(words)}."


def _partner(scenario: ScenarioResult, comparison: ComparisonResult) -> ScenarioResult:
    """The scenario with the fewest nodes of the same kind, or the baseline where there is none with fewer."""
    alike = [
        other
        for other in comparison.scenarios
        if (other.engine, other.node_type, other.cores_per_node)
        == (scenario.engine, scenario.node_type, scenario.cores_per_node)
    ]
    fewest = min(alike, key=lambda other: other.nodes)
    return fewest if fewest.nodes < scenario.nodes else _baseline(comparison)


def _cheapest(comparison: ComparisonResult, fastest: ScenarioResult) -> str:
    priced = [scenario for scenario in comparison.scenarios if scenario.cost_usd is not None]
    if not priced:
        return "no price is known, so costs are not compared"
    cheapest = min(priced, key=lambda scenario: scenario.cost_usd or 0.0)
    known = "" if len(priced) == len(comparison.scenarios) else " of those with a known price"
    if cheapest.name == fastest.name:
        return f"it is the cheapest{known} too, with {_usd(cheapest.cost_usd)}"
    return f"cheapest{known} is {cheapest.name} with {_usd(cheapest.cost_usd)}"


def _in_few_words(one: ScenarioResult, many: ScenarioResult) -> str:
    ratio = ratios.speedup(one, many)
    if ratio is None:
        words = f"{many.name} {format_duration(many.seconds)}"
    elif ratio < 1:
        words = f"{many.name} took {format_ratio(1 / ratio)} as long as {one.name}"
    else:
        words = f"{many.name} was {format_ratio(ratio)} as fast as {one.name}"
    cost = ratios.cost_ratio(one, many)
    return words if cost is None else f"{words}, at {format_ratio(cost)} the cost"


def _differ(one: ScenarioResult, other: ScenarioResult) -> bool:
    if max(one.repeats, other.repeats) > 1:
        return are_apart(one, other)
    return abs(one.seconds - other.seconds) > SAME_WITHIN * max(one.seconds, other.seconds)


def _tie(one: ScenarioResult, other: ScenarioResult) -> str:
    if max(one.repeats, other.repeats) > 1:
        what = "overlap" if overlap(one, other) else "lie too close together for so few runs"
        return f"the billed times of {_with_range(one)} and {_with_range(other)} {what}"
    return (
        f"{one.name} took {format_duration(one.seconds)} and {other.name} {format_duration(other.seconds)} "
        f"of billed time, and one run each shows no spread"
    )


def _times(one: ScenarioResult, other: ScenarioResult) -> str:
    return f"{format_duration(one.seconds)} against {format_duration(other.seconds)} of billed time"


def _with_range(scenario: ScenarioResult) -> str:
    if scenario.repeats == 1:
        return f"{scenario.name} ({format_duration(scenario.seconds)})"
    return f"{scenario.name} ({format_duration(scenario.seconds_min)} to {format_duration(scenario.seconds_max)})"


def _spread(baseline: ScenarioResult, other: ScenarioResult, *, slower: bool, of_ratio: bool = True) -> str:
    if max(baseline.repeats, other.repeats) == 1:
        return "one run each, which shows no spread"
    same = baseline.repeats == other.repeats
    count = f"{other.repeats} runs each" if same else f"{other.repeats} against {baseline.repeats} runs"
    limits = speedup_range(baseline, other)
    if limits is None or not of_ratio:
        return count
    low, high = (1 / limits[1], 1 / limits[0]) if slower else limits
    return f"between {format_ratio(low)} and {format_ratio(high)} in {count}"


def _cost_clause(baseline: ScenarioResult, other: ScenarioResult, comparison: ComparisonResult) -> str:
    if baseline.cost_usd is None or other.cost_usd is None:
        return ", and without a known price for both the costs are not compared"
    amounts = f"{_usd(other.cost_usd)} against {_usd(baseline.cost_usd)}"
    ratio = comparison.cost_ratio.get(other.name)
    if ratio is None:
        return f", at a cost of {amounts}"
    if not _differ(baseline, other):
        return f"; {other.name} has {format_ratio(ratio)} the cost ({amounts})"
    return f", at {format_ratio(ratio)} the cost ({amounts})"


def _hour_saved(baseline: ScenarioResult, other: ScenarioResult) -> str:
    if baseline.cost_usd is None or other.cost_usd is None:
        return ""
    saved_s, extra_usd = baseline.seconds - other.seconds, other.cost_usd - baseline.cost_usd
    return f": {_usd(extra_usd / saved_s * 3600)} for each hour saved" if saved_s > 0 and extra_usd > 0 else ""


def _subject(comparison: ComparisonResult) -> ScenarioResult:
    """The scenario whose limits are worth a sentence: that with more nodes, or of equals the slowest."""
    scenarios = comparison.scenarios
    fewest = min(scenario.nodes for scenario in scenarios)
    fastest = min(scenarios, key=lambda scenario: scenario.seconds)
    if fastest.nodes > fewest:
        return fastest
    return max(scenarios, key=lambda scenario: (scenario.nodes, scenario.seconds))


def _explain(subject: ScenarioResult, comparison: ComparisonResult) -> str:
    """What limited the scenario, and what more data would do."""
    partner = _partner(subject, comparison)
    efficiency = ratios.efficiency(partner, subject) or 0.0
    limits = find_limits(subject, partner, machine_cores=comparison.machine_cores)[:2]
    clauses = []
    if subject.nodes > partner.nodes and efficiency >= NEARLY_IDEAL:
        clauses.append(f"scaling was nearly ideal: {subject.name} has an efficiency of {efficiency * 100:.0f} %")
    elif limits:
        clauses.append(f"what held {subject.name} back most: {', then '.join(limit.text for limit in limits)}")
    # More data makes more tasks, so nothing follows where there were too few.
    if not any(limit.kind is LimitKind.FEW_TASKS for limit in limits):
        clauses.append(_more_data(subject, partner))
    return " ".join(f"{clause[0].upper()}{clause[1:]}." for clause in clauses if clause)


def _more_data(subject: ScenarioResult, partner: ScenarioResult) -> str:
    """The estimate that start-up and stop stay as they are while the jobs' times grow with the data."""
    total, work = ratios.speedup(partner, subject), ratios.work_speedup(partner, subject)
    if subject.name == partner.name or total is None or work is None:
        return ""
    if abs(work - total) <= SAME_WITHIN * max(work, total):
        effect = "so more data alone would change little"
    elif total < 1 and work < 1:
        effect = "so more data alone would not make it the faster one"
    else:
        effect = "and with more data the total would approach that"
    only = "only " if work < total else ""
    speed = f"{only}{format_ratio(work)} as fast as those of {partner.name}"
    return f"without start-up the jobs of {subject.name} ran {speed}, {effect} (an estimate)"


def _accuracy(baseline: ScenarioResult, others: list[ScenarioResult]) -> str:
    reference = baseline.accuracy
    if reference is None:
        return ""
    different = [
        f"{scenario.name} {scenario.accuracy * 100:.1f} %"
        for scenario in others
        if scenario.accuracy is not None and abs(scenario.accuracy - reference) > ACCURACY_MATTERS
    ]
    return (
        f"Accuracy differs: {', '.join(different)} against {reference * 100:.1f} % for {baseline.name}."
        if different
        else ""
    )


def _emulation(comparison: ComparisonResult) -> str:
    emulated = [scenario for scenario in comparison.scenarios if scenario.emulated]
    if not emulated:
        return ""
    everything = len(emulated) == len(comparison.scenarios)
    whose = "The nodes" if everything else f"The nodes of {_listed([scenario.name for scenario in emulated])}"
    cores = f"{comparison.machine_cores} core" + ("" if comparison.machine_cores == 1 else "s")
    single = len(comparison.scenarios) > 2 and all(scenario.repeats == 1 for scenario in comparison.scenarios)
    sentence = "One run each shows no spread. " if single else ""
    sentence += f"{whose} were emulated on this machine ({cores}){_isolation(emulated)}"
    if all(scenario.cost_usd is None for scenario in emulated):
        return f"{sentence}."
    types = sorted(
        {scenario.node_type for scenario in emulated if scenario.node_type and scenario.cost_usd is not None}
    )
    what = "cost" if everything else "their cost"
    return f"{sentence}; {what} is what {_listed(types) or 'such nodes'} would cost at this speed, not a bill."


def _isolation(emulated: list[ScenarioResult]) -> str:
    """How far the nodes were kept apart, where that is known of all of them."""
    tiers = {scenario.emulation_tier for scenario in emulated}
    if EmulationTier.PROCESSES in tiers:
        return ", not isolated: nothing held them to their share"
    return ", each held to its share" if tiers and None not in tiers else ""


def _listed(names: list[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}" if names else ""


def _usd(amount: float | None) -> str:
    return format_usd(None if amount is None else Decimal(str(amount)))
