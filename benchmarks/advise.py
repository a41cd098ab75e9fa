"""How many runs does a search need, and how near to the optimum does it end? On run times that others measured.

Every method searches every workload of the public traces that has at least 12 configurations; a run is a look-up. Two
checks on nodewise's own: *ablations*, each without one part of what it knows, and *unseen*, with general knowledge that
was fitted (``advise_fit.py``) without the application that is searched, or without its whole source: about five minutes
of two cores. Lynceus is searched and never fitted to. Nothing is timed. Writes ``results/advise.json``.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np

import harness
from advise_fit import LEAST_CONFIGURATIONS, SOURCES, fit, jobs
from nodewise.advice.knowledge import BROAD, FITTED, GENERAL, Effect, Knowledge
from nodewise.advice.methods import MethodFactory, method_named
from nodewise.advice.replay import replay
from nodewise.advice.search import PooledSearch
from nodewise.advice.traces import Workload, read_traces
from nodewise.core.progress import SILENT
from nodewise.specs.advice import MethodName, ReplayedSearch

SEEDS = 30
NEVER_FITTED = {"lynceus": "lynceus_tf.csv"}
METHODS: tuple[MethodName, ...] = ("random", "tpe", "cherrypick")
NONE = Effect(0.0, 1e-3)
UNSEEN = {
    part: (f"fitted without the {part}", f"fitted without the {part}, no broad half")
    for part in ("application", "source")
}
CHANGES: dict[str, dict[str, Any]] = {
    "without memory": {"short_of_memory": 1e-9, "memory": NONE},
    "without what failures say of memory": {"fails_when_short": BROAD.fails},
    "without prices": {"price": NONE},
    "without families and types": {"family": 1e-3, "instance_type": 1e-3},
    "without a smooth rest": {"smooth": 1e-3},
    "without effects: a blank process": dict.fromkeys(
        ("cores", "curvature", "node_size", "memory", "price", "shortage", "deeper_shortage"), Effect(0.0, 1.0)
    ),
}
ABLATIONS: dict[str, tuple[Knowledge, ...]] = {
    "without what was fitted": (BROAD,),
    "without the broad half": (FITTED,),
    **{name: tuple(replace(one, **changes) for one in GENERAL) for name, changes in CHANGES.items()},
}


def main() -> None:
    """Search, and write what came of it."""
    chosen = harness.options(__doc__ or "", rounds=SEEDS)
    sources = {source: traces_of(file) for source, file in {**SOURCES, **NEVER_FITTED}.items()}
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
    if not chosen.only:
        facts["searches"].update(unseen(sources))
    harness.write("advise", facts, {}, chosen.output)


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


def unseen(sources: dict[str, list[Workload]]) -> dict[str, dict[str, dict[str, float]]]:
    """Every workload with knowledge that was fitted without its application, and without its source."""
    all_jobs = jobs()
    without: dict[str, dict[str, list[ReplayedSearch]]] = {
        name: {source: [] for source in sources} for names in UNSEEN.values() for name in names
    }
    applications = sorted({one.application for one in all_jobs})
    parts = [("application", name) for name in applications] + [("source", name) for name in SOURCES]
    with ProcessPoolExecutor() as pool:
        fitted = pool.map(fit, [[job for job in all_jobs if getattr(job, part) != name] for part, name in parts])
        for (part, name), found in zip(parts, fitted, strict=True):
            print(f"fitted without the {part} {name}", file=sys.stderr, flush=True)
            for source, workloads in sources.items():
                own = [one for one in workloads if name == (one.workload if part == "application" else source)]
                for title, knowledge in zip(UNSEEN[part], ((found, BROAD), (found,)), strict=True):
                    without[title][source] += searched(own, partial(PooledSearch, knowledge=knowledge))
    return {
        name: {source: figures(searches) for source, searches in by_source.items() if searches}
        for name, by_source in without.items()
    }


if __name__ == "__main__":
    main()
