"""What runs on a few clusters allow to be believed of others: an average over all scaling laws.

A law chosen by its error says nothing of the laws it beat by little, and these part where nothing was measured; so all
of a family (:mod:`~nodewise.analysis.scaling.family`) is kept, each member with the weight that the runs give it
(Bayesian model averaging: Hoeting et al., Statistical Science 14, 1999). On top of the law, the logarithm of a time has

- a level, of which nothing is known before;
- for each family of node types, and each type, a speed of its own, and for each type a little more or less gain from
  nodes: normal, so that one type's runs tell of the others as far as these are alike;
- where the memory of clusters is known, a step: below a size that nobody knows before, the job is several times as
  slow, since what does not fit is read or computed again;
- noise, of a size that is not known before either. It has Student's t-distribution, with a longer tail towards slower
  runs, so that a run that was disturbed does not carry the others with it.

For a given law, step and noise this is a Gaussian process, whose answer is exact (Rasmussen and Williams, "Gaussian
Processes for Machine Learning", 2006, chapter 2). The t-distribution is a normal one whose variance differs by run;
these variances are found in a few rounds (Tipping and Lawrence, "Variational inference for Student-t models",
Neurocomputing 69, 2005). What is left is a weighted sum over laws, steps and noises.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray

from nodewise.analysis.regression import Array
from nodewise.analysis.scaling.clusters import Clusters
from nodewise.analysis.scaling.family import log_shape, prior_shapes
from nodewise.core.normal import mixture_quantile

__all__ = ["COVERAGE", "Band", "ScalingBelief"]

COVERAGE = 0.9
"""Probability that a time lies within its interval."""
NUM_KEPT = 1 << 10
"""Members that stand for all, each drawn as often as its weight says."""
LEVEL = 10.0
"""Deviation of the logarithm of a time: any is possible."""
FAMILY = TYPE = 0.2
TYPE_GAIN = 0.05
"""Deviations of the speed of a family and of a type of nodes, and of a type's own gain per e-fold of its nodes."""
NOISES = tuple(np.geomspace(0.02, 0.3, 7).tolist())
"""All equally likely."""
NOISE_DEGREES = 3.0
"""Degrees of freedom of the noise of a further run: of a hundred runs five are farther off than three deviations."""
SLOWER_DEGREES, FASTER_DEGREES = 2.0, 8.0
"""Of the noise of measured runs: what disturbs a run makes it slower, hardly ever faster."""
ONE_DEVIATION = 0.8413
"""Probability of being no more than one standard deviation above the mean."""
ROUNDS = 4
STEP = (1.0, 0.5)
"""Mean and deviation of how much slower a job is that is short of memory, as a logarithm."""
STEP_PER_DOUBLING = 0.12
"""Probability that the step lies within any doubling of memory."""
MOST_STEP = 0.9
"""Probability that there is one at all, over however many doublings."""
STEPS_PER_DOUBLING = 2
STEPS_BEYOND = 4
"""Doublings beyond the most memory that was measured in which the step may lie."""
LEAST_VARIANCE = 1e-12


@dataclass(frozen=True, slots=True, eq=False)
class Band:
    """Three times per cluster, each of shape (n,): the first and the last are the ends of an interval."""

    low_s: Array
    median_s: Array
    high_s: Array


