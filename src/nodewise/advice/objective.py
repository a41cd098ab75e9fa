"""What is to be small, and what must not be exceeded, as functions of a configuration's run time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from nodewise.advice.belief import Posterior
from nodewise.advice.space import Array, Observation, SearchSpace
from nodewise.core.normal import normal_cdf

__all__ = ["Objective", "least_cost", "least_time"]

_MOST_EXPONENT = 50.0


@dataclass(frozen=True, slots=True, eq=False)
class Objective:
    """Cost or time, with a limit on the other.

    Both depend on a configuration's run time t alone, so the limit is one on t.

    Attributes:
        log_factor: ln(objective) - ln(t), shape (n,).
        most_log_s: ln of the longest time that is within the limit, shape (n,); inf without a limit.
    """

    log_factor: Array
    most_log_s: Array

    def value(self, observation: Observation) -> float:
        """In US dollars or in seconds."""
        return float(np.exp(self.log_factor[observation.index])) * observation.runtime_s

    def is_within(self, observation: Observation) -> bool:
        """Whether the run ended well and kept to the limit."""
        return observation.is_ok and bool(np.log(observation.runtime_s) <= self.most_log_s[observation.index])

    def best(self, observed: Sequence[Observation]) -> Observation | None:
        """The best of the runs that ended well and kept to the limit."""
        return min(filter(self.is_within, observed), key=self.value, default=None)

    def chance_within(self, posterior: Posterior) -> Array:
        """Probability that a run keeps to the limit, shape (n,)."""
        return np.asarray(posterior.weights @ normal_cdf((self.most_log_s - posterior.means) / posterior.deviations))

    def expected_saving(self, posterior: Posterior, best: float) -> Array:
        """Expected share of ``best`` that a run of each configuration would save, shape (n,), each in [0, 1].

        Expected improvement (Jones et al. 1998) relative to the best, with nothing saved by a run past the limit. With
        ln(t) normal (m, s), z = ln(t) + log_factor - ln(best) and u the largest ln(t) that saves and is allowed:
        E[(1 - exp(z)) (ln(t) <= u)] = Phi(a) - exp(m + log_factor - ln(best) + s2/2) Phi(a - s), with a = (u - m) / s.
        """
        m, s = posterior.means, posterior.deviations
        ahead = self.log_factor - np.log(best)
        a = (np.minimum(-ahead, self.most_log_s) - m) / s
        saving = normal_cdf(a) - np.exp(np.minimum(m + ahead + s**2 / 2, _MOST_EXPONENT)) * normal_cdf(a - s)
        return np.asarray(posterior.weights @ np.maximum(saving, 0.0), np.float64)

    def promise(self, posterior: Posterior) -> Array:
        """How much a first run promises, shape (n,): the higher the likelier it is within the limit and small.

        Before any run only differences between configurations mean something, since the level of the times is unknown;
        it is the same for all of them.
        """
        expected = posterior.weights @ posterior.means + self.log_factor
        return np.log(np.maximum(self.chance_within(posterior), 1e-9)) - expected


def least_cost(space: SearchSpace, deadline_s: float | None = None) -> Objective:
    """The cost of a run, with a limit on its time.

    Raises:
        InputError: The price of a configuration is not known.
    """
    most = np.inf if deadline_s is None else np.log(deadline_s)
    return Objective(np.log(space.rates), np.full(len(space), most))


def least_time(space: SearchSpace, budget_usd: float | None = None) -> Objective:
    """The time of a run, with a limit on its cost.

    Raises:
        InputError: There is a limit, and the price of a configuration is not known.
    """
    if budget_usd is None:
        return Objective(np.zeros(len(space)), np.full(len(space), np.inf))
    return Objective(np.zeros(len(space)), np.log(budget_usd) - np.log(space.rates))
