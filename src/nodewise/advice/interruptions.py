"""What a run is expected to take on nodes that a cloud may take back at any time.

Interruptions come at random (Poisson): one node's at a rate r, so those of any of a cluster's n nodes at L = n r, and
then the work since the last checkpoint is lost. A segment of w seconds of work takes on average

    e^(L R) (e^(L w) - 1) / L

with R seconds to go on again, which may be interrupted too (Daly, "A higher order estimate of the optimum checkpoint
interval for restart dumps", Future Generation Computer Systems 22, 2006, after Young, Communications of the ACM 17,
1974; Bougeret, Casanova, Rabie, Robert and Vivien, SC 2011). A run is one such segment, or with
checkpoints every tau seconds as many as there are in it. What writing checkpoints takes is part of the measured time.
An engine that only repeats the lost tasks, as Spark and Ray mostly do, loses less than this.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from nodewise.advice.space import Array
from nodewise.specs.advice_request import SpotSpec

__all__ = ["Interruptions", "break_even_per_hour"]

_HALVINGS = 60
_SHORTEST_LOG_S = -20.0
_RAREST_PER_HOUR, _MOST_PER_HOUR = 1e-9, 1e6


class Interruptions:
    """Those of every configuration of a space.

    Args:
        nodes: Of each configuration, shape (n,).
    """

    def __init__(self, spot: SpotSpec, nodes: Array) -> None:
        self._spot = spot
        self._per_s = nodes * spot.interruptions_per_hour / 3600

    def log_expected(self, log_s: Array) -> Array:
        """ln of the time that a run takes on average, from ln of what it takes uninterrupted; shape (..., n) both."""
        seconds, rate = np.exp(log_s), self._per_s
        if self._spot.checkpoint_s is None:
            work = _log_expm1(rate * seconds)
        else:
            whole = np.maximum(0.0, np.ceil(seconds / self._spot.checkpoint_s) - 1)
            last = seconds - whole * self._spot.checkpoint_s
            with np.errstate(divide="ignore"):
                segments = np.log(whole) + _log_expm1(rate * self._spot.checkpoint_s)
            work = np.logaddexp(segments, _log_expm1(rate * last))
        return np.asarray(rate * self._spot.restart_s + work - np.log(rate), np.float64)

    def log_longest(self, log_limit_s: Array) -> Array:
        """ln of the longest uninterrupted time that on average ends within a limit, shape (n,): the inverse."""
        # A run is never shorter for being interrupted, so the limit itself is the upper end.
        low, high = np.full_like(self._per_s, _SHORTEST_LOG_S), np.broadcast_to(log_limit_s, self._per_s.shape).copy()
        for _ in range(_HALVINGS):
            middle = (low + high) / 2
            is_within = self.log_expected(middle) <= log_limit_s
            low, high = np.where(is_within, middle, low), np.where(is_within, high, middle)
        return low


def break_even_per_hour(spot: SpotSpec, nodes: int, run_s: float, ratio: float) -> float:
    """How often one node may be interrupted per hour until a run takes so many times as long as uninterrupted.

    Args:
        run_s: Uninterrupted.
        ratio: Above 1.
    """
    cluster, log_s = np.array([float(nodes)]), np.array([np.log(run_s)])
    low, high = _RAREST_PER_HOUR, _MOST_PER_HOUR
    for _ in range(_HALVINGS):
        middle = float(np.sqrt(low * high))
        stretched = Interruptions(replace(spot, interruptions_per_hour=middle), cluster).log_expected(log_s) - log_s
        low, high = (middle, high) if stretched[0] < np.log(ratio) else (low, middle)
    return low


def _log_expm1(x: Array) -> Array:
    """ln(e^x - 1), for large x too."""
    return np.asarray(x + np.log(-np.expm1(-x)), np.float64)
