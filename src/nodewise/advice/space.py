"""The configurations of a search as columns of numbers."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nodewise.core.errors import InputError
from nodewise.specs.advice import Configuration

__all__ = ["Observation", "SearchSpace", "family_of", "search_space"]

Array = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Observation:
    """A run on one configuration of the space.

    Attributes:
        index: Of the configuration.
        runtime_s: Of the job; of a run that failed, what it took until then.
        used_gib: Memory of the node that used most, times the nodes; None where nobody knows.
    """

    index: int
    runtime_s: float
    is_ok: bool = True
    used_gib: float | None = None


@dataclass(frozen=True, slots=True, eq=False)
class SearchSpace:
    """Columns have shape (n,), one row per configuration.

    Attributes:
        node_size: vCPUs of a node; where they are not known of all, prices in their place, scaled to a mean of 4; or 1.
        memory_gib: Of a node; None unless known of all.
        usd_per_hour: Of all nodes of a configuration together; None unless known of all.
    """

    configurations: tuple[Configuration, ...]
    nodes: Array
    node_size: Array
    memory_gib: Array | None
    usd_per_hour: Array | None

    def __len__(self) -> int:
        return len(self.configurations)

    @property
    def rates(self) -> Array:
        """US dollars per second of a run, shape (n,).

        Raises:
            InputError: The price of a configuration is not known.
        """
        if self.usd_per_hour is None:
            unpriced = next(one for one in self.configurations if not one.usd_per_node_hour)
            raise InputError(f"no price is known of {unpriced.instance_type}, so its cost cannot be compared")
        return self.usd_per_hour / 3600

    def cost_usd(self, observation: Observation) -> float:
        """What a run cost."""
        return float(self.rates[observation.index]) * observation.runtime_s


def search_space(configurations: Sequence[Configuration]) -> SearchSpace:
    """The space of these configurations, in their order.

    Raises:
        InputError: There is none, or one stands there twice.
    """
    if not configurations:
        raise InputError("there is no configuration to choose from")
    names = [one.name for one in configurations]
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise InputError(f"{twice.nodes} x {twice.instance_type} stands twice among the configurations")
    nodes = np.array([one.nodes for one in configurations], np.float64)
    price = _column([one.usd_per_node_hour or None for one in configurations])
    vcpus = _column([one.vcpus for one in configurations])
    if vcpus is None:
        vcpus = np.ones_like(nodes) if price is None else 4 * price / price.mean()
    return SearchSpace(
        configurations=tuple(configurations),
        nodes=nodes,
        node_size=vcpus,
        memory_gib=_column([one.memory_gib for one in configurations]),
        usd_per_hour=None if price is None else price * nodes,
    )


def family_of(instance_type: str) -> str:
    """The node type without its size: ``m4`` of ``m4.large``, ``n2-standard`` of ``n2-standard-4``,
    ``Standard_DS_v2`` of ``Standard_DS3_v2``.
    """
    if "." in instance_type:
        return instance_type.rpartition(".")[0]
    without = re.sub(r"-\d+$", "", instance_type)
    return without if without != instance_type else re.sub(r"(?<=[a-zA-Z])\d+", "", instance_type, count=1)


def _column(values: Sequence[float | None]) -> Array | None:
    return None if any(value is None for value in values) else np.array(values, np.float64)
