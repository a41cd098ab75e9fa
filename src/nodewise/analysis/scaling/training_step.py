"""The time of a step of data-parallel training on other numbers of GPUs, and on other numbers of nodes.

Every GPU computes on its part of the batch, and then all exchange gradients. A ring moves 2 (k - 1) / k of their bytes
over each link (Patarasuk and Yuan, "Bandwidth optimal all-reduce algorithms", 2009); between nodes links are slower
than within one, so each has a bandwidth of its own, as in Pollux (Qiao et al., OSDI 2021). With k GPUs on n nodes, and
a batch for each GPU that stays the same, that is one of

    t = compute + stragglers log2 k + between (k - 1) / k
    t = compute + (within or between) (k - 1) / k + sharing (k / n - 1) / n**2

where ``within`` is of one node, ``between`` and ``sharing`` of several: the slowest GPU holds up the others, or the
GPUs of a node share its link, most where two nodes exchange everything over it. All coefficients are seconds, none
below 0. Which of the two it is cannot be told from a few GPUs, so both are fitted, and what is predicted is the mean of
their logarithms (Bates and Granger, "The combination of forecasts", 1969). How far they part is part of the interval.
"""

from __future__ import annotations

import numpy as np

from nodewise.analysis.regression import Array
from nodewise.analysis.scaling.belief import COVERAGE, Band

__all__ = ["predict_steps"]

NOISE_SHAPE = 1.5
NOISE = 0.1
"""What is believed of the noise before: inverse gamma of this shape, and ``NOISE_SHAPE * NOISE**2`` as its scale."""


def predict_steps(
    nodes: Array, gpus: Array, step_s: Array, asked_nodes: Array, asked_gpus: Array, coverage: float = COVERAGE
) -> Band:
    """Fit the steps that were measured, and say where others lie; relative deviations are made small.

    Where all were measured within a node, links between nodes are taken to be as fast, and the other way round.

    Args:
        nodes, gpus, step_s: Of each measured step, shape (m,), at least one; times above 0.
        asked_nodes, asked_gpus: Shape (n,).
        coverage: Probability that one further step lies within the band.
    """
    from scipy.optimize import nnls
    from scipy.special import stdtrit

    if nodes.max() == 1:
        asked_nodes = np.ones_like(asked_nodes)
    elif nodes.min() > 1:
        asked_nodes = np.maximum(asked_nodes, 2)
    logs, squares, spare = [], [], []
    for columns in (_with_stragglers, _with_sharing):
        design = columns(nodes, gpus)
        coefficients, _ = nnls(design / step_s[:, None], np.ones_like(step_s))
        squares.append(float(np.sum(np.log(design @ coefficients / step_s) ** 2)))
        spare.append(len(step_s) - np.count_nonzero(coefficients))
        logs.append(np.log(columns(asked_nodes, asked_gpus) @ coefficients))
    # Student's t-distribution, as where the variance has an inverse gamma prior (Gelman et al., "Bayesian Data
    # Analysis", 3.2), with what the models differ by on top.
    shape = NOISE_SHAPE + float(np.mean(spare)) / 2
    variance = (NOISE_SHAPE * NOISE**2 + float(np.mean(squares)) / 2) / shape
    middle = np.mean(logs, axis=0)
    reach = stdtrit(2 * shape, (1 + coverage) / 2) * np.sqrt(variance + np.var(logs, axis=0, ddof=1))
    return Band(np.exp(middle - reach), np.exp(middle), np.exp(middle + reach))


def _with_stragglers(nodes: Array, gpus: Array) -> Array:
    return np.stack([np.ones_like(gpus), np.log2(gpus), (nodes > 1) * _ring(gpus)], axis=1)


def _with_sharing(nodes: Array, gpus: Array) -> Array:
    several = nodes > 1
    sharing = several * (gpus / nodes - 1) / nodes**2
    return np.stack([np.ones_like(gpus), ~several * _ring(gpus), several * _ring(gpus), sharing], axis=1)


def _ring(gpus: Array) -> Array:
    """The share of the gradients that each link carries, once there and once back."""
    return (gpus - 1) / gpus
