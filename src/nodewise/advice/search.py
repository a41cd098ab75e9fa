"""The search of nodewise: run next where most is expected to be saved, and stop when that is little."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from nodewise.advice.belief import Belief
from nodewise.advice.methods import is_over
from nodewise.advice.objective import Objective, least_cost
from nodewise.advice.space import Observation, SearchSpace

__all__ = ["LEAST_RUNS", "MOST_RUNS", "STOP_BELOW", "PooledSearch"]

STOP_BELOW = 0.03
"""Expected share of the objective that the best further run would save, below which the search stops."""
LEAST_RUNS = 3
MOST_RUNS = 6


class PooledSearch:
    """Searches with one belief about all node types (:class:`~nodewise.advice.belief.Belief`).

    The first run is the one that promises most before anything is known of the job, each further one that with the
    highest expected saving over the best so far. It stops when that is below 3 %, after 3 runs at least and 6 at most.

    Args:
        objective: What is to be small; None: the cost.

    Attributes:
        belief: Of the job.
    """

    def __init__(
        self, space: SearchSpace, _seed: int = 0, max_runs: int | None = None, objective: Objective | None = None
    ) -> None:
        self._space, self._max_runs = space, max_runs or MOST_RUNS
        self.belief = Belief(space)
        self._objective = objective or least_cost(space)

    def propose(self, observed: Sequence[Observation]) -> int | None:
        if is_over(self._space, observed, self._max_runs):
            return None
        posterior, best = self.belief.after(observed), self._objective.best(observed)
        if best is None:
            score = self._objective.promise(posterior)
        else:
            score = self._objective.expected_saving(posterior, self._objective.value(best))
        score[[one.index for one in observed]] = -np.inf
        index = int(np.argmax(score))
        if best is not None and len(observed) >= LEAST_RUNS and score[index] < STOP_BELOW:
            return None
        return index
