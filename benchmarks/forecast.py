"""How far off are forecasts of run times on larger clusters, and how honest are their intervals?

On the public traces, from the three smallest node counts of each node type to all larger ones: nodewise, Ernest and
``a + b / n``. The two laws are fitted with non-negative coefficients, once to absolute and once to relative deviations,
and the better of the two counts. Of training on GPUs, from 1, 2 and 4 GPUs to 8 and 16.

The constants of nodewise's prior are round numbers that were chosen with these traces at hand. Whether they are only
good for these is asked by leaving one application out: each constant is halved and doubled, the variant that does best
on all other applications is chosen, and tried on the one that was left out (``chosen_without`` in the results).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import fmean, median
from types import ModuleType
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import nnls

import harness
from nodewise.advice.traces import Workload, read_traces
from nodewise.analysis.scaling import belief, family
from nodewise.core.progress import SILENT
from nodewise.runs.scaleout import replay_scale_out
from nodewise.runs.training_traces import TrainingTrace, read_training_traces
from nodewise.specs.advice import ScaleOutRow

SOURCES = {
    "Scout": "scout_multi_node.csv",
    "bbo-arena": "bbo_arena.csv",
    "C3O": "c3o.csv",
    "IBM multi-cloud": "ibm_multicloud.csv",
    "TU Berlin": "tuberlin_scaleout.csv",
    "CherryPick": "cherrypick.csv",
}
TRAINING = {"AdaptDL": "gpu_adaptdl.csv", "Gavel": "gpu_gavel.csv"}
ASKED_GPUS = (8, 16)
TRAIN_SMALLEST = 3
COVERAGES = (0.1, 0.3, 0.5, 0.7, 0.8, 0.9, 0.95)
CONSTANTS: dict[str, tuple[ModuleType, str]] = {
    "speed of families": (belief, "FAMILY"),
    "speed of types": (belief, "TYPE"),
    "gain of types": (belief, "TYPE_GAIN"),
    "degrees of freedom": (belief, "NOISE_DEGREES"),
    "chance of a step": (belief, "STEP_PER_DOUBLING"),
    "chance of tree": (family, "IS_TREE"),
    "chance of per_node": (family, "IS_PER_NODE"),
    "chance of lost": (family, "IS_LOST"),
    "chance of power": (family, "IS_POWER"),
}
MOST_CHANCE = 0.95

Array = NDArray[np.float64]


class Miss(NamedTuple):
    """The application of a row, and by which share its prediction was off."""

    application: str
    error: float


def main() -> None:
    options = harness.options(__doc__ or "", rounds=1)
    folder = harness.test_data() / "traces"
    sources = {name: folder / file for name, file in SOURCES.items() if (folder / file).is_file()}
    found = {name: of_source(path) for name, path in sources.items()}
    for name, misses in leave_one_out(sources).items():
        found[name]["chosen_without"] = accuracy(misses)
    training = {name: of_training(folder / file) for name, file in TRAINING.items() if (folder / file).is_file()}
    facts = {"train_smallest": TRAIN_SMALLEST, "sources": found, "training": training}
    harness.write("forecast", facts, {}, options.output)


def of_source(path: Path) -> dict[str, Any]:
    workloads = read_traces(path)
    laws = {
        name: min((accuracy(list(by_law(workloads, name, is_relative))) for is_relative in (False, True)), key=mean_of)
        for name in LAWS
    }
    rows = replay(path)
    return {
        "applications": len({row.workload for row in rows}),
        "workloads": len({(row.workload, row.framework, row.dataset) for row in rows}),
        "rows": len(rows),
        "errors": {**laws, "nodewise": accuracy(misses_of(rows))},
        "covered": {str(share): covered(replay(path, share)) for share in COVERAGES},
    }


def replay(path: Path, coverage: float = belief.COVERAGE) -> tuple[ScaleOutRow, ...]:
    return replay_scale_out(path, TRAIN_SMALLEST, SILENT, coverage).rows


def misses_of(rows: tuple[ScaleOutRow, ...]) -> list[Miss]:
    return [Miss(row.workload, row.error) for row in rows]


def covered(rows: tuple[ScaleOutRow, ...]) -> float:
    return fmean(row.low_s <= row.measured_s <= row.high_s for row in rows)


def accuracy(misses: list[Miss]) -> dict[str, float]:
    errors = [miss.error for miss in misses]
    return {"mean": fmean(errors), "median": median(errors)}


def mean_of(errors: dict[str, float]) -> float:
    return errors["mean"]


# --- the laws ---------------------------------------------------------------------------------------------------------


def ernest(n: Array) -> Array:
    return np.stack([np.ones_like(n), 1 / n, np.log(n), n], axis=1)


def a_plus_b_over_n(n: Array) -> Array:
    return np.stack([np.ones_like(n), 1 / n], axis=1)


LAWS = {"Ernest": ernest, "a + b/n": a_plus_b_over_n}


def by_law(workloads: list[Workload], law: str, is_relative: bool) -> Iterator[Miss]:
    """Each node type of each workload alone."""
    for workload in workloads:
        curves: dict[str, list[tuple[float, float]]] = defaultdict(list)
        for one in workload.measured:
            if one.is_ok:
                curves[one.configuration.instance_type].append((one.configuration.nodes, one.runtime_s))
        for points in curves.values():
            nodes, seconds = np.array(sorted(points)).T
            known, asked = slice(None, TRAIN_SMALLEST), slice(TRAIN_SMALLEST, None)
            predicted = fit(law, nodes[known], seconds[known], nodes[asked], is_relative)
            for error in np.abs(predicted / seconds[asked] - 1):
                yield Miss(workload.workload, float(error))


def fit(law: str, n: Array, seconds: Array, asked: Array, is_relative: bool) -> Array:
    weights = 1 / seconds if is_relative else np.ones_like(seconds)
    coefficients, _ = nnls(LAWS[law](n) * weights[:, None], seconds * weights)
    return np.asarray(LAWS[law](asked) @ coefficients)


# --- training ---------------------------------------------------------------------------------------------------------


def of_training(path: Path) -> dict[str, Any]:
    """The laws see numbers of GPUs, however they are placed."""
    jobs = read_training_traces(path)
    laws = {
        name: min((accuracy(list(trained(jobs, name, is_relative))) for is_relative in (False, True)), key=mean_of)
        for name in LAWS
    }
    rows = tuple(row for row in replay(path) if row.gpus in ASKED_GPUS)
    per_s = [Miss(row.workload, abs(row.measured_s / row.predicted_s - 1)) for row in rows]
    return {
        "jobs": len({(row.workload, row.dataset, row.instance_type) for row in rows}),
        "rows": len(rows),
        "errors": {**laws, "nodewise": accuracy(misses_of(rows))},
        "errors_of_rates": accuracy(per_s),
        "covered": {
            str(share): covered(tuple(row for row in replay(path, share) if row.gpus in ASKED_GPUS))
            for share in COVERAGES
        },
    }


def trained(jobs: list[TrainingTrace], law: str, is_relative: bool) -> Iterator[Miss]:
    for job in jobs:
        powers = sorted({one.gpus for one in job.measured if one.gpus.bit_count() == 1})[:TRAIN_SMALLEST]
        known = np.array([(one.gpus, one.runtime_s) for one in job.measured if one.gpus in powers], np.float64)
        asked = [one for one in job.measured if one.gpus in ASKED_GPUS and one.gpus > powers[-1]]
        for one in asked:
            (predicted,) = fit(law, *known.T, np.array([float(one.gpus)]), is_relative)
            yield Miss(job.workload, abs(float(predicted) / one.runtime_s - 1))


# --- leaving one application out --------------------------------------------------------------------------------------


def leave_one_out(sources: dict[str, Path]) -> dict[str, list[Miss]]:
    """The misses of each source, those of an application by the variant that is best for all others."""
    variants = [everything(sources, None, 1.0)]
    variants += [everything(sources, name, factor) for name in CONSTANTS for factor in (0.5, 2.0)]
    found: dict[str, list[Miss]] = {name: [] for name in sources}
    for source in sources:
        for application in sorted({miss.application for miss in variants[0][source]}):
            best = min(variants, key=lambda variant: score(variant, variants[0], (source, application)))
            found[source] += [miss for miss in best[source] if miss.application == application]
    return found


def everything(sources: dict[str, Path], constant: str | None, factor: float) -> dict[str, list[Miss]]:
    with changed(constant, factor):
        return {name: misses_of(replay(path)) for name, path in sources.items()}


def score(variant: dict[str, list[Miss]], usual: dict[str, list[Miss]], but: tuple[str, str]) -> float:
    """Mean over the sources of the mean error, over that with the usual constants; one application left out."""

    def error(misses: dict[str, list[Miss]], source: str) -> float:
        return fmean(miss.error for miss in misses[source] if (source, miss.application) != but)

    others = [source for source in usual if any((source, miss.application) != but for miss in usual[source])]
    return fmean(error(variant, source) / error(usual, source) for source in others)


@contextmanager
def changed(constant: str | None, factor: float) -> Iterator[None]:
    """A constant of the prior times the factor; a probability stays below 1."""
    if constant is None:
        yield
        return
    module, name = CONSTANTS[constant]
    usual = getattr(module, name)
    setattr(module, name, min(usual * factor, MOST_CHANCE) if constant.startswith("chance") else usual * factor)
    family.prior_shapes.cache_clear()
    belief._precisions.cache_clear()
    try:
        yield
    finally:
        setattr(module, name, usual)
        family.prior_shapes.cache_clear()
        belief._precisions.cache_clear()


if __name__ == "__main__":
    main()
