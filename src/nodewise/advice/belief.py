"""What is believed of a job's run time on every configuration of a space, before any run and after some.

One Gaussian process over the logarithm of the run time for all node types and counts together, not one curve for each:
linear effects of what is known to matter (:mod:`~nodewise.advice.knowledge`) with a normal prior over jobs, plus what
families and types of nodes have of their own, plus a smooth rest (Rasmussen and Williams, "Gaussian Processes for
Machine Learning", chapters 2 and 2.7 on explicit basis functions). A job whose working set does not fit into the
cluster's memory is much slower, at a size that nobody knows before: so there is one process for each of several sizes,
weighed by how likely each makes the runs that were observed (Bayesian model averaging, Hoeting et al. 1999).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nodewise.advice.knowledge import GENERAL, Knowledge
from nodewise.advice.space import Array, Observation, SearchSpace, family_of

__all__ = ["Belief", "Posterior"]

_ANY_LEVEL = 20.0
"""Deviation of the level of a job's times, as a logarithm: nothing is known of it before a run."""
_LEVEL = 6.0
_MOST_NEEDS = 12
"""Memory sizes that a job may need, spread evenly over those of the space."""
_FAILED_TIMES = 2.0
_FAILED_DEVIATION = 0.5
"""A run that failed counts as one of twice the time that it took until then, give or take."""


@dataclass(frozen=True, slots=True, eq=False)
class Posterior:
    """Normal distributions of ln(run time in seconds): k models of n configurations.

    Attributes:
        weights: Probability of each model, shape (k,).
        means, deviations: Shape (k, n); of a run to come, its noise included.
    """

    weights: Array
    means: Array
    deviations: Array


class Belief:
    """What is believed of one job.

    Args:
        knowledge: Of jobs in general.
    """

    def __init__(self, space: SearchSpace, knowledge: Knowledge = GENERAL) -> None:
        self._noise = knowledge.noise**2
        features = _Features(space)
        common = _ANY_LEVEL**2 + features.common_covariance(knowledge)
        self._models = []
        for need, probability in features.needs(knowledge):
            effects, means, deviations = features.effects(knowledge, need)
            scaled = effects * deviations
            self._models.append((math.log(probability), _LEVEL + effects @ means, common + scaled @ scaled.T))

    def after(self, observed: Sequence[Observation]) -> Posterior:
        """What is believed once these runs are known."""
        seen = [one.index for one in observed]
        times = np.log([one.runtime_s * (1.0 if one.is_ok else _FAILED_TIMES) for one in observed])
        noise = self._noise + np.array([0.0 if one.is_ok else _FAILED_DEVIATION**2 for one in observed])
        weights, means, deviations = [], [], []
        for log_prior, mean, covariance in self._models:
            if not seen:
                found = log_prior, mean, np.diag(covariance)
            else:
                found = _condition(log_prior, mean, covariance, seen, times, noise)
            weights.append(found[0])
            means.append(found[1])
            deviations.append(np.sqrt(np.maximum(found[2], 0.0) + self._noise))
        scaled = np.exp(np.array(weights) - max(weights))
        return Posterior(scaled / scaled.sum(), np.array(means), np.array(deviations))

    def log_evidence(self, observed: Sequence[Observation]) -> float:
        """Logarithm of the density of these runs, which must all have ended well."""
        seen = [one.index for one in observed]
        times = np.log([one.runtime_s for one in observed])
        noise = np.full(len(seen), self._noise)
        found = [_condition(*model, seen, times, noise)[0] for model in self._models]
        return float(np.logaddexp.reduce(found))


class _Features:
    """Columns of shape (n,); sizes are in doublings, from the mean of the space."""

    def __init__(self, space: SearchSpace) -> None:
        node = np.log2(space.node_size)
        cluster = node + np.log2(space.nodes)
        price = np.zeros_like(node)
        if space.usd_per_hour is not None:
            price = np.log2(space.usd_per_hour / space.nodes) - node
        self._cluster, self._node, self._price = (_centred(column) for column in (cluster, node, price))
        self._total_memory: Array | None = None
        self._memory = np.zeros(len(space))
        if space.memory_gib is not None:
            self._total_memory = np.log2(space.memory_gib * space.nodes)
            self._memory = _centred(np.log2(space.memory_gib) - node)
        types = [one.instance_type for one in space.configurations]
        self._types, self._families = np.array(types), np.array([family_of(name) for name in types])

    def needs(self, knowledge: Knowledge) -> list[tuple[float | None, float]]:
        """Memory that the job may need, as log2 of GiB, each with its probability; None: no more than there is."""
        if self._total_memory is None or np.ptp(self._total_memory) == 0:
            return [(None, 1.0)]
        sizes = np.unique(self._total_memory.round(2))
        between = (sizes[1:] + sizes[:-1]) / 2
        sizes = np.unique(np.quantile(between, np.linspace(0, 1, _MOST_NEEDS), method="nearest"))
        share = knowledge.short_of_memory / len(sizes)
        return [(None, 1 - knowledge.short_of_memory), *((float(size), share) for size in sizes)]

    def effects(self, knowledge: Knowledge, need: float | None) -> tuple[Array, Array, Array]:
        """The columns, shape (n, 7), and the mean and the deviation of their coefficients, shape (7,)."""
        short = np.zeros_like(self._cluster)
        if need is not None and self._total_memory is not None:
            short = np.maximum(0.0, need - self._total_memory)
        size = self._cluster
        columns = [size, size**2 / 4, self._node, self._memory, self._price, np.sign(short), short]
        k = knowledge
        priors = [k.cores, k.curvature, k.node_size, k.memory, k.price, k.shortage, k.deeper_shortage]
        means, deviations = (np.array([getattr(prior, name) for prior in priors]) for name in ("mean", "deviation"))
        return np.stack(columns, axis=1), means, deviations

    def common_covariance(self, knowledge: Knowledge) -> Array:
        """Of families, of types, and of the smooth rest; shape (n, n)."""
        distance = (_differences(self._cluster) / knowledge.smooth_cluster) ** 2
        distance += (_differences(self._node) / knowledge.smooth_node) ** 2
        return np.asarray(
            knowledge.family**2 * _same(self._families)
            + knowledge.instance_type**2 * _same(self._types)
            + knowledge.smooth**2 * np.exp(-distance / 2)
        )


def _condition(
    log_prior: float, mean: Array, covariance: Array, seen: list[int], times: Array, noise: Array
) -> tuple[float, Array, Array]:
    """ln(prior x density of the observations), and mean and variance of all configurations given them."""
    lower = np.linalg.cholesky(covariance[np.ix_(seen, seen)] + np.diag(noise))
    residual = np.linalg.solve(lower, times - mean[seen])
    between = np.linalg.solve(lower, covariance[seen])
    density = -0.5 * residual @ residual - np.log(np.diag(lower)).sum() - 0.5 * len(seen) * math.log(2 * math.pi)
    return log_prior + density, mean + between.T @ residual, np.diag(covariance) - (between**2).sum(axis=0)


def _centred(column: Array) -> Array:
    return np.asarray(column - column.mean())


def _differences(column: Array) -> Array:
    return np.asarray(column[:, None] - column[None, :])


def _same(names: NDArray[np.str_]) -> Array:
    return np.asarray(names[:, None] == names[None, :], np.float64)
