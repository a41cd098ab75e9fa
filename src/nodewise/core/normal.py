"""The normal distribution over arrays."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["normal_cdf", "normal_pdf"]

Array = NDArray[np.float64]


def normal_cdf(z: Array) -> Array:
    """The probability that a standard normal variable is at most ``z``."""
    from scipy.special import ndtr

    return np.asarray(ndtr(z), np.float64)


def normal_pdf(z: Array) -> Array:
    """The density of the standard normal distribution."""
    return np.asarray(np.exp(-(z**2) / 2) / np.sqrt(2 * np.pi), np.float64)
