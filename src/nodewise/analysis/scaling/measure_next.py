"""Which runs would narrow the intervals most."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from nodewise.analysis.regression import Array
from nodewise.analysis.scaling.belief import ScalingBelief
from nodewise.analysis.scaling.clusters import clusters_alike

__all__ = ["LEAST_COUNTS", "MOST_RUNS", "WIDE", "candidate_counts", "plan_runs"]

WIDE = 1.5
"""An interval of the expected time whose upper end is more than this many times its lower end is too wide."""
LEAST_COUNTS = 3
"""With fewer numbers of nodes measured no law can be judged by what it was not shown."""
MOST_RUNS = 5


def candidate_counts(measured: Sequence[int], asked: Sequence[int]) -> list[int]:
    """Numbers of nodes to choose from: those measured, those asked for, and doublings of the fewest between them."""
    counts = {*measured, *asked}
    count, most = min(counts), max(counts)
    while count < most:
        counts.add(count)
        count *= 2
    return sorted(counts)


def plan_runs(
    belief: ScalingBelief, measured: Sequence[int], intervals: Mapping[int, tuple[float, float]], data: float
) -> list[int]:
    """The numbers of nodes to measure, each once more, until no interval is too wide; at most five.

    One run after another is chosen such that it narrows the widths that are too large by the most, as if the
    logarithms of all times were normally distributed: a run on ``m`` nodes leaves of the covariance ``C`` the part
    ``C - C[:, m] C[m, :] / (C[m, m] + noise)``. Of equally good ones the one with fewer nodes is taken. While fewer
    than three numbers of nodes are measured, new ones are chosen, as far as there are any.

    Args:
        measured: Numbers of nodes, at least one.
        intervals: Of the expected time, by the numbers of nodes for which it is to be narrow.
        data: For which; the runs are planned with it too.
    """
    counts = candidate_counts(measured, list(intervals))
    clusters = clusters_alike(np.array(counts, np.float64), np.full(len(counts), data))
    covariance, noise = belief.covariance(clusters)
    targets = [counts.index(count) for count in intervals]
    # Widths are of the real, skewed distributions; each shrinks as the normal one's deviation does.
    widths = np.log([high_s / low_s for low_s, high_s in intervals.values()])
    per_deviation = widths / np.sqrt(covariance.diagonal()[targets])
    known, chosen = set(measured), list[int]()
    while len(chosen) < MOST_RUNS:
        new = [index for index, count in enumerate(counts) if count not in known and len(known) < LEAST_COUNTS]
        if not new and _excess(_widths(covariance, targets, per_deviation)) <= 0:
            break
        choices = new or range(len(counts))
        after = {index: _after_run(covariance, index, noise) for index in choices}
        best = min(choices, key=lambda index: _merit(after[index], targets, per_deviation))
        covariance = after[best]
        chosen.append(counts[best])
        known.add(counts[best])
    return sorted(chosen)


def _merit(covariance: Array, targets: Sequence[int], per_deviation: Array) -> tuple[float, float]:
    """Small is good; rounded, so that of equally good runs the first, on fewer nodes, is found."""
    widths = _widths(covariance, targets, per_deviation)
    return round(_excess(widths), 6), round(float(widths.sum()), 6)


def _widths(covariance: Array, targets: Sequence[int], per_deviation: Array) -> Array:
    """Logarithms of upper over lower end."""
    # Rounding may leave a variance of nothing a little below it.
    return np.asarray(per_deviation * np.sqrt(np.maximum(covariance.diagonal()[list(targets)], 0)))


def _excess(widths: Array) -> float:
    """By how much the widths are too large, all together."""
    return float(np.maximum(widths - np.log(WIDE), 0).sum())


def _after_run(covariance: Array, index: int, noise: float) -> Array:
    column = covariance[:, index]
    return np.asarray(covariance - np.outer(column, column) / (column[index] + noise))
