"""The normal distribution over arrays."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["mixture_quantile", "normal_cdf", "normal_pdf"]

Array = NDArray[np.float64]

REACH = 8.0
"""Deviations from the mean beyond which nothing is looked for."""
HALVINGS = 40


def normal_cdf(z: Array) -> Array:
    """The probability that a standard normal variable is at most ``z``."""
    from scipy.special import ndtr

    return np.asarray(ndtr(z), np.float64)


def normal_pdf(z: Array) -> Array:
    """The density of the standard normal distribution."""
    return np.asarray(np.exp(-(z**2) / 2) / np.sqrt(2 * np.pi), np.float64)


def mixture_quantile(means: Array, deviations: Array, share: float, weights: Array | None = None) -> Array:
    """The values below which this share of mixtures of normal distributions lies, shape (n,), by bisection.

    Args:
        means, deviations: Of k normal distributions for each of n mixtures, shape (k, n).
        weights: Shape (k,), 1 together; None: all equal.
    """
    equal = np.full(len(means), 1 / len(means)) if weights is None else weights
    low = (means - REACH * deviations).min(axis=0)
    high = (means + REACH * deviations).max(axis=0)
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        is_below = equal @ normal_cdf((middle - means) / deviations) < share
        low, high = np.where(is_below, middle, low), np.where(is_below, high, middle)
    return np.asarray((low + high) / 2)
