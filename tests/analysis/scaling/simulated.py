"""Jobs whose law is known, with runs that scatter."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from nodewise.analysis.regression import Array

Curve = Callable[[Array], Array]


def amdahl(random: np.random.Generator) -> Curve:
    serial = random.uniform(0.02, 0.3)
    return lambda n: 100 * (serial + (1 - serial) / n)


def usl(random: np.random.Generator) -> Curve:
    contention, coherency = random.uniform(0.01, 0.15), 10 ** random.uniform(-3.5, -2)
    return lambda n: 100 / n * (1 + contention * (n - 1) + coherency * n * (n - 1))


def ernest(random: np.random.Generator) -> Curve:
    serial, tree, per_node = random.uniform(0.01, 0.2), 10 ** random.uniform(-2, -1), 10 ** random.uniform(-3, -2)
    return lambda n: 100 * (serial + (1 - serial) / n + tree * np.log(n) + per_node * n)


SHAPES = {"amdahl": amdahl, "usl": usl, "ernest": ernest}


def measured_counts(random: np.random.Generator) -> Array:
    """Three to five numbers of nodes, doubling from 1, 2 or 4 on."""
    fewest = int(random.choice([1, 2, 4]))
    return fewest * 2.0 ** np.arange(random.integers(3, 6))


def runs_of(curve: Curve, counts: Array, noise: float, random: np.random.Generator) -> Array:
    """One time per number of nodes."""
    return np.asarray(curve(counts) * np.exp(noise * random.standard_normal(len(counts))))
