"""Jobs that were run before, as a library for a new one: which of them are like it."""

from __future__ import annotations

from collections.abc import Iterable

from nodewise.advice.space import Observation, SearchSpace
from nodewise.advice.traces import Workload
from nodewise.specs.advice import ConfigurationName

__all__ = ["LEAST_SHARED", "runs_of_similar", "runs_on"]

Run = tuple[ConfigurationName, float, bool]
"""Where, how long in seconds, and whether it ended well."""
LEAST_SHARED = 3
"""Runs that a job must have made well on configurations of the space to say something about it."""


def runs_of_similar(
    space: SearchSpace, library: Iterable[Workload], *, workload: str, framework: str, dataset: str
) -> list[list[Observation]]:
    """The runs, on configurations of the space, of every job that is the same application on other data.

    Jobs of other applications are left out: on public traces searches ended farther from the optimum with them than
    without (``benchmarks/advise.py``). So is the very same job, which would be no prediction.
    """
    others = [
        [(one.configuration.name, one.runtime_s, one.is_ok) for one in job.measured]
        for job in library
        if (job.workload, job.framework) == (workload, framework) and job.dataset != dataset
    ]
    return runs_on(space, others)


def runs_on(space: SearchSpace, jobs: Iterable[Iterable[Run]]) -> list[list[Observation]]:
    """The runs on configurations of the space, of every job that has at least three there that ended well."""
    places = {one.name: index for index, one in enumerate(space.configurations)}
    found = ([Observation(places[name], s, is_ok) for name, s, is_ok in runs if name in places] for runs in jobs)
    return [runs for runs in found if sum(one.is_ok for one in runs) >= LEAST_SHARED]
