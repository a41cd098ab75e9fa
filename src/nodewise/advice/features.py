"""What distinguishes the configurations of a space, as columns of numbers: of these a belief about a job is made."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from nodewise.advice.knowledge import Effect, Knowledge
from nodewise.advice.space import Array, SearchSpace, family_of

__all__ = ["Features"]

_MOST_NEEDS = 12
"""Memory sizes that a job may need, spread evenly over those of the space."""
_USED_SHARE = 0.7


class Features:
    """What is known of the n configurations of a space.

    Attributes:
        cluster, node: Size of the cluster and of its nodes, in doublings, from the mean of the space, shape (n,).
        families, types: Names, shape (n,).
    """

    def __init__(self, space: SearchSpace) -> None:
        node = np.log2(space.node_size)
        cluster = node + np.log2(space.nodes)
        price = np.zeros_like(node)
        if space.usd_per_hour is not None:
            price = np.log2(space.usd_per_hour / space.nodes) - node
        self.cluster, self.node, self._price = (_centred(column) for column in (cluster, node, price))
        self._total_memory: Array | None = None
        self._memory = np.zeros(len(space))
        if space.memory_gib is not None:
            self._total_memory = np.log2(space.memory_gib * space.nodes)
            self._memory = _centred(np.log2(space.memory_gib) - node)
        types = [one.instance_type for one in space.configurations]
        self.types, self.families = np.array(types), np.array([family_of(name) for name in types])

    def needs(self, knowledge: Knowledge) -> list[tuple[float | None, float]]:
        """Memory that the job may need, as log2 of GiB, each with its probability; None: no more than there is."""
        if self._total_memory is None or np.ptp(self._total_memory) == 0:
            return [(None, 1.0)]
        sizes = np.unique(self._total_memory.round(2))
        between = (sizes[1:] + sizes[:-1]) / 2
        sizes = np.unique(np.quantile(between, np.linspace(0, 1, _MOST_NEEDS), method="nearest"))
        share = knowledge.short_of_memory / len(sizes)
        return [(None, 1 - knowledge.short_of_memory), *((float(size), share) for size in sizes)]

    def is_short(self, need: float | None) -> NDArray[np.bool_]:
        """Where a job lacks memory that needs so much."""
        return self._lacking(need) > 0

    def least_used_gib(self, need: float | None) -> Array:
        """Memory of the whole cluster that a run will hardly use less than: a share of the need, or of what there is.

        A job that lacks memory fills what there is, and one that does not holds its working set at least; more says
        nothing, since caches and collectors of garbage take what they get. Sizing memory by what a run used is the idea
        of Will et al., "Ruya" and "Crispy" (2022).
        """
        if need is None or self._total_memory is None:
            return np.zeros_like(self.cluster)
        return _USED_SHARE * np.exp2(np.minimum(need, self._total_memory))

    def _lacking(self, need: float | None) -> Array:
        """Memory that is missing, in halvings."""
        if need is None or self._total_memory is None:
            return np.zeros_like(self.cluster)
        return np.maximum(0.0, need - self._total_memory)

    @property
    def columns(self) -> Array:
        """What times depend on where memory does not matter, shape (n, 5)."""
        return np.stack([self.cluster, self.cluster**2 / 4, self.node, self._memory, self._price], axis=1)

    def shortage_columns(self, need: float | None) -> Array:
        """What a need of memory adds, shape (n, 2)."""
        short = self._lacking(need)
        return np.stack([np.sign(short), short], axis=1)

    def effects(self, knowledge: Knowledge) -> tuple[Array, Array]:
        """Mean and covariance where memory does not matter, shapes (n,) and (n, n)."""
        k = knowledge
        return _weighted_sum(self.columns, [k.cores, k.curvature, k.node_size, k.memory, k.price])

    def shortage(self, knowledge: Knowledge, need: float | None) -> tuple[Array, Array]:
        """Mean and covariance of what a need of memory adds, shapes (n,) and (n, n)."""
        return _weighted_sum(self.shortage_columns(need), [knowledge.shortage, knowledge.deeper_shortage])

    def common_covariance(self, knowledge: Knowledge) -> Array:
        """Of families, of types, and of the smooth rest; shape (n, n)."""
        distance = (_differences(self.cluster) / knowledge.smooth_cluster) ** 2
        distance += (_differences(self.node) / knowledge.smooth_node) ** 2
        return np.asarray(
            knowledge.family**2 * _same(self.families)
            + knowledge.instance_type**2 * _same(self.types)
            + knowledge.smooth**2 * np.exp(-distance / 2)
        )


def _weighted_sum(columns: Array, effects: Sequence[Effect]) -> tuple[Array, Array]:
    scaled = columns * [one.deviation for one in effects]
    return np.asarray(columns @ [one.mean for one in effects]), scaled @ scaled.T


def _centred(column: Array) -> Array:
    return np.asarray(column - column.mean())


def _differences(column: Array) -> Array:
    return np.asarray(column[:, None] - column[None, :])


def _same(names: NDArray[np.str_]) -> Array:
    return np.asarray(names[:, None] == names[None, :], np.float64)