class ScalingBelief:
    """The family after some runs."""

    def __init__(self, measured: Clusters, wall_s: Array) -> None:
        """Learn from at least one run.

        Args:
            measured: One row for each run; repeats are rows of their own.
            wall_s: Above 0, start-up excluded, shape (n,).
        """
        log_s = np.log(wall_s)
        self._measured = measured
        self._least_size = float(measured.size.min())
        self._middle = float(log_s.mean())
        shapes = prior_shapes()
        deviations = log_s - self._middle - log_shape(shapes, measured, self._least_size)  # (laws, n)
        fits, weights = _fit(measured, deviations)
        of_fit, laws = np.unravel_index(_resample(weights.ravel(), NUM_KEPT), weights.shape)
        self._shapes = shapes[laws]
        self._noises = np.array([fit.noise for fit in fits])[of_fit]
        # Which members have a step and a noise in common, and how each is drawn to the runs, shape (its members, n).
        self._members = [
            (fits[index], of_fit == index, fits[index].pulls(deviations[laws[of_fit == index]]))
            for index in np.unique(of_fit)
        ]

    @property
    def noise(self) -> float:
        """Share by which equal runs differ: two thirds of them by no more, as with a standard deviation."""
        return math.sqrt(self._noise_variance())

    def run_band(self, asked: Clusters, coverage: float = COVERAGE) -> Band:
        """Where one further run on each cluster ends up, with such a probability."""
        return self._band(asked, self._noises**2 / _precisions(), coverage)

    def expected_band(self, asked: Clusters) -> Band:
        """Where the median of many runs on each cluster ends up."""
        return self._band(asked, np.zeros(NUM_KEPT), COVERAGE)

    def covariance(self, asked: Clusters) -> tuple[Array, float]:
        """Of the logarithms of the median times, shape (n, n); and the variance that one run's noise adds."""
        means, within = self._given(asked)
        between = np.cov(means, rowvar=False, bias=True).reshape(len(asked.nodes), len(asked.nodes))
        shares = [is_in.mean() for _, is_in, _ in self._members]
        return np.asarray(between + np.tensordot(shares, within, axes=1)), self._noise_variance()

    def _noise_variance(self) -> float:
        from scipy.special import stdtrit

        # The variance itself would be made by the few runs that are disturbed most.
        return float((self._noises**2).mean() * stdtrit(NOISE_DEGREES, ONE_DEVIATION) ** 2)

    def _given(self, asked: Clusters) -> tuple[Array, Array]:
        """Means of all members, shape (members, n), and covariances by step and noise, shape (some, n, n)."""
        means = self._middle + log_shape(self._shapes, asked, self._least_size)
        within = []
        for fit, is_in, pulls in self._members:
            between = _covariance(asked, self._measured, fit.step, self._least_size)
            means[is_in] += STEP[0] * _is_short(asked, fit.step) + pulls @ between.T
            own = _covariance(asked, asked, fit.step, self._least_size)
            within.append(own - between @ fit.inverse @ between.T)
        return means, np.stack(within)

    def _band(self, asked: Clusters, noise_variances: Array, coverage: float) -> Band:
        means, within = self._given(asked)
        variances = np.empty_like(means)
        for (_, is_in, _), covariance in zip(self._members, within, strict=True):
            # Rounding may leave a variance of nothing a little below it.
            variances[is_in] = np.maximum(covariance.diagonal(), LEAST_VARIANCE)
        deviations = np.sqrt(variances + noise_variances[:, None])
        levels = (1 - coverage) / 2, 0.5, (1 + coverage) / 2
        return Band(*np.exp([mixture_quantile(means, deviations, level) for level in levels]))


@dataclass(frozen=True, slots=True, eq=False)
class _Fit:
    """A step and a noise, and the inverse of the covariance of the runs under them, shape (n, n)."""

    step: float | None
    noise: float
    offset: Array
    inverse: Array
    log_weight: float
    """Of the prior, less half the logarithm of the covariance's determinant."""

    def pulls(self, deviations: Array) -> Array:
        """The inverse times the runs' deviations from what was expected, shape (laws, n)."""
        return np.asarray((deviations - self.offset) @ self.inverse)


