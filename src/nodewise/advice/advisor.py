"""Advice on one job from the runs there are: ranking, the run to make next, whether that is worth it, and words."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import numpy as np

from nodewise.advice.belief import Posterior
from nodewise.advice.changes import changes_of
from nodewise.advice.interruptions import Interruptions
from nodewise.advice.limiting import limits_of
from nodewise.advice.objective import Objective, least_cost, least_rate, least_time
from nodewise.advice.quantiles import HIGH, LOW, MIDDLE, quantiles
from nodewise.advice.ranking import rank
from nodewise.advice.request import Request
from nodewise.advice.search import LEAST_RUNS, PooledSearch, stop_below
from nodewise.advice.space import Observation, SearchSpace
from nodewise.advice.stream_words import stream_changes_of, stream_notes_of, stream_sentence_of
from nodewise.advice.streaming import StreamQueues
from nodewise.advice.words import assumed_of, named, sentence_of, share
from nodewise.core.normal import normal_cdf
from nodewise.core.units import format_duration
from nodewise.specs.advice import Advice, AdviceStep, Proposal, RankedConfiguration

__all__ = ["Advisor", "Request"]

UNLIKELY = 0.01
"""Probability of a time as far off as the last one, below which the job is said to have changed."""


class Advisor:
    """Advises on one job over one space of configurations.

    Args:
        similar: Runs of jobs that are thought to be like this one, on the same space; those of each job.

    Raises:
        InputError: A cost is asked for, and the price of a configuration is not known; or a stream, and how many
            records a run handles is not known.
    """

    def __init__(
        self, job: str, space: SearchSpace, request: Request, similar: Sequence[Sequence[Observation]] = ()
    ) -> None:
        self._job, self._space, self._request, self._similar = job, space, request, similar
        self._interruptions = None if request.spot is None else Interruptions(request.spot, space.nodes)
        self._queues = None if request.stream is None else StreamQueues(space, request.stream)
        self._objective = self._objective_of(request)
        self._search = PooledSearch(space, max_runs=request.max_runs, objective=self._objective, similar=similar)

    def next_run(self, observed: Sequence[Observation]) -> int | None:
        """The configuration to run on next; None: the search is over.

        How large a cluster a stream needs is not known before a run has ended well. Until then the run is made where it
        costs least: any tells it.
        """
        if self._queues is not None and not any(one.is_ok for one in observed):
            return PooledSearch(self._space, max_runs=self._request.max_runs, similar=self._similar).propose(observed)
        return self._search.propose(observed)

    def best_value(self, observed: Sequence[Observation]) -> float | None:
        """Of the objective, in dollars, seconds or dollars per hour; None while no run ended well within the limit."""
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
        ranked = self._ranked(posterior, observed) if is_known else []
        best, proposed = self._objective.best(observed), self.next_run(observed)
        chosen = None if best is None else self._space.configurations[best.index]
        choice = next((one for one in ranked if one.configuration == chosen), None)
        costs = [step.cost_usd for step in steps]
        return Advice(
            job=self._job,
            goal=request.goal,
            deadline_s=request.deadline_s,
            budget_usd=request.budget_usd,
            spot=request.spot,
            stream=request.stream,
            sentence=(
                stream_sentence_of(request.stream, choice, ranked, steps)
                if request.stream is not None
                else sentence_of(request, choice, ranked, steps)
            ),
            choice=choice,
            ranked=tuple(ranked),
            candidates=len(self._space),
            steps=tuple(steps),
            search_cost_usd=None if None in costs else math.fsum(cost or 0.0 for cost in costs),
            proposal=None if proposed is None else self._proposal(proposed, posterior, observed),
            is_settled=proposed is None,
            reason=self._reason(proposed, posterior, observed),
            limits=tuple(limits_of(self._space, posterior, observed, choice, ranked)),
            changes=tuple(
                changes_of(request, choice, ranked) if request.stream is None else stream_changes_of(choice, ranked)
            ),
            notes=tuple(self._notes(ranked, observed)),
        )

    def _objective_of(self, request: Request) -> Objective:
        if self._queues is not None:
            return least_rate(self._space, self._queues.longest_run_s)
        if request.goal == "cost":
            return least_cost(self._space, request.deadline_s, self._interruptions)
        return least_time(self._space, request.budget_usd, self._interruptions)

    def _ranked(self, posterior: Posterior, observed: Sequence[Observation]) -> list[RankedConfiguration]:
        return rank(
            self._space,
            self._objective,
            posterior,
            observed,
            interruptions=self._interruptions,
            queues=self._queues,
        )

    def _proposal(self, index: int, posterior: Posterior, observed: Sequence[Observation]) -> Proposal:
        best = self.best_value(observed)
        configuration = self._space.configurations[index]
        low, middle, high = (float(np.exp(found[index])) for found in quantiles(posterior, (LOW, MIDDLE, HIGH)))
        known = any(one.is_ok for one in observed)
        saving = None
        if self._queues is not None and not known:
            why = "it is likely to cost least, and any run tells how large a cluster the stream needs"
        elif best is None:
            why = "of what is known of jobs in general, it promises most"
        else:
            saving = float(self._objective.expected_saving(posterior, best)[index])
            why = f"it is expected to save {share(saving)} of the best so far, more than any other"
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
            is_given_up = proposed is None and bool(observed)
            yet = "no run ended well within the limit yet" if observed else "nothing was run yet"
            return "no run kept to the limit, and no other one is likely enough to" if is_given_up else yet
        saving = self._objective.expected_saving(posterior, best)
        saving[[one.index for one in observed]] = 0.0
        most, least = float(saving.max()), stop_below(len(observed))
        if proposed is not None:
            if most < least:
                return f"at least {LEAST_RUNS} runs are made"
            return (
                f"{named(self._space.configurations[proposed])} is expected to save {share(most)}, which is worth a run"
            )
        if len({one.index for one in observed}) == len(self._space):
            return "every configuration was run"
        if most < least:
            limit = f"after {len(observed)} runs the search stops below {share(least)}"
            return f"no further run is expected to save more than {share(most)}; {limit}"
        return f"the most runs were made; one more is expected to save {share(most)}"

    def _notes(self, ranked: Sequence[RankedConfiguration], observed: Sequence[Observation]) -> Iterator[str]:
        if self._request.spot is not None:
            yield assumed_of(self._request.spot)
        if self._request.stream is not None:
            yield from stream_notes_of(self._request.stream, ranked)
        if self._similar:
            count = len(self._similar)
            yield (
                f"{count} other {'job' if count == 1 else 'jobs'} of this name, with other data or settings, "
                f"{'is' if count == 1 else 'are'} taken for likely to be alike"
            )
        yield from self._drift(observed)

    def _drift(self, observed: Sequence[Observation]) -> list[str]:
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
