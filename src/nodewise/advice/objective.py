"""What is to be small, and what must not be exceeded, as functions of a configuration's run time."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from nodewise.advice.belief import Posterior
from nodewise.advice.interruptions import Interruptions
from nodewise.advice.space import Array, Observation, SearchSpace
from nodewise.core.normal import normal_cdf

__all__ = ["Objective", "least_cost", "least_rate", "least_time"]

_MOST_EXPONENT = 50.0
_FLAT = 1e-9
"""Slope of an objective that does not depend on the time."""


@dataclass(frozen=True, slots=True, eq=False)
class Objective:
    """Cost, time, or price per hour, with a limit.

    All depend on a configuration's run time t alone, so the limit is one on t.

    Attributes:
        log_value: ln(objective) of all configurations from their ln(t), shape (..., n) both; it never falls with t.
        most_log_s: ln of the longest time that is within the limit, shape (n,); inf without a limit.
    """

    log_value: Callable[[Array], Array]
    most_log_s: Array

    def value(self, observation: Observation) -> float:
        """In US dollars, seconds, or US dollars per hour."""
        log_s = np.full_like(self.most_log_s, np.log(observation.runtime_s))
        return float(np.exp(self.log_value(log_s)[observation.index]))

    def is_within(self, observation: Observation) -> bool:
        """Whether the run ended well and kept to the limit."""
        return observation.is_ok and bool(np.log(observation.runtime_s) <= self.most_log_s[observation.index])

    def best(self, observed: Sequence[Observation]) -> Observation | None:
        """The best of the runs that ended well and kept to the limit; of equal ones the fastest."""
        within = filter(self.is_within, observed)
        return min(within, key=lambda one: (self.value(one), one.runtime_s), default=None)

    def chance_within(self, posterior: Posterior) -> Array:
        """Probability that a run keeps to the limit, shape (n,)."""
        return np.asarray(posterior.weights @ normal_cdf((self.most_log_s - posterior.means) / posterior.deviations))

    def expected_saving(self, posterior: Posterior, best: float) -> Array:
        """Expected share of ``best`` that a run of each configuration would save, shape (n,), each in [0, 1].

        Expected improvement (Jones et al. 1998) relative to the best, with nothing saved by a run past the limit. With
        ln(t) normal (m, s), z = ln(objective) - ln(best) = z(m) + b (ln(t) - m) and u the largest ln(t) that saves and
        is allowed: E[(1 - exp(z)) (ln(t) <= u)] = Phi(a) - exp(z(m) + (b s)^2/2) Phi(a - b s), with a = (u - m) / s.
        The slope b is 1 for cost and time and 0 for a price per hour; with interruptions it is that from m to m + s.
        """
        m, s = posterior.means, posterior.deviations
        ahead = self.log_value(m) - np.log(best)
        steps = np.maximum(self.log_value(m + s) - self.log_value(m), _FLAT * s)
        a = np.minimum(-ahead / steps, (self.most_log_s - m) / s)
        kept = np.exp(np.minimum(ahead + steps**2 / 2, _MOST_EXPONENT)) * normal_cdf(a - steps)
        return np.asarray(posterior.weights @ np.maximum(normal_cdf(a) - kept, 0.0), np.float64)

    def promise(self, posterior: Posterior) -> Array:
        """How much a first run promises, shape (n,): the higher the likelier it is within the limit and small.

        Before any run only differences between configurations mean something, since the level of the times is unknown;
        it is the same for all of them.
        """
        expected = posterior.weights @ self.log_value(posterior.means)
        return np.asarray(np.log(np.maximum(self.chance_within(posterior), 1e-9)) - expected)


def least_cost(
    space: SearchSpace, deadline_s: float | None = None, interruptions: Interruptions | None = None
) -> Objective:
    """The cost of a run, with a limit on its time; with interruptions both are those that are expected.

    Raises:
        InputError: The price of a configuration is not known.
    """
    log_rates = np.log(space.rates)
    return _of_run(
        log_rates, None if deadline_s is None else np.full_like(log_rates, np.log(deadline_s)), interruptions
    )


def least_time(
    space: SearchSpace, budget_usd: float | None = None, interruptions: Interruptions | None = None
) -> Objective:
    """The time of a run, with a limit on its cost; with interruptions both are those that are expected.

    Raises:
        InputError: There is a limit, and the price of a configuration is not known.
    """
    limit = None if budget_usd is None else np.log(budget_usd) - np.log(space.rates)
    return _of_run(np.zeros(len(space)), limit, interruptions)


def least_rate(space: SearchSpace, longest_run_s: Array) -> Objective:
    """The price per hour of all nodes, with a limit on the time of a run for each configuration, shape (n,).

    Raises:
        InputError: The price of a configuration is not known.
    """
    log_usd_per_hour = np.log(space.rates * 3600)
    return Objective(lambda log_s: np.broadcast_to(log_usd_per_hour, log_s.shape), np.log(longest_run_s))


def _of_run(log_factor: Array, log_limit_s: Array | None, interruptions: Interruptions | None) -> Objective:
    """``factor`` times the time of a run, with a limit on that time, shape (n,)."""
    no_limit = np.full_like(log_factor, np.inf)
    if interruptions is None:
        return Objective(lambda log_s: log_s + log_factor, no_limit if log_limit_s is None else log_limit_s)
    most = no_limit if log_limit_s is None else interruptions.log_longest(log_limit_s)
    return Objective(lambda log_s: interruptions.log_expected(log_s) + log_factor, most)
