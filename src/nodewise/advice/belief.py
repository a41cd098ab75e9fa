"""What is believed of a job's run time on every configuration of a space, before any run and after some.

One Gaussian process over the logarithm of the run time for all node types and counts together, not one curve for each:
linear effects of what is known to matter (:mod:`~nodewise.advice.knowledge`) with a normal prior over jobs, plus what
families and types of nodes have of their own, plus a smooth rest (Rasmussen and Williams, "Gaussian Processes for
Machine Learning", chapters 2 and 2.7 on explicit basis functions). A job whose working set does not fit into the
cluster's memory is much slower, at a size that nobody knows before: so there is one process for each of several sizes,
and for each of several priors, weighed by how likely each makes the runs that were observed (Bayesian model averaging,
Hoeting et al. 1999). A job of the same application on other data, where there is one, is one more such hypothesis: that
this job is like that one.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from nodewise.advice.features import Features
from nodewise.advice.knowledge import GENERAL, Knowledge
from nodewise.advice.space import Array, Observation, SearchSpace
from nodewise.core.normal import normal_cdf, normal_pdf

__all__ = ["Belief", "Posterior"]

_LEAST_CHANCE = 1e-6
"""Of a run that took as long as it did until it failed; the tails of distributions beyond are not computed."""
_SAME_NEED = 0.5
"""Probability that a job which is like another one needs as much memory."""


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
        knowledge: Of jobs in general: one prior, or several with weights.
        similar: Runs of jobs that are thought to be like this one, on the same space; those of each job.
    """

    def __init__(
        self,
        space: SearchSpace,
        knowledge: Sequence[Knowledge] = GENERAL,
        similar: Sequence[Sequence[Observation]] = (),
    ) -> None:
        features = Features(space)
        total = sum(one.weight for one in knowledge)
        general = [_prior(features, one, one.weight / total) for one in knowledge]
        is_like = knowledge[0].is_like_similar if similar else 0.0
        alike = [_like(general, runs, is_like / len(similar)) for runs in similar]
        self._models = [model for prior in general for model in prior.models(1 - is_like)]
        self._models += [model for prior in alike for model in prior.models()]

    def after(self, observed: Sequence[Observation]) -> Posterior:
        """What is believed once these runs are known."""
        models = [model.given(observed) for model in self._models]
        weights = np.array([model.log_weight for model in models])
        scaled = np.exp(weights - weights.max())
        variances = np.array([np.diag(model.covariance) for model in models])
        noise = np.array([model.knowledge.noise for model in models])
        shares = scaled / scaled.sum()
        return Posterior(
            weights=shares,
            means=np.array([model.mean for model in models]),
            deviations=np.sqrt(np.maximum(variances, 0.0) + noise[:, None] ** 2),
            lacks_memory=shares @ [model.is_short for model in models],
        )

    def log_evidence(self, observed: Sequence[Observation]) -> float:
        """Logarithm of the density of these runs, which must all have ended well."""
        return float(np.logaddexp.reduce([model.given(observed).log_weight for model in self._models]))


@dataclass(frozen=True, slots=True, eq=False)
class _Model:
    """A Gaussian process over ln(run time in seconds) of all n configurations.

    Attributes:
        knowledge: What it is made from.
        log_weight: ln(prior probability x density of what was observed).
        is_short: Whether the job lacks memory on a configuration.
        least_used_gib: Memory that a run hardly uses less than, shape (n,).
    """

    knowledge: Knowledge
    log_weight: float
    mean: Array
    covariance: Array
    is_short: NDArray[np.bool_]
    least_used_gib: Array

    def given(self, observed: Sequence[Observation]) -> _Model:
        """After these runs."""
        well = [one for one in observed if one.is_ok]
        model = self if not well else self._given_times([one.index for one in well], [one.runtime_s for one in well])
        # Always in the same order, since each changes what the next one is held against.
        for one in sorted((one for one in observed if not one.is_ok), key=lambda one: one.index):
            model = model._given_longer(one.index, one.runtime_s)
        return model._given_used(well)

    def _given_used(self, well: Sequence[Observation]) -> _Model:
        """After what runs that ended well used of the memory; a configuration counts once."""
        used: dict[int, float] = {}
        for one in well:
            if one.used_gib is not None:
                used[one.index] = max(used.get(one.index, 0.0), one.used_gib)
        less = sum(gib < self.least_used_gib[index] for index, gib in used.items())
        return replace(self, log_weight=self.log_weight + less * math.log(self.knowledge.uses_less)) if less else self

    def _given_times(self, seen: list[int], runtimes_s: list[float]) -> _Model:
        """After runs that ended, of these configurations."""
        log_s = np.log(runtimes_s)
        noise = self.knowledge.noise**2 * np.eye(len(seen))
        lower = np.linalg.cholesky(self.covariance[np.ix_(seen, seen)] + noise)
        residual = np.linalg.solve(lower, log_s - self.mean[seen])
        between = np.linalg.solve(lower, self.covariance[seen])
        density = -0.5 * residual @ residual - np.log(np.diag(lower)).sum() - 0.5 * len(seen) * math.log(2 * math.pi)
        return replace(
            self,
            log_weight=self.log_weight + float(density),
            mean=self.mean + between.T @ residual,
            covariance=self.covariance - between.T @ between,
        )

    def _given_longer(self, index: int, runtime_s: float) -> _Model:
        """After a run that failed, so that all that is known of its time is that it would have been longer.

        The normal distribution with the mean and the variance of the truncated one takes its place (Minka 2001,
        *Expectation propagation for approximate Bayesian inference*, as assumed-density filtering).
        """
        chance = self.knowledge.fails_when_short if self.is_short[index] else self.knowledge.fails
        between = self.covariance[:, index]
        variance = between[index] + self.knowledge.noise**2
        at_least = (math.log(runtime_s) - self.mean[index]) / math.sqrt(variance)
        tail = max(float(normal_cdf(np.array(-at_least))), _LEAST_CHANCE)
        hazard = float(normal_pdf(np.array(at_least))) / tail if tail > _LEAST_CHANCE else at_least
        narrower = min(hazard * (hazard - at_least), 1.0)
        return replace(
            self,
            log_weight=self.log_weight + math.log(tail) + math.log(chance),
            mean=self.mean + between * hazard / math.sqrt(variance),
            covariance=self.covariance - np.outer(between, between) * narrower / variance,
        )


