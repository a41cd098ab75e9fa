"""The search of nodewise: run next where most is expected to be saved, and stop when that is little."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from nodewise.advice.belief import Belief
from nodewise.advice.knowledge import GENERAL, Knowledge
from nodewise.advice.methods import is_over
from nodewise.advice.objective import Objective, least_cost
from nodewise.advice.space import Observation, SearchSpace

__all__ = ["LEAST_RUNS", "MOST_RUNS", "PooledSearch", "stop_below"]

STOP_BELOW = 0.01
"""Expected share of the objective that the best further run would save, for each run made, below which the search
stops: the longer it has gone on, the more a further run has to promise."""
LEAST_RUNS = 3
MOST_RUNS = 8
LIKELY = 0.1
"""Probability of keeping to the limit, below which no more runs than these are made to find one that does."""


def stop_below(runs: int) -> float:
    """Expected saving below which the search stops after so many runs."""
    return STOP_BELOW * runs


class PooledSearch:
    """Searches with one belief about all node types (:class:`~nodewise.advice.belief.Belief`).

    The first run is the one that promises most before anything is known of the job, each further one that with the
    highest expected saving over the best so far. It stops when that is below 1 % for each run that was made, after 3
    runs at least and 8 at most. While no run has kept to the limit, such as a deadline, it goes on as long as one is
    likely enough to.

    Args:
        objective: What is to be small; None: the cost.
        similar, knowledge: As :class:`~nodewise.advice.belief.Belief` takes them.

    Attributes:
        belief: Of the job.
    """

    def __init__(
        self,
        space: SearchSpace,
        _seed: int = 0,
        max_runs: int | None = None,
        *,
        objective: Objective | None = None,
        similar: Sequence[Sequence[Observation]] = (),
        knowledge: Sequence[Knowledge] = GENERAL,
    ) -> None:
        self._space, self._max_runs, self._is_capped = space, max_runs or MOST_RUNS, max_runs is not None
        self.belief = Belief(space, knowledge, similar)
        self._objective = objective or least_cost(space)

    def propose(self, observed: Sequence[Observation]) -> int | None:
        best = self._objective.best(observed)
        is_over_now = is_over(self._space, observed, self._max_runs)
        if is_over_now and (best is not None or self._is_capped or len(observed) >= len(self._space)):
            return None
        posterior = self.belief.after(observed)
        if best is None:
            score = self._objective.promise(posterior)
        else:
            score = self._objective.expected_saving(posterior, self._objective.value(best))
        score[[one.index for one in observed]] = -np.inf
        index = int(np.argmax(score))
        if best is None:
            is_worth_it = not is_over_now or self._objective.chance_within(posterior)[index] >= LIKELY
        else:
            is_worth_it = len(observed) < LEAST_RUNS or score[index] >= stop_below(len(observed))
        return index if is_worth_it else None
