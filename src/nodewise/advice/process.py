"""A Gaussian process over the run times of a job, and what runs of every kind make of it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from nodewise.advice.knowledge import Knowledge
from nodewise.advice.space import Array, Observation
from nodewise.core.normal import normal_cdf, normal_pdf

__all__ = ["Process"]

_LEAST_CHANCE = 1e-6
"""Of a run that took as long as it did until it failed; the tails of distributions beyond are not computed."""


@dataclass(frozen=True, slots=True, eq=False)
class Process:
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

    def given(self, observed: Sequence[Observation]) -> Process:
        """After these runs."""
        well = [one for one in observed if one.is_ok]
        after = self if not well else self._given_times([one.index for one in well], [one.runtime_s for one in well])
        # Always in the same order, since each changes what the next one is held against.
        for one in sorted((one for one in observed if not one.is_ok), key=lambda one: one.index):
            after = after._given_longer(one.index, one.runtime_s)
        return after._given_used(well)

    def _given_used(self, well: Sequence[Observation]) -> Process:
        """After what runs that ended well used of the memory; a configuration counts once."""
        used: dict[int, float] = {}
        for one in well:
            if one.used_gib is not None:
                used[one.index] = max(used.get(one.index, 0.0), one.used_gib)
        less = sum(gib < self.least_used_gib[index] for index, gib in used.items())
        return replace(self, log_weight=self.log_weight + less * math.log(self.knowledge.uses_less)) if less else self

    def _given_times(self, seen: list[int], runtimes_s: list[float]) -> Process:
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

    def _given_longer(self, index: int, runtime_s: float) -> Process:
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
