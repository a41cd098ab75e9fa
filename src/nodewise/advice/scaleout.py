"""Run times on more nodes, predicted from the smallest counts of every node type of a workload."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable

import numpy as np

from nodewise.advice.belief import Belief, Posterior
from nodewise.advice.space import Array, Observation, search_space
from nodewise.advice.traces import Workload
from nodewise.core.normal import normal_cdf
from nodewise.core.progress import Progress
from nodewise.specs.advice import ScaleOutResult, ScaleOutRow

__all__ = ["predict_scale_out", "quantiles"]

LOW, MIDDLE, HIGH = 0.05, 0.5, 0.95


def predict_scale_out(workloads: Iterable[Workload], train_smallest: int, progress: Progress) -> ScaleOutResult:
    """Learn each workload from the smallest node counts of its node types, and predict all larger ones.

    One belief holds all node types (:class:`~nodewise.advice.belief.Belief`), so that many small nodes of one type are
    judged by few large ones of another too. Runs that did not end well are neither learned from nor predicted.
    """
    chosen = list(workloads)
    progress.stage("predict", len(chosen))
    rows: list[ScaleOutRow] = []
    for workload in chosen:
        rows += _rows(workload, train_smallest)
        progress.advance(1, "workloads")
    progress.done()
    return ScaleOutResult(train_smallest=train_smallest, rows=tuple(rows))


def _rows(workload: Workload, train_smallest: int) -> list[ScaleOutRow]:
    space = search_space([one.configuration for one in workload.measured])
    by_type: dict[str, list[tuple[int, int]]] = defaultdict(list)
    for index, one in enumerate(workload.measured):
        if one.is_ok:
            by_type[one.configuration.instance_type].append((one.configuration.nodes, index))
    smallest, larger = [], []
    for counts in by_type.values():
        ordered = [index for _, index in sorted(counts)]
        smallest += ordered[:train_smallest]
        larger += ordered[train_smallest:]
    if not larger:
        return []
    observed = [Observation(index, workload.measured[index].runtime_s) for index in smallest]
    low, middle, high = np.exp(quantiles(Belief(space).after(observed), (LOW, MIDDLE, HIGH)))
    return [
        ScaleOutRow(
            workload=workload.workload,
            framework=workload.framework,
            dataset=workload.dataset,
            instance_type=workload.measured[index].configuration.instance_type,
            nodes=workload.measured[index].configuration.nodes,
            measured_s=workload.measured[index].runtime_s,
            predicted_s=float(middle[index]),
            low_s=float(low[index]),
            high_s=float(high[index]),
        )
        for index in larger
    ]


def quantiles(posterior: Posterior, shares: tuple[float, ...]) -> list[Array]:
    """The logarithm of the time that a run stays below with each probability, for every configuration, shape (n,).

    Of the mixture of all models, by bisection.
    """
    found = []
    for share in shares:
        low = (posterior.means - 8 * posterior.deviations).min(axis=0)
        high = (posterior.means + 8 * posterior.deviations).max(axis=0)
        for _ in range(50):
            middle = (low + high) / 2
            below = posterior.weights @ normal_cdf((middle - posterior.means) / posterior.deviations)
            low, high = np.where(below < share, middle, low), np.where(below < share, high, middle)
        found.append((low + high) / 2)
    return found
