"""Whether a cluster keeps up with a stream, from how long it takes for a batch: a queue with many servers.

The job handles a batch of N records in T seconds on a cluster with c slots (vCPUs of all nodes). As a stream the same
records arrive one at a time, and each takes one slot for cT/N seconds on average: mu = N/T records a second is the
most that the cluster can do. Its start-up is in T, so this is rather less than it can do.

The model is the queue M/M/c (Erlang 1917; Gross, Shortle, Thompson and Harris, "Fundamentals of Queueing Theory", 4th
ed. 2008, section 2.3; Allen, "Probability, Statistics and Queueing Theory", 2nd ed. 1990, chapter 5): arrivals at
random (Poisson) at rate lambda, times in a slot that are exponential, one queue for all slots. Records that take more
equal times than these wait less (Kingman 1961; Allen and Cunneen: in proportion to half of one plus the squared
coefficient of variation), so the answer is on the safe side for them; bursts of arrivals make it worse. Records that
one slot must handle in their order, and batches that an engine collects first, are not in it.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike

from nodewise.advice.space import Array, SearchSpace
from nodewise.core.errors import InputError
from nodewise.specs.advice import StreamFigures
from nodewise.specs.advice_request import StreamSpec

__all__ = ["StreamQueues", "erlang_c", "late_share"]

LATE = 0.05
"""Share of the records that may take longer than the limit."""
_HALVINGS = 60


class StreamQueues:
    """The queue of a stream before every configuration of a space.

    Raises:
        InputError: The stream does not say how many records a run handles.
    """

    def __init__(self, space: SearchSpace, stream: StreamSpec) -> None:
        if stream.records_per_run is None:
            raise InputError(
                "how many records a run of this job handles is not known, so neither is how fast it is",
                hint="say it with --records-per-run; of the jobs on images an earlier run of this search tells",
            )
        self._stream, self._records = stream, stream.records_per_run
        self._slots = np.maximum(1.0, np.floor(space.nodes * space.node_size))
        used = _highest(
            lambda share: late_share(self._slots, share, stream.rate_per_s, stream.p95_s), self._slots.shape
        )
        self.longest_run_s: Array = used * self._records / stream.rate_per_s
        """What a run may take at most on each configuration, shape (n,): a slower one does not keep up."""

    def figures(self, run_s: Array) -> list[StreamFigures]:
        """What each configuration does with the stream, if a run takes so long on it, shape (n,)."""
        rate, limit_s = self._stream.rate_per_s, self._stream.p95_s
        per_s = self._records / run_s
        used = rate / per_s
        most = _highest(lambda part: late_share(self._slots, part, part * per_s, limit_s), run_s.shape)
        # Those that do not keep up at all are computed with any load that they can bear, and not told.
        bearable = np.where(used < 1, used, 0.5)
        # Service and wait are each longer than their part of this for half of the late share at most.
        longest_s = np.log(2 / LATE) * self._slots / per_s * (1 + 1 / (self._slots * (1 - bearable)))
        spare = _highest(
            lambda part: late_share(self._slots, bearable, bearable * per_s, longest_s * (1 - part)), run_s.shape
        )
        return [
            StreamFigures(
                records_per_s=float(able),
                head_room=float(1 - load),
                p95_s=float(longest * (1 - part)) if load < 1 else None,
                most_per_s=float(share * able),
            )
            for able, load, longest, part, share in zip(per_s, used, longest_s, spare, most, strict=True)
        ]


def _highest(late: Callable[[Array], Array], shape: tuple[int, ...]) -> Array:
    """The highest share between 0 and 1 at which no more than 5 % are late, by bisection; ``late`` rises with it."""
    low, high = np.zeros(shape), np.ones(shape)
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        is_late = late(middle) > LATE
        low, high = np.where(is_late, low, middle), np.where(is_late, middle, high)
    return low


def erlang_c(servers: ArrayLike, load: ArrayLike) -> Array:
    """Probability that an arrival has to wait, in the queue M/M/c.

    With Erlang's loss formula B = (a^c / c!) / sum of a^k / k! for k = 0..c: C = B / (1 - (1 - B) a/c).

    Args:
        servers: c, at least 1.
        load: a, arrival rate over the service rate of one server, above 0 and below c.
    """
    from scipy.special import gammaln, pdtr

    c, a = np.asarray(servers, np.float64), np.asarray(load, np.float64)
    lost = np.exp(c * np.log(a) - a - gammaln(c + 1)) / pdtr(c, a)
    return np.asarray(lost / (1 - (1 - lost) * a / c), np.float64)


def late_share(servers: ArrayLike, utilisation: ArrayLike, rate_per_s: ArrayLike, limit_s: ArrayLike) -> Array:
    """Probability that a record takes longer than ``limit_s`` from its arrival until it is done, in the queue M/M/c.

    The time is that of service, exponential with rate mu, and with probability C before it the wait, exponential with
    rate (c - a) mu. With x = mu limit_s and g = c - a: P = e^-x + C (e^-x - e^-gx) / (g - 1), and for g = 1
    P = e^-x (1 + Cx).

    Args:
        utilisation: a/c, between 0 and 1, both excluded.
    """
    c, used = np.asarray(servers, np.float64), np.asarray(utilisation, np.float64)
    x = np.asarray(rate_per_s) / (c * used) * np.asarray(limit_s)
    g = c * (1 - used)
    is_one = np.abs(g - 1) < 1e-6
    difference = (np.exp(-x) - np.exp(-g * x)) / np.where(is_one, 1.0, g - 1)
    waited = np.where(is_one, x * np.exp(-x), difference)
    return np.asarray(np.exp(-x) + erlang_c(c, c * used) * waited, np.float64)
