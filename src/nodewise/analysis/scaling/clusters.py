"""What runs were made on, or are asked about, as columns of numbers."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nodewise.analysis.regression import Array

__all__ = ["Clusters", "Names", "clusters_alike"]

Names = NDArray[np.str_]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Clusters:
    """Every column has shape (n,).

    Attributes:
        nodes: At least 1.
        data: Amount to work on, relative to the least.
        node_size: Cores of a node; 1 for all where they are not known.
        memory_gib: Of a node; None unless known of all.
        node_type, family: Nodes of one type are equal, those of one family alike.
    """

    nodes: Array
    data: Array
    node_size: Array
    memory_gib: Array | None
    node_type: Names
    family: Names

    @property
    def size(self) -> Array:
        """Of the whole cluster: its cores, or its nodes."""
        return np.asarray(self.nodes * self.node_size)

    @property
    def doublings_of_memory(self) -> Array | None:
        """log2 of the GiB of the whole cluster."""
        return None if self.memory_gib is None else np.asarray(np.log2(self.memory_gib * self.nodes))


def clusters_alike(nodes: Array, data: Array) -> Clusters:
    """Clusters of equal nodes."""
    same = np.full(len(nodes), "node")
    return Clusters(nodes=nodes, data=data, node_size=np.ones_like(nodes), memory_gib=None, node_type=same, family=same)
