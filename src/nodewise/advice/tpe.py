"""The tree-structured Parzen estimator, as Optuna has it: what people take from the shelf."""

from __future__ import annotations

from collections.abc import Sequence

from nodewise.advice.methods import DEFAULT_RUNS, is_over
from nodewise.advice.space import Observation, SearchSpace
from nodewise.core.errors import MissingDependencyError

__all__ = ["TreeParzen"]


class TreeParzen:
    """Bergstra et al. 2011 ("Algorithms for hyper-parameter optimization"), by Optuna's ``TPESampler``.

    Node type and number of nodes are its two parameters. Pairs that are not in the space, or were run, are not run: it
    is told that they cost twice the dearest so far, or it would propose the best one again and again.

    Raises:
        MissingDependencyError: Optuna is not installed.
    """

    def __init__(self, space: SearchSpace, seed: int, max_runs: int | None) -> None:
        try:
            import optuna
        except ImportError:
            raise MissingDependencyError("method 'tpe' needs the package optuna", hint="pip install optuna") from None
        optuna.logging.set_verbosity(optuna.logging.ERROR)
        self._space = space
        self._max_runs = max_runs or DEFAULT_RUNS
        sampler = optuna.samplers.TPESampler(seed=seed, n_startup_trials=3)
        self._study = optuna.create_study(sampler=sampler)
        self._types = sorted({one.instance_type for one in space.configurations})
        self._counts = sorted({one.nodes for one in space.configurations})
        self._indices = {(one.instance_type, one.nodes): index for index, one in enumerate(space.configurations)}
        self._trial = None

    def propose(self, observed: Sequence[Observation]) -> int | None:
        if self._trial is not None:
            last = observed[-1]
            self._study.tell(self._trial, self._space.cost_usd(last) * (1 if last.is_ok else 2))
            self._trial = None
        if is_over(self._space, observed, self._max_runs):
            return None
        seen = {one.index for one in observed}
        costs = [self._space.cost_usd(one) for one in observed]
        while True:
            trial = self._study.ask()
            kind = trial.suggest_categorical("instance_type", self._types)
            count = trial.suggest_categorical("nodes", self._counts)
            index = self._indices.get((kind, count))
            if index is not None and index not in seen:
                self._trial = trial
                return index
            self._study.tell(trial, 2 * max(costs, default=1.0))
