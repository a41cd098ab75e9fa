"""Which general knowledge of jobs makes the public traces most likely? Prints it for ``nodewise.advice.knowledge``.

The parameters of the prior are those that maximise the density of all run times of the traces that ended well (type-II
maximum likelihood: Rasmussen and Williams, "Gaussian Processes for Machine Learning", chapter 5.4), every source
counting as the square root of its number of workloads. ``--leave-out APPLICATION`` fits without the workloads of one
application, which are then unseen.
"""

from __future__ import annotations

import argparse
import json
import math
from collections import Counter
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize

from harness import test_data
from nodewise.advice.belief import Belief
from nodewise.advice.knowledge import GENERAL, Effect, Knowledge
from nodewise.advice.space import Observation, SearchSpace, search_space
from nodewise.advice.traces import read_traces

SOURCES = {"scout": "scout_multi_node.csv", "bbo": "bbo_arena.csv", "c3o": "c3o.csv", "ibm": "ibm_multicloud.csv"}
LEAST_CONFIGURATIONS = 12
MOST_RUNS = 48
"""Of a workload, drawn at random: all of them would say the same and take ten times as long."""
KEPT_NEAR = 0.1
"""Weight of the squared distance from where the fit began, which settles what the traces leave open."""

Array = NDArray[np.float64]

VAGUE = replace(
    GENERAL,
    level=Effect(6.0, 2.0),
    cores=Effect(-0.5, 0.3),
    curvature=Effect(0.0, 0.3),
    node_size=Effect(0.0, 0.2),
    memory=Effect(0.0, 0.2),
    price=Effect(-0.5, 0.3),
    shortage=Effect(0.7, 0.5),
    deeper_shortage=Effect(0.0, 0.2),
    short_of_memory=0.3,
    family=0.2,
    instance_type=0.2,
    smooth=0.2,
    smooth_cluster=2.0,
    smooth_node=2.0,
    noise=0.1,
)
"""What one may think without having looked at the traces."""


@dataclass(frozen=True)
class Job:
    """The runs of a workload that ended well."""

    source: str
    application: str
    space: SearchSpace
    observed: tuple[Observation, ...]


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--leave-out", metavar="APPLICATION", help="fit without it")
    parser.add_argument("--output", type=Path, help="JSON file for the knowledge")
    chosen = parser.parse_args()
    known = fit([job for job in jobs() if job.application != chosen.leave_out])
    print(known)
    if chosen.output:
        chosen.output.write_text(json.dumps(encode(known).tolist()))


def jobs(seed: int = 0) -> list[Job]:
    """Of the workloads that are large enough."""
    draw = np.random.default_rng(seed)
    found = []
    for source, file in SOURCES.items():
        for workload in read_traces(test_data() / "traces" / file):
            well = [index for index, one in enumerate(workload.measured) if one.is_ok]
            if len(well) < LEAST_CONFIGURATIONS:
                continue
            space = search_space([one.configuration for one in workload.measured])
            chosen = sorted(draw.permutation(well)[:MOST_RUNS])
            observed = tuple(Observation(int(index), workload.measured[index].runtime_s) for index in chosen)
            found.append(Job(source, workload.workload, space, observed))
    return found


def fit(some: list[Job], start: Knowledge = GENERAL, rounds: int = 60) -> Knowledge:
    counts = Counter(job.source for job in some)
    first = encode(start)

    def objective(vector: Array) -> float:
        known = decode(vector)
        total = KEPT_NEAR * float(((vector - first) ** 2).sum())
        for job in some:
            try:
                evidence = Belief(job.space, known).log_evidence(job.observed)
            except np.linalg.LinAlgError:
                return 1e12
            total -= evidence / len(job.observed) * 20 / math.sqrt(counts[job.source])
        return total

    found = minimize(objective, first, method="L-BFGS-B", options={"maxiter": rounds, "maxfun": 4000})
    return decode(found.x)


def encode(known: Knowledge) -> Array:
    """Means as they are, deviations as logarithms, the probability as log odds."""
    vector = []
    for name, value in _values(known):
        if isinstance(value, Effect):
            vector += [value.mean, math.log(value.deviation)]
        else:
            vector.append(math.log(value / (1 - value)) if name == "short_of_memory" else math.log(value))
    return np.array(vector)


def decode(vector: Array) -> Knowledge:
    left = iter(vector.tolist())
    changes: dict[str, Any] = {}
    for name, value in _values(GENERAL):
        if isinstance(value, Effect):
            changes[name] = Effect(next(left), math.exp(next(left)))
        else:
            number = next(left)
            changes[name] = 1 / (1 + math.exp(-number)) if name == "short_of_memory" else math.exp(number)
    return replace(GENERAL, **changes)


def _values(known: Knowledge) -> list[tuple[str, Any]]:
    return [(field.name, getattr(known, field.name)) for field in fields(known)]


if __name__ == "__main__":
    main()
