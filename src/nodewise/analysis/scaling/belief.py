"""What runs on a few numbers of nodes allow to be believed of others: an average over all scaling laws.

One family holds Amdahl's law, Gustafson's, the Universal Scalability Law and Ernest's:

    t(n, s) = T ((1 - serial) s / x + serial + tree log x + per_node (x - 1)),    x = n / fewest measured nodes

``T`` is the time on the fewest nodes, ``s`` the data relative to the least. A law chosen by its error says nothing of
the laws it beat by little, and these part where nothing was measured; so all of the family is kept, each member with
the weight that the runs give it (Bayesian model averaging: Hoeting et al., Statistical Science 14, 1999).

Prior: ``serial`` is u**2 with u uniform in [0, 1), so small values are likelier. ``tree`` and ``per_node`` are each 0
with a probability of one half, else equally likely in every decade of a range. ``log T`` is flat. Runs scatter by a
log-normal noise whose variance has an inverse gamma prior. The last two are integrated out exactly: for given
``serial``, ``tree`` and ``per_node`` the logarithm of a time has Student's t-distribution (Gelman et al., "Bayesian
Data Analysis", section 3.2). The rest is a weighted sum over points that cover the prior evenly and are always the same
(Roberts, "The unreasonable effectiveness of quasirandom sequences", 2018), so equal runs give equal answers.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np

from nodewise.analysis.regression import Array

__all__ = ["Band", "ScalingBelief"]

NUM_POINTS = 1 << 15
NUM_KEPT = 1 << 11
"""Points that stand for all, each drawn as often as its weight says."""
TREE = (0.005, 0.5)
PER_NODE = (0.0005, 0.2)
"""Ranges as shares of ``T``, where they are not 0."""
NOISE_SHAPE = 1.5
NOISE = 0.1
"""Prior of the noise's variance: inverse gamma of this shape, and ``NOISE_SHAPE * NOISE**2`` as its scale."""
LEVELS = (0.05, 0.5, 0.95)
NUM_QUANTILES = 41
"""Values that stand for a t-distribution, of equal probability."""


@dataclass(frozen=True, slots=True, eq=False)
class Band:
    """Three times per point, each of shape (n,): 90 % of the probability lies between the first and the last."""

    low_s: Array
    median_s: Array
    high_s: Array


class ScalingBelief:
    """The family after some runs."""

    def __init__(self, nodes: Array, data: Array, wall_s: Array) -> None:
        """Learn from at least one run.

        Args:
            nodes: Of each run, shape (n,), at least 1; repeats are rows of their own.
            data: Relative to the least, shape (n,).
            wall_s: Above 0, start-up excluded, shape (n,).
        """
        self._fewest = float(nodes.min())
        shapes = _prior_shapes()
        deviations = np.log(wall_s) - _log_shape(shapes, nodes / self._fewest, data)  # (points, n)
        centres = deviations.mean(axis=1)
        self._num_runs = len(wall_s)
        self._noise_shape = NOISE_SHAPE + (self._num_runs - 1) / 2
        scales = NOISE_SHAPE * NOISE**2 + ((deviations - centres[:, None]) ** 2).sum(axis=1) / 2
        weights = (scales / scales.min()) ** -self._noise_shape
        kept = _resample(weights / weights.sum(), NUM_KEPT)
        self._shapes = shapes[kept]
        self._centres = centres[kept]
        self._variances = scales[kept] / self._noise_shape
        """Of the noise, in the t-distribution of each member."""

    @property
    def noise(self) -> float:
        """Standard deviation of the logarithm of equal runs: about the share by which they differ."""
        return float(np.sqrt(self._mean_variance()))

    def run_band(self, nodes: Array, data: Array) -> Band:
        """Where one further run on each number of nodes ends up."""
        return self._band(nodes, data, 1 + 1 / self._num_runs)

    def expected_band(self, nodes: Array, data: Array) -> Band:
        """Where the median of many runs on each number of nodes ends up."""
        return self._band(nodes, data, 1 / self._num_runs)

    def covariance(self, nodes: Array, data: Array) -> tuple[Array, float]:
        """Of the logarithms of the median times, shape (n, n); and the variance that one run's noise adds."""
        log_times = self._log_times(nodes, data)
        between = np.cov(log_times, rowvar=False, bias=True).reshape(len(nodes), len(nodes))
        noise = self._mean_variance()
        return np.asarray(between + noise / self._num_runs), noise

    def _mean_variance(self) -> float:
        # Of the inverse gamma distribution, whose shape is above 1 from the prior on.
        return float(self._variances.mean() * self._noise_shape / (self._noise_shape - 1))

    def _log_times(self, nodes: Array, data: Array) -> Array:
        """The centre of each member's t-distribution, shape (members, n)."""
        return np.asarray(self._centres[:, None] + _log_shape(self._shapes, nodes / self._fewest, data))

    def _band(self, nodes: Array, data: Array, variances: float) -> Band:
        centres = self._log_times(nodes, data)
        deviations = np.sqrt(self._variances * variances)
        offsets = (deviations[:, None] * _t_quantiles(2 * self._noise_shape)).ravel()
        found = np.empty((len(LEVELS), len(nodes)))
        for column in range(len(nodes)):
            found[:, column] = np.quantile(np.repeat(centres[:, column], NUM_QUANTILES) + offsets, LEVELS)
        low, median, high = np.exp(found)
        return Band(low, median, high)


def _log_shape(shapes: Array, x: Array, data: Array) -> Array:
    """The logarithm of t / T for each member and run, shape (members, n)."""
    serial, tree, per_node = (column[:, None] for column in shapes.T)
    # On fewer nodes than any run had there is less to combine and to hand out, but never less than nothing.
    rest = np.maximum(serial + tree * np.log(x) + per_node * (x - 1), 0)
    return np.asarray(np.log((1 - serial) * data / x + rest))


@cache
def _prior_shapes() -> Array:
    """``serial``, ``tree`` and ``per_node`` of each point, shape (points, 3)."""
    # The only real root of g**4 = g + 1: in three dimensions the powers of 1 / g fill the cube most evenly.
    ratio = 1.22074408460575947536
    steps = ratio ** -np.arange(1.0, 4.0)
    u = (0.5 + np.arange(1, NUM_POINTS + 1)[:, None] * steps) % 1
    return np.stack([u[:, 0] ** 2, _spike_or_slab(u[:, 1], TREE), _spike_or_slab(u[:, 2], PER_NODE)], axis=1)


def _spike_or_slab(u: Array, between: Sequence[float]) -> Array:
    """0 for the lower half of ``u``, then from the lower to the upper end in equal ratios."""
    lowest, highest = between
    return np.where(u < 0.5, 0.0, lowest * (highest / lowest) ** (2 * u - 1))


def _resample(weights: Array, count: int) -> Array:
    """Indices, each as often as its weight says, to the nearest whole number (systematic resampling)."""
    ends = np.cumsum(weights)
    found = np.searchsorted(ends, (np.arange(count) + 0.5) / count)
    return np.minimum(found, len(weights) - 1)


@cache
def _t_quantiles(degrees: float) -> Array:
    from scipy.special import stdtrit

    return np.asarray(stdtrit(degrees, (np.arange(NUM_QUANTILES) + 0.5) / NUM_QUANTILES), np.float64)
