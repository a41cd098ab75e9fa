"""Strategy ``parameter-server``: which server holds which parameters, and what the workers are given."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from nodewise.training.plan import TrainPlan

__all__ = ["ServerPayload", "split_sizes"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerPayload:
    """What every worker is given.

    Attributes:
        servers: Ray actors of :class:`~nodewise.training.parameter_store.ParameterStore`.
        parts: The names of the parameters that each of them holds, in the model's order.
        coordinator: Ray actor of :class:`~nodewise.training.coordinator.Coordinator`.
    """

    plan: TrainPlan
    servers: tuple[Any, ...]
    parts: tuple[tuple[str, ...], ...]
    coordinator: Any


def split_sizes(sizes: Sequence[int], num_parts: int) -> list[list[int]]:
    """Share out things of these sizes so that all parts are about as large.

    The largest first, each to the part that has least so far: at most a third larger than the best split (Graham 1969).

    Returns:
        The places of each part's things in ``sizes``, ascending. No more parts than things; none is empty.
    """
    parts: list[list[int]] = [[] for _ in range(min(num_parts, len(sizes)))]
    loads = [0] * len(parts)
    for index in sorted(range(len(sizes)), key=lambda place: -sizes[place]):
        lightest = loads.index(min(loads))
        parts[lightest].append(index)
        loads[lightest] += sizes[index]
    return [sorted(part) for part in parts]
