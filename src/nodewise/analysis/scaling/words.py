"""What a forecast says in words."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal

from nodewise.analysis.scaling.measure_next import LEAST_COUNTS, WIDE
from nodewise.core.units import format_duration, format_ratio, format_usd
from nodewise.specs.forecast import ForecastPoint, LawFit, LawPart, NextRun

__all__ = ["SHARED", "START_UP", "limit", "next_reason", "notes", "on_nodes", "sentence"]

START_UP = "the cluster's start-up"
SHARED = "work that the nodes share"
"""The part of a law that more nodes shorten."""
WORTH_MORE_NODES = 1.05
"""More nodes are named only if they are so many times as fast."""


def sentence(
    points: Sequence[ForecastPoint], measured: Sequence[int], next_runs: Sequence[NextRun], *, is_other_data: bool
) -> str:
    """Choice, gain, price, interval, when another choice wins, and where knowledge ends; or what to measure first.

    Numbers of nodes whose expected time is not known well enough are no choice.
    """
    known = [point for point in points if not next_runs or point.expected_high_s <= WIDE * point.expected_low_s]
    if next_runs and (len(measured) < LEAST_COUNTS or len(known) < 2 or known[0] is not points[0]):
        return _measure_first(points[-1], next_runs, is_other_data)
    said = [_advice(known)]
    if is_other_data:
        said.append("Nothing was measured with that amount of data.")
    elif known[-1].nodes > measured[-1] or not next_runs:
        said.append(f"Beyond {on_nodes(measured[-1])} nothing was measured.")
    if next_runs:
        unknown = [str(point.nodes) for point in points if point not in known]
        said.append(f"Of {_joined(unknown)} nodes too little is known: {_runs(next_runs)} would tell.")
    return " ".join(said)


def _advice(points: Sequence[ForecastPoint]) -> str:
    """The fewest nodes that are nearly as fast as any."""
    base, fastest_s = points[0], min(point.seconds for point in points)
    choice = next(point for point in points if point.seconds <= WORTH_MORE_NODES * fastest_s)
    if len(points) == 1:
        return f"On {on_nodes(base.nodes)} the job {_takes(base)}."
    if choice is base:
        rest = f"none of up to {points[-1].nodes} is more than {100 * (WORTH_MORE_NODES - 1):.0f} % faster"
        return f"More nodes do not help: {on_nodes(base.nodes)} {_takes(base)}, and {rest}."
    gain = f"{format_ratio(choice.speedup)} as fast as {on_nodes(base.nodes)}"
    price = otherwise = ""
    if choice.cost_usd is not None and base.cost_usd:
        more = choice.cost_usd - base.cost_usd
        change = f"{_usd(abs(more))} {'more' if more > 0 else 'less'} per run"
        price = f" for {format_ratio(choice.cost_usd / base.cost_usd)} the cost ({change})"
        if more > 0:
            hour = _usd(3600 * more / (base.seconds - choice.seconds))
            otherwise = f" If an hour saved is not worth {hour} to you, stay on {on_nodes(base.nodes)}."
    return f"On {on_nodes(choice.nodes)} the job {_takes(choice)}: {gain}{price}.{otherwise}"


def limit(points: Sequence[ForecastPoint], parts: Sequence[LawPart]) -> str:
    """What most of the time of the last point goes to, by the law, and what that means; empty without a law."""
    if not parts:
        return ""
    total_s, most = sum(part.seconds for part in parts), parts[0]
    meaning = "more nodes still shorten that" if most.what == SHARED else "more nodes do not shorten that"
    share = f"{100 * most.seconds / total_s:.0f} %"
    where = on_nodes(points[-1].nodes)
    return f"By the law, {share} of the time on {where} is {most.what}: {meaning}."


def next_reason(points: Sequence[ForecastPoint], measured: Sequence[int]) -> str:
    """Why more has to be measured: too few counts, or which interval is too wide."""
    if len(measured) < LEAST_COUNTS:
        counts = "1 number of nodes was" if len(measured) == 1 else f"{len(measured)} numbers of nodes were"
        return f"{counts} measured; from {LEAST_COUNTS} on a law can be judged by one that it was not shown"
    widest = max(points, key=lambda point: point.expected_high_s / point.expected_low_s)
    low, high = format_duration(widest.expected_low_s), format_duration(widest.expected_high_s)
    return (
        f"the time to expect on {on_nodes(widest.nodes)} lies between {low} and {high}, and an interval is too wide "
        f"where its upper end is more than {WIDE:g} times the lower one"
    )


def notes(
    points: Sequence[ForecastPoint], law: LawFit | None, start_up_s: float, data_is_assumed: bool
) -> tuple[str, ...]:
    """What to know when reading the numbers, a sentence each."""
    found = []
    outside = [point for point in points if point.law_s is not None and not point.low_s <= point.law_s <= point.high_s]
    if law is not None and outside:
        worst = outside[-1]
        alone = f"{_upper(law.title)} alone gives {format_duration(worst.law_s or 0.0)} on {on_nodes(worst.nodes)}"
        found.append(f"{alone}, outside the interval: the runs speak for other laws nearly as much. Trust that.")
    if start_up_s > 0:
        found.append(
            f"Start-up ({format_duration(start_up_s)} in the median) is no part of the law: where nothing was measured "
            "it is taken to be that of all runs."
        )
    if data_is_assumed:
        found.append(
            "All runs had the same amount of data, so it is an assumption that the work which the nodes share grows "
            "with it and nothing else does; one run with other data would tell."
        )
    return tuple(found)


def on_nodes(count: int) -> str:
    """``8 nodes``."""
    return "1 node" if count == 1 else f"{count:,} nodes"


def _takes(point: ForecastPoint) -> str:
    low, high = format_duration(point.low_s), format_duration(point.high_s)
    verb = "took" if point.basis == "measured" else "is predicted to take"
    return f"{verb} {format_duration(point.seconds)} (90 % of runs: {low} to {high})"


def _measure_first(last: ForecastPoint, next_runs: Sequence[NextRun], is_other_data: bool) -> str:
    low, high = format_duration(last.low_s), format_duration(last.high_s)
    data = " with that amount of data" if is_other_data else ""
    return (
        f"Not enough is known to say: measure {_runs(next_runs)}{data}, and ask again. So far a run on "
        f"{on_nodes(last.nodes)} may take between {low} and {high} (90 %)."
    )


def _runs(next_runs: Sequence[NextRun]) -> str:
    """``2 more runs on 4 and 8 nodes (about 5m 00s and $0.20)``."""
    counts = sorted({run.nodes for run in next_runs})
    nodes = f"{_joined(list(map(str, counts)))} {'node' if counts == [1] else 'nodes'}"
    costs = [run.cost_usd for run in next_runs if run.cost_usd is not None]
    cost = f" and {_usd(sum(costs))}" if costs else ""
    runs = "1 more run" if len(next_runs) == 1 else f"{len(next_runs)} more runs"
    return f"{runs} on {nodes} (about {format_duration(sum(run.seconds for run in next_runs))}{cost})"


def _joined(words: Sequence[str]) -> str:
    """``2, 4 and 8``."""
    return " and ".join(filter(None, [", ".join(words[:-1]), words[-1]]))


def _usd(amount: float) -> str:
    return format_usd(Decimal(str(amount)))


def _upper(text: str) -> str:
    return text[0].upper() + text[1:]
