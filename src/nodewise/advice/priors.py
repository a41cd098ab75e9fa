"""What is believed of a job before its first run: that it is like jobs in general, or like a certain other one."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from nodewise.advice.features import Features
from nodewise.advice.knowledge import Knowledge
from nodewise.advice.process import Process
from nodewise.advice.space import Array, Observation

__all__ = ["Prior", "job_like", "jobs_in_general"]

_SAME_NEED = 0.5
"""Probability that a job which is like another one needs as much memory."""


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
class Prior:
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

    def processes(self, share: float = 1.0) -> list[Process]:
        """One for each need, with so much of their weight."""
        return [
            Process(
                knowledge=self.knowledge,
                log_weight=math.log(share * self.weight * one.chance),
                mean=self.mean + one.mean,
                covariance=self.covariance + one.covariance,
                is_short=one.is_short,
                least_used_gib=one.least_used_gib,
            )
            for one in self.shortages
        ]


def jobs_in_general(features: Features, knowledge: Knowledge, weight: float) -> Prior:
    """Of jobs in general."""
    mean, covariance = features.effects(knowledge)
    return Prior(
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


def job_like(general: Sequence[Prior], runs: Sequence[Observation], weight: float) -> Prior:
    """A job whose times are those of another one by a factor, give or take, where memory does not matter.

    Where it does is each job's own, as other data need more memory or less; half of the belief is that it is the same.
    """
    first, count = general[0], len(general[0].mean)
    # A process over what the other job takes and, as n more places, over what it would take with memory enough.
    twice = [
        replace(
            one,
            mean=np.concatenate([one.mean, prior.mean]),
            covariance=np.block([[one.covariance, prior.covariance], [prior.covariance, prior.covariance]]),
        ).given(runs)
        for prior in general
        for one in prior.processes()
    ]
    logs = np.array([one.log_weight for one in twice])
    shares = np.exp(logs - logs.max()) / np.exp(logs - logs.max()).sum()
    means = np.array([one.mean[count:] for one in twice])
    mean = shares @ means
    between = (means - mean).T * shares @ (means - mean)
    within = np.tensordot(shares, [one.covariance[count:, count:] for one in twice], axes=1)
    level, knowledge = first.knowledge.level, first.knowledge
    own = knowledge.unlike_similar**2 * (first.covariance - level.deviation**2)
    of_needs = shares.reshape(len(general), -1).sum(axis=0)
    return Prior(
        knowledge=knowledge,
        weight=weight,
        mean=level.mean + mean - mean.mean(),
        covariance=level.deviation**2 + between + within + own,
        shortages=tuple(
            replace(one, chance=_SAME_NEED * float(share) + (1 - _SAME_NEED) * one.chance)
            for one, share in zip(first.shortages, of_needs, strict=True)
        ),
    )
