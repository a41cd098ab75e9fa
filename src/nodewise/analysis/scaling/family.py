"""One family that holds Amdahl's law, Gustafson's, the Universal Scalability Law, Ernest's, and what these leave out.

    t = T ((1 - serial) s / y**power + serial + tree log x + per_node (x - 1))

``x`` is the size of the cluster, in cores, over that of the smallest one that was measured; ``y`` is the same less the
nodes that are ``lost`` to the driver, which are part of one node. ``s`` is the data relative to the least. ``power``
below 1 is for work that spreads unevenly, ``lost`` above 0 for a cluster on which the driver, or the application
master, takes a node's place for tasks.

Prior: ``serial`` is u**2 with u uniform in [0, 1), so small values are likelier. ``tree`` and ``per_node`` are 0 with
probabilities of 0.5 and 0.6, else equally likely in every decade of a range. ``lost`` is 0 with a probability of 0.5,
else uniform up to a whole node; ``power`` is 1 with one of 0.4, else uniform from one half up.
"""

from __future__ import annotations

from functools import cache

import numpy as np

from nodewise.analysis.regression import Array
from nodewise.analysis.scaling.clusters import Clusters

__all__ = ["NUM_POINTS", "log_shape", "prior_shapes"]

NUM_POINTS = 1 << 10
TREE = (0.005, 0.5)
PER_NODE = (0.0005, 0.1)
"""Ranges as shares of ``T``, where they are not 0."""
IS_TREE, IS_PER_NODE, IS_LOST, IS_POWER = 0.5, 0.4, 0.5, 0.6
"""Probability that each is not left out."""
LEAST_POWER = 0.5


@cache
def prior_shapes() -> Array:
    """``serial``, ``tree``, ``per_node``, ``lost`` and ``power`` of points that cover the prior evenly, shape (k, 5).

    They are always the same (Roberts, "The unreasonable effectiveness of quasirandom sequences", 2018), so equal runs
    give equal answers.
    """
    # The only real root of g**6 = g + 1: in five dimensions the powers of 1 / g fill the cube most evenly.
    ratio = 1.13472413840151949261
    u = ((0.5 + np.arange(1, NUM_POINTS + 1)[:, None] * ratio ** -np.arange(1.0, 6.0)) % 1).T
    power = 1 - (1 - LEAST_POWER) * _unless_left_out(u[4], IS_POWER)
    columns = [
        u[0] ** 2,
        _by_decades(_unless_left_out(u[1], IS_TREE), *TREE),
        _by_decades(_unless_left_out(u[2], IS_PER_NODE), *PER_NODE),
        _unless_left_out(u[3], IS_LOST),
        power,
    ]
    return np.stack(columns, axis=1)


def log_shape(shapes: Array, clusters: Clusters, least_size: float) -> Array:
    """The logarithm of t / T of each point and cluster, shape (k, n)."""
    serial, tree, per_node, lost, power = (column[:, None] for column in shapes.T)
    x = clusters.size / least_size
    # The only node of a cluster does the driver's work beside its own.
    y = np.maximum(clusters.nodes - lost, 1) * clusters.node_size / least_size
    # On smaller clusters than any that was measured there is less to combine and to hand out, but never less than
    # nothing.
    rest = np.maximum(serial + tree * np.log(x) + per_node * (x - 1), 0)
    return np.asarray(np.log((1 - serial) * clusters.data / y**power + rest))


def _unless_left_out(u: Array, probability: float) -> Array:
    """0 but for the upper part of ``u``, which is stretched to reach from above 0 to 1."""
    return np.maximum(0, (u - (1 - probability)) / probability)


def _by_decades(u: Array, lowest: float, highest: float) -> Array:
    """0 for 0, else from the lowest to the highest in equal ratios."""
    return np.where(u > 0, lowest * (highest / lowest) ** u, 0.0)
