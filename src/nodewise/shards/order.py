"""In which order the records of an epoch come, and which worker has which.

Records are dealt into :data:`NUM_LANES` lanes by number; a worker owns whole lanes. Every epoch shuffles each lane and
deals from the lanes in turn, so the sequence of global batches is the same for any number of workers, while each worker
only ever needs the records that it owns.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["NUM_LANES", "EpochOrder", "epoch_order", "is_owned"]

NUM_LANES = 64
"""Upper bound of the workers that can share the records; more lanes than this would not mix better."""


def is_owned(record: NDArray[np.int64] | int, rank: int, world_size: int) -> NDArray[np.bool_]:
    """Whether the records with these numbers belong to a worker.

    Args:
        record: Record numbers, any shape.
        rank: 0 to ``world_size`` - 1.
        world_size: 1 to :data:`NUM_LANES`.
    """
    return np.asarray(np.asarray(record) % NUM_LANES % world_size == rank)


def epoch_order(num_records: int, *, seed: int, epoch: int) -> NDArray[np.int64]:
    """The record numbers 0 ... num_records - 1 in the order of one epoch, shape (num_records,).

    Batch k of size B over all workers together is ``order[k * B : (k + 1) * B]``.
    """
    return EpochOrder(num_records, seed=seed, epoch=epoch).take(np.arange(num_records))


class EpochOrder:
    """The order of one epoch, worked out as far as it is asked for, so that its first records are known at once."""

    def __init__(self, num_records: int, *, seed: int, epoch: int) -> None:
        self._seed, self._epoch = seed, epoch
        self._order = np.empty(num_records, dtype=np.int64)
        self._missing_lanes = set(range(min(NUM_LANES, num_records)))

    def take(self, places: NDArray[np.int64]) -> NDArray[np.int64]:
        """The record numbers at these places of :func:`epoch_order`."""
        if self._missing_lanes:
            for lane in self._missing_lanes.intersection((places % NUM_LANES).tolist()):
                self._shuffle(lane)
                self._missing_lanes.remove(lane)
        return self._order[places]

    def _shuffle(self, lane: int) -> None:
        records = np.arange(lane, len(self._order), NUM_LANES)
        # Sorted by raw random numbers, because NumPy promises only these to be the same in every version.
        keys = np.random.PCG64([self._seed, self._epoch, lane]).random_raw(len(records))
        self._order[lane::NUM_LANES] = records[np.argsort(keys, kind="stable")]
