"""Searches replayed on traces: a run is a look-up, so that methods can be measured on what others paid for."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from functools import partial

from nodewise.advice.library import runs_of_similar
from nodewise.advice.methods import MethodFactory, SearchMethod
from nodewise.advice.search import PooledSearch
from nodewise.advice.space import Observation, SearchSpace, search_space
from nodewise.advice.traces import Workload
from nodewise.core.errors import InputError, NodewiseError
from nodewise.core.progress import Progress
from nodewise.specs.advice import MethodName, ReplayedSearch, ReplayResult

__all__ = ["replay"]


def replay(
    workloads: Iterable[Workload],
    method: MethodName,
    factory: MethodFactory,
    *,
    num_seeds: int,
    max_runs: int | None,
    library: Sequence[Workload] | None = None,
    progress: Progress,
) -> ReplayResult:
    """Search every workload with seeds 0, 1, ... ``num_seeds`` - 1.

    A run that failed is paid for and counts as a run. The choice is the cheapest configuration that was run and ended
    well; a search goes on until there is one.

    Args:
        library: Jobs that were run before, for the method ``nodewise`` alone; the workload that is searched is no part
            of it, even if it stands there.
    """
    chosen = list(workloads)
    progress.stage(f"replay {method}", len(chosen) * num_seeds)
    searches: list[ReplayedSearch] = []
    left_out: dict[str, str] = {}
    for workload in chosen:
        if not any(one.is_ok for one in workload.measured):
            left_out[workload.name] = "no run of it ended well"
            continue
        try:
            space = search_space([one.configuration for one in workload.measured])
            costs = [space.cost_usd(Observation(i, one.runtime_s)) for i, one in enumerate(workload.measured)]
        except InputError as error:
            left_out[workload.name] = error.message
            continue
        searcher = factory if library is None else _with_library(workload, space, library)
        for seed in range(num_seeds):
            searches.append(_search(workload, space, costs, searcher(space, seed, max_runs), seed))
            progress.advance(1, "searches")
    progress.done()
    return ReplayResult(method=method, workloads=tuple(searches), left_out=left_out)


def _with_library(workload: Workload, space: SearchSpace, library: Sequence[Workload]) -> MethodFactory:
    similar = runs_of_similar(
        space, library, workload=workload.workload, framework=workload.framework, dataset=workload.dataset
    )
    return partial(PooledSearch, similar=similar)


def _search(
    workload: Workload,
    space: SearchSpace,
    costs: list[float],
    searcher: SearchMethod,
    seed: int,
) -> ReplayedSearch:
    observed: list[Observation] = []
    while (index := searcher.propose(observed)) is not None:
        if any(one.index == index for one in observed):
            raise NodewiseError(f"the method proposed configuration {index} of {workload.name} twice")
        measured = workload.measured[index]
        observed.append(Observation(index, measured.runtime_s, measured.is_ok))
    well = [one for one in observed if one.is_ok]
    if not well:
        raise NodewiseError(f"the search of {workload.name} ended before a run ended well")
    choice = min(well, key=space.cost_usd)
    optimum = min(cost for cost, one in zip(costs, workload.measured, strict=True) if one.is_ok)
    names = [one.name for one in space.configurations]
    return ReplayedSearch(
        workload=workload.workload,
        framework=workload.framework,
        dataset=workload.dataset,
        seed=seed,
        runs_used=len(observed),
        tried=tuple(names[one.index] for one in observed),
        choice=names[choice.index],
        cost_over_optimum=space.cost_usd(choice) / optimum,
        search_cost_over_exhaustive=math.fsum(space.cost_usd(one) for one in observed) / math.fsum(costs),
    )
