"""Which general knowledge of jobs makes the public traces most likely? Prints it for ``nodewise.advice.knowledge``.

The parameters of the prior are those that maximise the density of runs that ended well (type-II maximum likelihood:
Rasmussen and Williams, "Gaussian Processes for Machine Learning", chapter 5.4), from ``BROAD`` on. Of each workload it
is the density of 16 runs drawn at random, 12 times over: a search never knows more, and what makes all runs together
likely is mostly how the last ones follow from the others. Every application of a source counts the same. What a
shortage of memory does is not fitted: only two applications have one, and fitted without these it would be next to
nothing. ``--leave-out APPLICATION`` fits without the workloads of one application, which are then unseen.
"""

from __future__ import annotations

import argparse
import math
from collections import Counter
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch

from harness import test_data
from nodewise.advice.belief import Belief
from nodewise.advice.features import Features
from nodewise.advice.knowledge import BROAD, Effect, Knowledge
from nodewise.advice.space import Observation, SearchSpace, search_space
from nodewise.advice.traces import read_traces

SOURCES = {"scout": "scout_multi_node.csv", "bbo": "bbo_arena.csv", "c3o": "c3o.csv", "ibm": "ibm_multicloud.csv"}
LEAST_CONFIGURATIONS = 12
MOST_RUNS = 16
NUM_DRAWS = 12
KEPT_NEAR = 0.1
"""Weight of the squared distance from where the fit began, which settles what the traces leave open."""
ROUNDS = 40
EFFECTS = ("cores", "curvature", "node_size", "memory", "price")
OTHERS = ("family", "instance_type", "smooth", "smooth_cluster", "smooth_node", "noise")
JITTER = 1e-5
"""Variance that keeps covariances positive definite on the way."""

torch.set_default_dtype(torch.float64)
torch.set_num_threads(1)  # of such small matrices more take longer


@dataclass(frozen=True)
class Job:
    """Runs of a workload that ended well, drawn several times: each draw as a space of its own."""

    source: str
    application: str
    draws: tuple[tuple[SearchSpace, tuple[Observation, ...]], ...]


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--leave-out", metavar="APPLICATION", help="fit without it")
    chosen = parser.parse_args()
    print(fit([job for job in jobs() if job.application != chosen.leave_out]))


def jobs(seed: int = 0) -> list[Job]:
    """Of the workloads that are large enough."""
    draw = np.random.default_rng(seed)
    found = []
    for source, file in SOURCES.items():
        for workload in read_traces(test_data() / "traces" / file):
            well = [one for one in workload.measured if one.is_ok]
            if len(well) < LEAST_CONFIGURATIONS:
                continue
            draws = []
            for _ in range(NUM_DRAWS):
                drawn = [well[index] for index in sorted(draw.permutation(len(well))[:MOST_RUNS])]
                space = search_space([one.configuration for one in drawn])
                draws.append((space, tuple(Observation(index, one.runtime_s) for index, one in enumerate(drawn))))
            found.append(Job(source, workload.workload, tuple(draws)))
    return found


def fit(some: list[Job]) -> Knowledge:
    """The knowledge that makes these runs most likely."""
    counts = Counter((job.source, job.application) for job in some)
    densities = [
        (_Density(space, observed), 1 / counts[job.source, job.application] / len(job.draws))
        for job in some
        for space, observed in job.draws
    ]
    _check(densities[0][0], *some[0].draws[0])
    first = encode(BROAD)
    vector = first.clone().requires_grad_(True)
    search = torch.optim.LBFGS([vector], max_iter=ROUNDS, history_size=20, line_search_fn="strong_wolfe")

    def loss() -> torch.Tensor:
        search.zero_grad()
        total = KEPT_NEAR * ((vector - first) ** 2).sum()
        for density, weight in densities:
            total = total - weight * density(vector)
        total.backward()  # type: ignore[no-untyped-call]
        return total

    search.step(loss)  # type: ignore[no-untyped-call]
    return decode(vector.detach())


def encode(known: Knowledge) -> torch.Tensor:
    """Means as they are, deviations and lengths as logarithms."""
    effects = [getattr(known, name) for name in EFFECTS]
    numbers = [number for one in effects for number in (one.mean, math.log(one.deviation))]
    return torch.tensor([*numbers, *(math.log(getattr(known, name)) for name in OTHERS)])


def decode(vector: torch.Tensor) -> Knowledge:
    values = vector.tolist()
    found: dict[str, Any] = {
        name: Effect(values[2 * place], math.exp(values[2 * place + 1])) for place, name in enumerate(EFFECTS)
    }
    found |= {name: math.exp(value) for name, value in zip(OTHERS, values[2 * len(EFFECTS) :], strict=True)}
    return replace(BROAD, **found)


class _Density:
    """ln(density) of runs as a function of the knowledge: that of :meth:`Belief.log_evidence`, but with gradients.

    Args:
        observed: One run of every configuration of the space.
    """

    def __init__(self, space: SearchSpace, observed: tuple[Observation, ...]) -> None:
        features = Features(space)
        needs = features.needs(BROAD)
        columns = [np.hstack([features.columns, features.shortage_columns(need)]) for need, _ in needs]
        self._columns = torch.tensor(np.stack(columns))  # (needs, n, effects)
        self._log_chances = torch.tensor(np.log([chance for _, chance in needs]))
        self._same = [torch.tensor(names[:, None] == names[None, :]) for names in (features.families, features.types)]
        self._squares = [
            torch.tensor((column[:, None] - column[None, :]) ** 2) for column in (features.cluster, features.node)
        ]
        self._log_s = torch.tensor(np.log([one.runtime_s for one in observed]))

    def __call__(self, vector: torch.Tensor) -> torch.Tensor:
        count, of_effects = len(self._log_s), 2 * len(EFFECTS)
        memory = torch.tensor([[one.mean, one.deviation] for one in (BROAD.shortage, BROAD.deeper_shortage)])
        means = torch.cat([vector[0:of_effects:2], memory[:, 0]])
        deviations = torch.cat([vector[1:of_effects:2].exp(), memory[:, 1]])
        family, instance_type, smooth, smooth_cluster, smooth_node, noise = vector[of_effects:].exp()
        distances = self._squares[0] / smooth_cluster**2 + self._squares[1] / smooth_node**2
        common = BROAD.level.deviation**2 + family**2 * self._same[0] + instance_type**2 * self._same[1]
        common = common + smooth**2 * torch.exp(-distances / 2) + (noise**2 + JITTER) * torch.eye(count)
        scaled = self._columns * deviations
        lower = torch.linalg.cholesky(common + scaled @ scaled.transpose(-1, -2))
        left = (self._log_s - BROAD.level.mean - self._columns @ means).unsqueeze(-1)
        residual = torch.linalg.solve_triangular(lower, left, upper=False).squeeze(-1)
        log_roots = torch.log(torch.diagonal(lower, dim1=-2, dim2=-1)).sum(-1)
        logs = -0.5 * (residual**2).sum(-1) - log_roots - 0.5 * count * math.log(2 * math.pi)
        return torch.logsumexp(logs + self._log_chances, 0)


def _check(density: _Density, space: SearchSpace, observed: tuple[Observation, ...]) -> None:
    """The formula stands here for the second time, so that it has gradients: is it still the same?"""
    with torch.no_grad():
        mine, theirs = float(density(encode(BROAD))), Belief(space, [BROAD]).log_evidence(observed)
    if not math.isclose(mine, theirs, rel_tol=1e-3):
        raise AssertionError(f"ln(density) is {mine} here and {theirs} in nodewise.advice.belief")


if __name__ == "__main__":
    main()