@dataclass(frozen=True, slots=True, eq=False)
class _Shortage:
    """What a need of memory adds to ln(run time): a normal distribution over the n configurations.

    Attributes:
        chance: That the job needs so much.
        is_short: Where it then lacks memory.
        least_used_gib: Memory that a run then hardly uses less than, shape (n,).
    """

    chance: float
    is_short: NDArray[np.bool_]
    least_used_gib: Array
    mean: Array
    covariance: Array


@dataclass(frozen=True, slots=True, eq=False)
class _Prior:
    """A kind of job.

    Attributes:
        weight: Probability that the job is of this kind.
        mean, covariance: Of ln(run time) where memory does not matter, shapes (n,) and (n, n).
        shortages: Of every size of memory that it may need.
    """

    knowledge: Knowledge
    weight: float
    mean: Array
    covariance: Array
    shortages: tuple[_Shortage, ...]

    def models(self, share: float = 1.0) -> list[_Model]:
        """One for each need, with so much of their weight."""
        return [
            _Model(
                knowledge=self.knowledge,
                log_weight=math.log(share * self.weight * one.chance),
                mean=self.mean + one.mean,
                covariance=self.covariance + one.covariance,
                is_short=one.is_short,
                least_used_gib=one.least_used_gib,
            )
            for one in self.shortages
        ]


def _prior(features: Features, knowledge: Knowledge, weight: float) -> _Prior:
    """Of jobs in general."""
    mean, covariance = features.effects(knowledge)
    return _Prior(
        knowledge=knowledge,
        weight=weight,
        mean=knowledge.level.mean + mean,
        covariance=knowledge.level.deviation**2 + features.common_covariance(knowledge) + covariance,
        shortages=tuple(
            _Shortage(
                chance, features.is_short(need), features.least_used_gib(need), *features.shortage(knowledge, need)
            )
            for need, chance in features.needs(knowledge)
        ),
    )


def _like(general: Sequence[_Prior], runs: Sequence[Observation], weight: float) -> _Prior:
    """A job whose times are those of another one by a factor, give or take, where memory does not matter.

    Where it does is each job's own, as other data need more memory or less; half of the belief is that it is the same.
    """
    first, count = general[0], len(general[0].mean)
    # A process over what the other job takes and, as n more places, over what it would take with memory enough.
    twice = [
        replace(
            model,
            mean=np.concatenate([model.mean, prior.mean]),
            covariance=np.block([[model.covariance, prior.covariance], [prior.covariance, prior.covariance]]),
        ).given(runs)
        for prior in general
        for model in prior.models()
    ]
    logs = np.array([model.log_weight for model in twice])
    shares = np.exp(logs - logs.max()) / np.exp(logs - logs.max()).sum()
    means = np.array([model.mean[count:] for model in twice])
    mean = shares @ means
    between = (means - mean).T * shares @ (means - mean)
    within = np.tensordot(shares, [model.covariance[count:, count:] for model in twice], axes=1)
    level, knowledge = first.knowledge.level, first.knowledge
    own = knowledge.unlike_similar**2 * (first.covariance - level.deviation**2)
    of_needs = shares.reshape(len(general), -1).sum(axis=0)
    return _Prior(
        knowledge=knowledge,
        weight=weight,
        mean=level.mean + mean - mean.mean(),
        covariance=level.deviation**2 + between + within + own,
        shortages=tuple(
            replace(one, chance=_SAME_NEED * float(share) + (1 - _SAME_NEED) * one.chance)
            for one, share in zip(first.shortages, of_needs, strict=True)
        ),
    )
