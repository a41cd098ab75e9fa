"""CherryPick: a Gaussian process over the configurations, and the one with the highest expected improvement next."""

from __future__ import annotations

import warnings
from collections.abc import Sequence

import numpy as np

from nodewise.advice.methods import is_over
from nodewise.advice.space import Array, Observation, SearchSpace
from nodewise.core.normal import normal_cdf, normal_pdf

__all__ = ["CherryPick"]

STARTS = 3
LEAST_RUNS = 6
STOP_BELOW = 0.10
FAILED_COSTS = 2.0
"""A run that failed counts as one that took so many times as long as it did; the paper does not say."""


class CherryPick:
    """Bayesian optimisation as in Alipourfard et al., "CherryPick" (NSDI 2017).

    A Gaussian process with a Matern 5/2 kernel over the node's size, its memory per unit of size and the number of
    nodes, each scaled to [0, 1]; three quasi-random starts (a scrambled Sobol sequence); the configuration with the
    highest expected improvement of the cost next. It stops after at least six runs, once no improvement of 10 % or more
    is expected anywhere.
    """

    def __init__(self, space: SearchSpace, seed: int, max_runs: int | None) -> None:
        self._space, self._seed, self._max_runs = space, seed, max_runs or len(space)
        self._features = _features(space)
        self._starts = self._quasi_random()

    def propose(self, observed: Sequence[Observation]) -> int | None:
        if is_over(self._space, observed, self._max_runs):
            return None
        if len(observed) < len(self._starts):
            return self._starts[len(observed)]
        seen = [one.index for one in observed]
        costs = np.array([self._space.cost_usd(one) * (1.0 if one.is_ok else FAILED_COSTS) for one in observed])
        good = [cost for cost, one in zip(costs, observed, strict=True) if one.is_ok]
        best = min(good, default=float(costs.min()))
        mean, deviation = self._predict(seen, costs)
        z = (best - mean) / deviation
        improvement = (best - mean) * normal_cdf(z) + deviation * normal_pdf(z)
        improvement[seen] = -np.inf
        index = int(np.argmax(improvement))
        if good and len(observed) >= LEAST_RUNS and improvement[index] < STOP_BELOW * best:
            return None
        return index

    def _quasi_random(self) -> list[int]:
        from scipy.stats import qmc

        sampler = qmc.Sobol(self._features.shape[1], seed=self._seed)
        with warnings.catch_warnings():
            # That three points are no power of two.
            warnings.simplefilter("ignore")
            points = sampler.random(STARTS)
        starts: list[int] = []
        for point in points:
            distance = ((self._features - point) ** 2).sum(axis=1)
            distance[starts] = np.inf
            starts.append(int(np.argmin(distance)))
        return starts[: len(self._space)]

    def _predict(self, seen: list[int], costs: Array) -> tuple[Array, Array]:
        from sklearn.exceptions import ConvergenceWarning
        from sklearn.gaussian_process import GaussianProcessRegressor
        from sklearn.gaussian_process.kernels import ConstantKernel, Matern, WhiteKernel

        kernel = ConstantKernel(1.0, (1e-2, 1e2)) * Matern(
            np.ones(self._features.shape[1]), (0.05, 20.0), nu=2.5
        ) + WhiteKernel(1e-2, (1e-4, 1.0))
        process = GaussianProcessRegressor(kernel, normalize_y=True, random_state=self._seed)
        with warnings.catch_warnings():
            # With so few points a length often ends at its bound, and says nothing by it.
            warnings.simplefilter("ignore", ConvergenceWarning)
            process.fit(self._features[seen], costs)
        mean, deviation = process.predict(self._features, return_std=True)
        return mean, np.maximum(deviation, 1e-12)


def _features(space: SearchSpace) -> Array:
    """Shape (n, 3), or (n, 2) where memory is not known: each column in [0, 1]."""
    columns = [np.log2(space.nodes), np.log2(space.node_size)]
    if space.memory_gib is not None:
        columns.append(np.log2(space.memory_gib / space.node_size))
    return np.stack([(column - column.min()) / (np.ptp(column) or 1.0) for column in columns], axis=1)