def _fit(measured: Clusters, deviations: Array) -> tuple[list[_Fit], Array]:
    """Every step and noise, and their weights with every law, shape (fits, laws), which sum to 1."""
    least_size = float(measured.size.min())
    settings = [
        (step, noise, chance, _covariance(measured, measured, step, least_size))
        for step, chance in _steps(measured)
        for noise in NOISES
    ]
    precisions = np.ones(len(measured.nodes))
    for _ in range(ROUNDS):
        fits = []
        for step, noise, chance, covariance in settings:
            inverse, log_determinant = _inverse(covariance + np.diag(noise**2 / precisions))
            offset = STEP[0] * _is_short(measured, step)
            fits.append(_Fit(step, noise, offset, inverse, math.log(chance) - log_determinant / 2))
        pulls = [fit.pulls(deviations) for fit in fits]
        logs = np.stack(
            [
                fit.log_weight - ((deviations - fit.offset) * pull).sum(axis=1) / 2
                for fit, pull in zip(fits, pulls, strict=True)
            ]
        )
        weights = np.exp(logs - logs.max())
        weights /= weights.sum()
        expected = [
            weight @ _noise(fit, pull, precisions) for fit, pull, weight in zip(fits, pulls, weights, strict=True)
        ]
        noise, square = np.sum(expected, axis=0)
        degrees = np.where(noise > 0, SLOWER_DEGREES, FASTER_DEGREES)
        precisions = (degrees + 1) / (degrees + square)
    return fits, weights


def _noise(fit: _Fit, pulls: Array, precisions: Array) -> Array:
    """Of each run's noise, over its deviation, the expected value and the expected square, shape (2, laws, n)."""
    variances = fit.noise**2 / precisions
    means = variances * pulls / fit.noise
    left = (variances - variances**2 * fit.inverse.diagonal()) / fit.noise**2
    return np.stack([means, means**2 + left])


def _covariance(one: Clusters, other: Clusters, step: float | None, least_size: float) -> Array:
    """Of the logarithms of times on clusters of one and of the other, noise left out."""
    same_type = one.node_type[:, None] == other.node_type[None, :]
    same_family = one.family[:, None] == other.family[None, :]
    gains = np.outer(np.log(one.size / least_size), np.log(other.size / least_size))
    short = np.outer(_is_short(one, step), _is_short(other, step))
    of_type = same_type * (TYPE**2 + TYPE_GAIN**2 * gains)
    return np.asarray(LEVEL**2 + FAMILY**2 * same_family + of_type + STEP[1] ** 2 * short)


def _steps(measured: Clusters) -> list[tuple[float | None, float]]:
    """Sizes of memory at which the step may lie, as log2 of GiB, each with its probability; None: nowhere."""
    memory = measured.doublings_of_memory
    if memory is None:
        return [(None, 1.0)]
    width = 1 / STEPS_PER_DOUBLING
    places = np.arange(memory.min() + width / 2, memory.max() + STEPS_BEYOND, width)
    chance = min(STEP_PER_DOUBLING * width, MOST_STEP / len(places))
    return [(None, 1 - chance * len(places)), *((float(place), chance) for place in places)]


def _is_short(clusters: Clusters, step: float | None) -> Array:
    """1 for clusters with less memory than that, else 0."""
    memory = clusters.doublings_of_memory
    return np.zeros_like(clusters.nodes) if step is None or memory is None else (memory < step).astype(np.float64)


def _inverse(covariance: Array) -> tuple[Array, float]:
    """The inverse, and the logarithm of the determinant."""
    lower = np.linalg.cholesky(covariance)
    half = np.linalg.inv(lower)
    return np.asarray(half.T @ half), 2 * float(np.log(lower.diagonal()).sum())


def _resample(weights: Array, count: int) -> NDArray[np.intp]:
    """Indices, each as often as its weight says, to the nearest whole number (systematic resampling)."""
    found = np.searchsorted(np.cumsum(weights), (np.arange(count) + 0.5) / count)
    return np.minimum(found, len(weights) - 1)


@cache
def _precisions() -> Array:
    """Inverse variances whose mixture makes a normal noise Student's, one for each member, shape (NUM_KEPT,)."""
    from scipy.special import chdtri

    # Multiples of the golden ratio cover each stretch of members, as they are ordered by their noise, evenly.
    shares = (0.5 + np.arange(NUM_KEPT) * 0.6180339887498949) % 1
    return np.asarray(chdtri(NOISE_DEGREES, shares), np.float64) / NOISE_DEGREES
