"""Ways to search, all behind one protocol, so that they are measured by the same code."""

from __future__ import annotations

from collections.abc import Callable, Sequence, Sized
from typing import Protocol

import numpy as np

from nodewise.advice.space import Observation, SearchSpace
from nodewise.specs.advice import MethodName

__all__ = ["DEFAULT_RUNS", "MethodFactory", "SearchMethod", "is_over", "method_named"]

DEFAULT_RUNS = 10
"""Of methods that have no rule of their own for when to stop."""


class SearchMethod(Protocol):
    """Searches one space for the configuration on which a job costs least."""

    def propose(self, observed: Sequence[Observation]) -> int | None:
        """The configuration to run on next, none of those observed; None: the search is over."""


MethodFactory = Callable[[SearchSpace, int, int | None], SearchMethod]
"""Of the space, the seed, and the most runs to make, or None for the method's own rule."""


def method_named(name: MethodName) -> MethodFactory:
    """The method of that name."""
    match name:
        case "nodewise":
            from nodewise.advice.search import PooledSearch

            return PooledSearch
        case "cherrypick":
            from nodewise.advice.cherrypick import CherryPick

            return CherryPick
        case "tpe":
            from nodewise.advice.tpe import TreeParzen

            return TreeParzen
        case "random":
            return RandomSearch


class RandomSearch:
    """Any configuration, each as likely as the others."""

    def __init__(self, space: SearchSpace, seed: int, max_runs: int | None) -> None:
        self._order = [int(index) for index in np.random.default_rng(seed).permutation(len(space))]
        self._max_runs = max_runs or DEFAULT_RUNS

    def propose(self, observed: Sequence[Observation]) -> int | None:
        return None if is_over(self._order, observed, self._max_runs) else self._order[len(observed)]


def is_over(configurations: Sized, observed: Sequence[Observation], max_runs: int) -> bool:
    """Whether all was run, or as much as may be and at least one run ended well: without one there is no choice."""
    if len(observed) >= len(configurations):
        return True
    return len(observed) >= max_runs and any(one.is_ok for one in observed)
