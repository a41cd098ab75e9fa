"""Run times that a run stays below with some probability."""

from __future__ import annotations

from nodewise.advice.belief import Posterior
from nodewise.advice.space import Array
from nodewise.core.normal import mixture_quantile

__all__ = ["HIGH", "LOW", "MIDDLE", "quantiles"]

LOW, MIDDLE, HIGH = 0.05, 0.5, 0.95


def quantiles(posterior: Posterior, shares: tuple[float, ...]) -> list[Array]:
    """The logarithm of the time that a run stays below with each probability, for every configuration, shape (n,)."""
    return [mixture_quantile(posterior.means, posterior.deviations, share, posterior.weights) for share in shares]
