"""Advice on one job from the runs there are: ranking, the run to make next, whether that is worth it, and words."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from nodewise.advice.belief import Posterior
from nodewise.advice.objective import Objective, least_cost, least_time
from nodewise.advice.ranking import rank
from nodewise.advice.scaleout import HIGH, LOW, MIDDLE, quantiles
from nodewise.advice.search import LEAST_RUNS, STOP_BELOW, PooledSearch
from nodewise.advice.space import Observation, SearchSpace
from nodewise.advice.words import changes_of, limit_words, named, sentence_of, share
from nodewise.core.normal import normal_cdf
from nodewise.core.units import format_duration
from nodewise.specs.advice import Advice, AdviceStep, Goal, Proposal

__all__ = ["Advisor", "Request"]

UNLIKELY = 0.01
"""Probability of a time as far off as the last one, below which the job is said to have changed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What is asked for.

    Attributes:
        deadline_s: Longest time of a run; goes with goal ``cost``.
        budget_usd: Highest cost of a run; goes with goal ``time``.
        max_runs: Of the search, those known before included; None: as the search has it.
    """

    goal: Goal = "cost"
    deadline_s: float | None = None
    budget_usd: float | None = None
    max_runs: int | None = None


class Advisor:
    """Advises on one job over one space of configurations.

    Raises:
        InputError: A cost is asked for, and the price of a configuration is not known.
    """

    def __init__(self, job: str, space: SearchSpace, request: Request) -> None:
        self._job, self._space, self._request = job, space, request
        self._objective = _objective(space, request)
        self._search = PooledSearch(space, max_runs=request.max_runs, objective=self._objective)

    def next_run(self, observed: Sequence[Observation]) -> int | None:
        """The configuration to run on next; None: the search is over."""
        return self._search.propose(observed)

    def best_value(self, observed: Sequence[Observation]) -> float | None:
        """Of the objective, in US dollars or seconds; None while no run ended well within the limit."""
        best = self._objective.best(observed)
        return None if best is None else self._objective.value(best)

    def advise(self, observed: Sequence[Observation], steps: Sequence[AdviceStep]) -> Advice:
        """What to do now.

        Args:
            steps: The same runs, as they are to be told.
        """
        request, posterior = self._request, self._search.belief.after(observed)
        # Before a run has ended well the level of all times is unknown, and figures would mislead.
        is_known = any(one.is_ok for one in observed)
        ranked = rank(self._space, self._objective, posterior, observed) if is_known else []
        best, proposed = self._objective.best(observed), self._search.propose(observed)
        chosen = None if best is None else self._space.configurations[best.index]
        choice = next((one for one in ranked if one.configuration == chosen), None)
        limit = limit_words(request.deadline_s, request.budget_usd)
        costs = [step.cost_usd for step in steps]
        return Advice(
            job=self._job,
            goal=request.goal,
            deadline_s=request.deadline_s,
            budget_usd=request.budget_usd,
            sentence=sentence_of(request.goal, choice, ranked, steps, limit),
            choice=choice,
            ranked=tuple(ranked),
            candidates=len(self._space),
            steps=tuple(steps),
            search_cost_usd=None if None in costs else math.fsum(cost or 0.0 for cost in costs),
            proposal=None if proposed is None else self._proposal(proposed, posterior, observed),
            is_settled=proposed is None,
            reason=self._reason(proposed, posterior, observed),
            changes=tuple(changes_of(request.goal, choice, ranked)),
            notes=tuple(self._notes(observed)),
        )

    def _proposal(self, index: int, posterior: Posterior, observed: Sequence[Observation]) -> Proposal:
        best = self.best_value(observed)
        configuration = self._space.configurations[index]
        low, middle, high = (float(np.exp(found[index])) for found in quantiles(posterior, (LOW, MIDDLE, HIGH)))
        if best is None:
            why = "of what is known of jobs in general, it promises most"
            saving = None
        else:
            saving = float(self._objective.expected_saving(posterior, best)[index])
            why = f"it is expected to save {share(saving)} of the best so far, more than any other"
        known = any(one.is_ok for one in observed)
        rate = None if self._space.usd_per_hour is None else float(self._space.rates[index])
        return Proposal(
            configuration=configuration,
            why=why,
            expected_saving=saving,
            seconds=middle if known else None,
            seconds_low=low if known else None,
            seconds_high=high if known else None,
            cost_usd_high=high * rate if known and rate is not None else None,
        )

    def _reason(self, proposed: int | None, posterior: Posterior, observed: Sequence[Observation]) -> str:
        """Why the search goes on, or is over."""
        best = self.best_value(observed)
        if best is None:
            return "no run ended well within the limit yet" if observed else "nothing was run yet"
        saving = self._objective.expected_saving(posterior, best)
        saving[[one.index for one in observed]] = 0.0
        most = float(saving.max())
        if proposed is not None:
            if most < STOP_BELOW:
                return f"at least {LEAST_RUNS} runs are made"
            return (
                f"{named(self._space.configurations[proposed])} is expected to save {share(most)}, which is worth a run"
            )
        if len({one.index for one in observed}) == len(self._space):
            return "every configuration was run"
        if most < STOP_BELOW:
            limit = f"the search stops below {share(STOP_BELOW)}"
            return f"no further run is expected to save more than {share(most)}; {limit}"
        return f"the most runs were made; one more is expected to save {share(most)}"

    def _notes(self, observed: Sequence[Observation]) -> list[str]:
        """Whether the last run was such as the earlier ones on the same configuration say: else the job has changed."""
        if len(observed) < 2 or not observed[-1].is_ok:
            return []
        last, before = observed[-1], observed[:-1]
        if not any(one.index == last.index and one.is_ok for one in before):
            return []
        posterior = self._search.belief.after(before)
        z = (math.log(last.runtime_s) - posterior.means[:, last.index]) / posterior.deviations[:, last.index]
        below = float(posterior.weights @ normal_cdf(z))
        if min(below, 1 - below) * 2 >= UNLIKELY:
            return []
        usual = float(np.exp(quantiles(posterior, (MIDDLE,))[0][last.index]))
        return [
            f"The last run on {named(self._space.configurations[last.index])} took {format_duration(last.runtime_s)} "
            f"instead of about {format_duration(usual)}: the job or its data has changed, so earlier runs may mislead; "
            "--anew begins without them."
        ]


def _objective(space: SearchSpace, request: Request) -> Objective:
    if request.goal == "cost":
        return least_cost(space, request.deadline_s)
    return least_time(space, request.budget_usd)
