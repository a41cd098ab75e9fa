"""What is believed of a job's run time on every configuration of a space, before any run and after some.

One Gaussian process over the logarithm of the run time for all node types and counts together, not one curve for each:
linear effects of what is known to matter (:mod:`~nodewise.advice.knowledge`) with a normal prior over jobs, plus what
families and types of nodes have of their own, plus a smooth rest (Rasmussen and Williams, "Gaussian Processes for
Machine Learning", chapters 2 and 2.7 on explicit basis functions). A job whose working set does not fit into the
cluster's memory is much slower, at a size that nobody knows before: so there is one process for each of several sizes,
weighed by how likely each makes the runs that were observed (Bayesian model averaging, Hoeting et al. 1999). A job of
the same application on other data, where there is one, is one more such hypothesis: that this job is like that one.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from nodewise.advice.knowledge import GENERAL, Knowledge
from nodewise.advice.space import Array, Observation, SearchSpace, family_of
from nodewise.core.normal import normal_cdf, normal_pdf

__all__ = ["Belief", "Posterior"]

_MOST_NEEDS = 12
"""Memory sizes that a job may need, spread evenly over those of the space."""
_LEAST_CHANCE = 1e-6
"""Of a run that took as long as it did until it failed; the tails of distributions beyond are not computed."""


@dataclass(frozen=True, slots=True, eq=False)
class Posterior:
    """Normal distributions of ln(run time in seconds): k models of n configurations.

    Attributes:
        weights: Probability of each model, shape (k,).
        means, deviations: Shape (k, n); of a run to come, its noise included.
        lacks_memory: Probability that the memory of a configuration is too small for the job, shape (n,).
    """

    weights: Array
    means: Array
    deviations: Array
    lacks_memory: Array


class Belief:
    """What is believed of one job.

    Args:
        knowledge: Of jobs in general.
        similar: Runs of jobs that are thought to be like this one, on the same space; those of each job.
    """

    def __init__(
        self, space: SearchSpace, knowledge: Knowledge = GENERAL, similar: Sequence[Sequence[Observation]] = ()
    ) -> None:
        self._knowledge, self._noise = knowledge, knowledge.noise**2
        features = _Features(space)
        level = knowledge.level
        common = level.deviation**2 + features.common_covariance(knowledge)
        general = []
        for need, probability in features.needs(knowledge):
            effects, means, deviations = features.effects(knowledge, need)
            scaled = effects * deviations
            general.append(
                _Model(
                    math.log(probability),
                    level.mean + effects @ means,
                    common + scaled @ scaled.T,
                    is_short=features.is_short(need),
                )
            )
        self._models = general
        if similar:
            alike = [self._like(runs) for runs in similar]
            chance = knowledge.is_like_similar
            self._models = [*_weighted(general, 1 - chance), *_weighted(alike, chance / len(alike))]

    def after(self, observed: Sequence[Observation]) -> Posterior:
        """What is believed once these runs are known."""
        models = [self._given(model, observed) for model in self._models]
        weights = np.array([model.log_weight for model in models])
        scaled = np.exp(weights - weights.max())
        variances = np.array([np.diag(model.covariance) for model in models])
        shares = scaled / scaled.sum()
        return Posterior(
            weights=shares,
            means=np.array([model.mean for model in models]),
            deviations=np.sqrt(np.maximum(variances, 0.0) + self._noise),
            lacks_memory=shares @ [model.is_short for model in models],
        )

    def log_evidence(self, observed: Sequence[Observation]) -> float:
        """Logarithm of the density of these runs, which must all have ended well."""
        return float(np.logaddexp.reduce([self._given(model, observed).log_weight for model in self._models]))

    def _like(self, runs: Sequence[Observation]) -> _Model:
        """A job whose times are those of another one by a factor, give or take."""
        level, general = self._knowledge.level, self._models[0].covariance
        other = self.after(runs)
        models = [self._given(model, runs) for model in self._models]
        mean = other.weights @ other.means
        between = (other.means - mean).T * other.weights @ (other.means - mean)
        within = np.tensordot(other.weights, [model.covariance for model in models], axes=1)
        is_short = other.weights @ [model.is_short for model in models] > 0.5
        is_short[[one.index for one in runs if not one.is_ok]] = True
        own = self._knowledge.unlike_similar**2 * (general - level.deviation**2)
        return _Model(
            log_weight=0.0,
            mean=level.mean + mean - mean.mean(),
            covariance=level.deviation**2 + between + within + own,
            is_short=is_short,
        )

    def _given(self, model: _Model, observed: Sequence[Observation]) -> _Model:
        well = [one for one in observed if one.is_ok]
        if well:
            model = model.given_times([one.index for one in well], np.log([one.runtime_s for one in well]), self._noise)
        # Always in the same order, since each changes what the next one is held against.
        for one in sorted((one for one in observed if not one.is_ok), key=lambda one: one.index):
            short = self._knowledge.fails_when_short if model.is_short[one.index] else self._knowledge.fails
            model = model.given_longer(one.index, math.log(one.runtime_s), self._noise, short)
        return model


@dataclass(frozen=True, slots=True, eq=False)
class _Model:
    """A Gaussian process over ln(run time in seconds) of all n configurations.

    Attributes:
        log_weight: ln(prior probability x density of what was observed).
        is_short: Whether the job lacks memory on a configuration.
    """

    log_weight: float
    mean: Array
    covariance: Array
    is_short: NDArray[np.bool_]

    def given_times(self, seen: list[int], log_s: Array, noise: float) -> _Model:
        """After runs that ended, of these configurations."""
        lower = np.linalg.cholesky(self.covariance[np.ix_(seen, seen)] + noise * np.eye(len(seen)))
        residual = np.linalg.solve(lower, log_s - self.mean[seen])
        between = np.linalg.solve(lower, self.covariance[seen])
        density = -0.5 * residual @ residual - np.log(np.diag(lower)).sum() - 0.5 * len(seen) * math.log(2 * math.pi)
        return replace(
            self,
            log_weight=self.log_weight + float(density),
            mean=self.mean + between.T @ residual,
            covariance=self.covariance - between.T @ between,
        )

    def given_longer(self, index: int, log_s: float, noise: float, chance: float) -> _Model:
        """After a run that failed, so that all that is known of its time is that it would have been longer.

        The normal distribution with the mean and the variance of the truncated one takes its place (Minka 2001,
        *Expectation propagation for approximate Bayesian inference*, as assumed-density filtering).

        Args:
            chance: That a run fails here, whatever time it takes.
        """
        between = self.covariance[:, index]
        variance = between[index] + noise
        at_least = (log_s - self.mean[index]) / math.sqrt(variance)
        tail = max(float(normal_cdf(np.array(-at_least))), _LEAST_CHANCE)
        hazard = float(normal_pdf(np.array(at_least))) / tail if tail > _LEAST_CHANCE else at_least
        narrower = min(hazard * (hazard - at_least), 1.0)
        return replace(
            self,
            log_weight=self.log_weight + math.log(tail) + math.log(chance),
            mean=self.mean + between * hazard / math.sqrt(variance),
            covariance=self.covariance - np.outer(between, between) * narrower / variance,
        )


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

    def is_short(self, need: float | None) -> NDArray[np.bool_]:
        """Where a job lacks memory that needs so much."""
        return self._lacking(need) > 0

    def _lacking(self, need: float | None) -> Array:
        """Memory that is missing, in halvings."""
        if need is None or self._total_memory is None:
            return np.zeros_like(self._cluster)
        return np.maximum(0.0, need - self._total_memory)

    def effects(self, knowledge: Knowledge, need: float | None) -> tuple[Array, Array, Array]:
        """The columns, shape (n, 7), and the mean and the deviation of their coefficients, shape (7,)."""
        short = self._lacking(need)
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


def _weighted(models: Sequence[_Model], share: float) -> list[_Model]:
    return [replace(model, log_weight=model.log_weight + math.log(share)) for model in models]


def _centred(column: Array) -> Array:
    return np.asarray(column - column.mean())


def _differences(column: Array) -> Array:
    return np.asarray(column[:, None] - column[None, :])


def _same(names: NDArray[np.str_]) -> Array:
    return np.asarray(names[:, None] == names[None, :], np.float64)
