"""How many runs does a search need, and how near to the optimum does it end? On run times that others measured.

Every method searches every workload of the public traces that has at least 12 configurations; a run is a look-up. Two
checks on nodewise's own: *ablations*, each without one part of what it knows, and *unseen*, with general knowledge that
was fitted to the traces without the application that is searched (``advise_fit.py``; minutes for each application, so
it is done with ``--unseen`` alone, and kept otherwise). Nothing is timed. Writes ``results/advise.json``.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np

import harness
from advise_fit import LEAST_CONFIGURATIONS, SOURCES, VAGUE, fit, jobs
from nodewise.advice.knowledge import GENERAL, Effect, Knowledge
from nodewise.advice.methods import MethodFactory, method_named
from nodewise.advice.replay import replay
from nodewise.advice.search import PooledSearch
from nodewise.advice.traces import Workload, read_traces
from nodewise.core.progress import SILENT
from nodewise.specs.advice import MethodName, ReplayedSearch

SEEDS = 30
METHODS: tuple[MethodName, ...] = ("random", "tpe", "cherrypick")
NONE = Effect(0.0, 1e-3)
ABLATIONS: dict[str, Knowledge] = {
    "without memory": replace(GENERAL, short_of_memory=1e-9, memory=NONE),
    "without what failures say of memory": replace(GENERAL, fails_when_short=GENERAL.fails),
    "without prices": replace(GENERAL, price=NONE),
    "without families and types": replace(GENERAL, family=1e-3, instance_type=1e-3),
    "without a smooth rest": replace(GENERAL, smooth=1e-3),
    "without effects: a blank process": replace(
        GENERAL,
        **{
            name: Effect(0.0, 1.0)
            for name in ("cores", "curvature", "node_size", "memory", "price", "shortage", "deeper_shortage")
        },
    ),
}


def main() -> None:
    """Search, and write what came of it."""
    is_unseen = "--unseen" in sys.argv
    if is_unseen:
        sys.argv.remove("--unseen")
    chosen = harness.options(__doc__ or "", rounds=SEEDS)
    sources = {source: traces_of(file) for source, file in SOURCES.items()}
    path = chosen.output or harness.RESULTS / "advise.json"
    kept = json.loads(path.read_text()) if path.is_file() else {}
    if is_unseen:
        facts = {**kept, "unseen": unseen(sources)}
    else:
        sides: dict[str, Callable[[Sequence[Workload]], list[ReplayedSearch]]] = {
            name: partial(searched, factory=method_named(name), seeds=chosen.rounds) for name in METHODS
        }
        sides["nodewise"] = partial(searched, factory=PooledSearch)
        sides["nodewise, with a library"] = lambda workloads: searched(workloads, PooledSearch, library=workloads)
        sides["nodewise, with jobs of other applications"] = with_others
        for name, knowledge in ABLATIONS.items():
            sides[name] = partial(searched, factory=partial(PooledSearch, knowledge=knowledge))
        wanted = {name: side for name, side in sides.items() if not chosen.only or name in chosen.only}
        facts = {
            "unseen": kept.get("unseen", {}),
            "seeds": chosen.rounds,
            "workloads": {source: len(workloads) for source, workloads in sources.items()},
            "configurations": {
                source: round(float(np.mean([len(one.measured) for one in workloads])), 1)
                for source, workloads in sources.items()
            },
            "searches": {
                name: {source: told(name, source, side, workloads) for source, workloads in sources.items()}
                for name, side in wanted.items()
            },
        }
    harness.write("advise", {key: facts[key] for key in facts if key not in harness.OWN_FACTS}, {}, chosen.output)


def traces_of(file: str) -> list[Workload]:
    """Those that are large enough for a search to be worth it."""
    found = read_traces(harness.test_data() / "traces" / file)
    return [one for one in found if len(one.measured) >= LEAST_CONFIGURATIONS]


def searched(
    workloads: Sequence[Workload],
    factory: MethodFactory,
    *,
    seeds: int = 1,
    library: Sequence[Workload] | None = None,
) -> list[ReplayedSearch]:
    """One search is enough of a method that draws nothing at random."""
    result = replay(workloads, "nodewise", factory, num_seeds=seeds, max_runs=None, library=library, progress=SILENT)
    return list(result.workloads)


def with_others(workloads: Sequence[Workload]) -> list[ReplayedSearch]:
    """Every workload with the jobs of all other applications of its source as a library, as if they were its own."""
    found = []
    for one in workloads:
        others = [
            replace(job, workload=one.workload, framework=one.framework, dataset=f"{job.workload} {job.dataset}")
            for job in workloads
            if job.workload != one.workload
        ]
        found += searched([one], PooledSearch, library=others)
    return found


def told(
    name: str, source: str, side: Callable[[Sequence[Workload]], list[ReplayedSearch]], workloads: Sequence[Workload]
) -> dict[str, float]:
    print(f"{name}: {source}", file=sys.stderr, flush=True)
    return figures(side(workloads))


def figures(searches: Sequence[ReplayedSearch]) -> dict[str, float]:
    """Runs, cost over that of the optimum, and what the runs of a search cost of all that there are."""
    ratios = np.array([one.cost_over_optimum for one in searches])
    return {
        "searches": len(searches),
        "runs": float(np.mean([one.runs_used for one in searches])),
        "mean": float(ratios.mean()),
        "p90": float(np.quantile(ratios, 0.9)),
        "max": float(ratios.max()),
        "within_10_percent": float((ratios <= 1.1).mean()),
        "search_cost": float(np.mean([one.search_cost_over_exhaustive for one in searches])),
    }


def unseen(sources: dict[str, list[Workload]]) -> dict[str, Any]:
    """Every application with knowledge that was fitted without it, from a vague start and by likelihood alone."""
    all_jobs = jobs()
    found: dict[str, list[ReplayedSearch]] = {source: [] for source in sources}
    applications = sorted({one.workload for workloads in sources.values() for one in workloads})
    for application in applications:
        print(f"fit without {application}", file=sys.stderr, flush=True)
        knowledge = fit([job for job in all_jobs if job.application != application], VAGUE, rounds=25)
        for source, workloads in sources.items():
            own = [one for one in workloads if one.workload == application]
            if own:
                found[source] += searched(own, partial(PooledSearch, knowledge=knowledge))
    return {source: figures(searches) for source, searches in found.items()}


if __name__ == "__main__":
    main()
