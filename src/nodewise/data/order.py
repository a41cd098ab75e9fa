"""In which order the records of an epoch come, and which worker has which.

Records are dealt into :data:`NUM_LANES` lanes by number; a worker owns whole lanes. Every epoch shuffles each lane and
deals from the lanes in turn, so the sequence of global batches is the same for any number of workers, while each worker
only ever needs the records that it owns.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["NUM_LANES", "epoch_order", "is_owned"]

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
    order = np.empty(num_records, dtype=np.int64)
    for lane in range(min(NUM_LANES, num_records)):
        records = np.arange(lane, num_records, NUM_LANES)
        # Sorted by raw random numbers, because NumPy promises only these to be the same in every version.
        keys = np.random.PCG64([seed, epoch, lane]).random_raw(len(records))
        order[lane::NUM_LANES] = records[np.argsort(keys, kind="stable")]
    return order
