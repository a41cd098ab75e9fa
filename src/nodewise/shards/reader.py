"""Batches of decoded images from shards: shuffled, shared among workers, resumable at any record."""

from __future__ import annotations

import math
import os
import threading
from bisect import bisect_right
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path
from typing import Any, Literal, NamedTuple, TypedDict

import numpy as np
from numpy.typing import NDArray

from nodewise.core.errors import InputError, SourceError, SpecError, UnknownNameError
from nodewise.shards.batch_loader import BatchLoader, PendingBatch
from nodewise.shards.manifest import read_manifest, split_shards
from nodewise.shards.order import EpochOrder
from nodewise.shards.record_files import RecordFiles

__all__ = ["Batch", "ReaderState", "ShardReader"]


class Batch(NamedTuple):
    """Some records.

    Attributes:
        images: Shape (n, height, width, 3), RGB: uint8, or float32 as the reader was asked for.
        labels: Class numbers, int64, shape (n,).
        records: Record numbers in the split, in the manifest's order of the shards; int64, shape (n,).
    """

    images: NDArray[Any]
    labels: NDArray[np.int64]
    records: NDArray[np.int64]


class ReaderState(TypedDict):
    """Where a reader stands, as plain numbers for JSON.

    ``position`` is how many records of the epoch all workers have delivered together, each as many as this one.
    """

    epoch: int
    position: int
    num_records: int
    shuffle: bool
    seed: int


class ShardReader:
    """An iterable of batches; each ``iter()`` is the next epoch, from 0.

    The order of an epoch follows from ``seed`` and the epoch's number, and is the same for any number of workers:
    worker ``rank`` takes every ``world_size``-th record of it. So each record comes exactly once per epoch, and workers
    differ by at most one record. Images are decoded by threads, a few batches ahead. The threads stay from one epoch to
    the next; they end with :meth:`close`, with the block of a ``with``, or when nothing refers to the reader. In a
    process that was forked the reader starts threads of its own.

    Memory of batches that nothing refers to is used again. Batches and slices of them may be kept at will.

    Args:
        folder: Shards that ``prepare`` wrote, TFRecord or tar, images of one size.
        split: ``train``, ``test`` or ``all``.
        batch_size: Records per batch of this worker.
        dtype: ``uint8``: 0 to 255. ``float32``: 0 to 1, or ``(x - mean) / std`` for x from 0 to 1.
        mean, std: For red, green and blue; only for ``float32``.
        shuffle: False: the order in which the records are stored.
        drop_remainder: Only whole batches, and of them the same number for every worker.
        threads: That decode; as many as this process may use cores, by default.
        prefetch: Batches that are decoded ahead of the one in use.
        verify: Compare the checksum of every TFRecord when this reader reads it first. Tar files have none.

    Raises:
        SourceError: There is no manifest in the folder, or there are no records in the split.
        SpecError: Images differ in size.
        InputError: A setting that cannot be.
        CorruptFileError: The manifest is damaged. While iterating: a record is damaged; the batches before the one that
            holds it were delivered.
    """

    def __init__(
        self,
        folder: Path | str,
        *,
        split: Literal["train", "test", "all"] = "train",
        batch_size: int = 32,
        dtype: Literal["uint8", "float32"] = "uint8",
        mean: Sequence[float] | None = None,
        std: Sequence[float] | None = None,
        shuffle: bool = True,
        seed: int = 0,
        rank: int = 0,
        world_size: int = 1,
        drop_remainder: bool = False,
        threads: int | None = None,
        prefetch: int = 2,
        verify: bool = True,
    ) -> None:
        threads = len(os.sched_getaffinity(0)) if threads is None else threads
        _check_settings(batch_size, dtype, mean, std, rank, world_size, threads, prefetch)
        self._folder = Path(folder)
        manifest = read_manifest(self._folder)
        self._shards = split_shards(manifest, split)
        self._stops = list(accumulate(shard.records for shard in self._shards))
        if not self._stops or not self._stops[-1]:
            raise SourceError(f"{folder} has no records in split {split!r}")
        self._num_records = self._stops[-1]
        if manifest.image is None:
            raise SpecError(f"{folder}: the images differ in size", hint="prepare them with --size, such as --size 192")
        self._shape = (manifest.image["height"], manifest.image["width"], manifest.image["channels"])
        self._batch_size, self._dtype, self._mean, self._std = batch_size, dtype, mean, std
        self._shuffle, self._seed, self._rank, self._world_size = shuffle, seed, rank, world_size
        self._drop_remainder, self._threads, self._prefetch, self._verify = drop_remainder, threads, prefetch, verify
        self._next = _Epoch(0, 0)
        self._current: _Epoch | None = None
        self._loader: BatchLoader | None = None
        self._loader_pid = 0
        self._closed = False

    def __len__(self) -> int:
        """Batches of a whole epoch."""
        return math.ceil(self._num_own(0) / self._batch_size)

    def __iter__(self) -> Iterator[Batch]:
        epoch = self._next
        self._next = _Epoch(epoch.number + 1, 0)
        self._current = epoch
        return self._batches(epoch)

    def keys(self, records: NDArray[np.int64]) -> list[str]:
        """Names of records as they stand in the shards: ``train-00007-000003``."""
        stops = self._stops
        keys = []
        for record in records.tolist():
            shard = bisect_right(stops, record)
            name = self._shards[shard].path.rpartition("-")[0]
            keys.append(f"{name}-{record - stops[shard] + self._shards[shard].records:06d}")
        return keys

    def set_epoch(self, epoch: int) -> None:
        """The next ``iter()`` is this epoch, from its beginning."""
        self._next, self._current = _Epoch(epoch, 0), None

    def state_dict(self) -> ReaderState:
        """Where the latest iteration stands: behind the last batch that it delivered, whatever is decoded ahead.

        Behind the last batch of an epoch this is the beginning of the next one.
        """
        epoch = self._current or self._next
        done = epoch.position >= self._num_records
        return ReaderState(
            epoch=epoch.number + 1 if done else epoch.number,
            position=0 if done else epoch.position,
            num_records=self._num_records,
            shuffle=self._shuffle,
            seed=self._seed,
        )

    def load_state_dict(self, state: ReaderState) -> None:
        """The next ``iter()`` goes on where the state was taken, and those after it with the epochs that follow.

        With as many workers as there were, each takes the state of its rank. With another number, all take the state
        of rank 0, taken when every worker had delivered as many batches.

        Raises:
            InputError: The state is of other records or of another order.
        """
        for name, own in (("num_records", self._num_records), ("shuffle", self._shuffle), ("seed", self._seed)):
            if state.get(name) != own:
                raise InputError(f"{self._folder}: the state has {name} {state.get(name)!r}, and this reader {own!r}")
        self._next, self._current = _Epoch(state["epoch"], state["position"]), None

    def close(self) -> None:
        """End the threads. Batches that were delivered stay valid."""
        self._closed = True
        if self._loader is not None and self._loader_pid == os.getpid():
            self._loader.close()

    def __enter__(self) -> ShardReader:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _batches(self, epoch: _Epoch) -> Iterator[Batch]:
        loader = self._running_loader()
        first, count = epoch.position, self._num_own(epoch.position)
        order = EpochOrder(self._num_records, seed=self._seed, epoch=epoch.number) if self._shuffle else None
        starts = iter(range(0, count, self._batch_size))
        delivered = 0
        pending: deque[PendingBatch] = deque()
        cancelled = threading.Event()
        try:
            while True:
                while len(pending) <= self._prefetch and (start := next(starts, None)) is not None:
                    own = np.arange(start, min(start + self._batch_size, count))
                    places = first + self._rank + self._world_size * own
                    pending.append(loader.start(places if order is None else order.take(places), cancelled))
                if not pending:
                    break
                pending[0].wait()
                delivered += len(pending[0].records)
                epoch.position = first + delivered * self._world_size if delivered < count else self._num_records
                # No name for the batch, so that its memory is free again as soon as the caller is done with it.
                yield _batch(pending.popleft())
            epoch.position = self._num_records
        finally:
            cancelled.set()

    def _num_own(self, position: int) -> int:
        """Records that this worker delivers when all workers go on at this position of the epoch's order."""
        if self._drop_remainder:
            each = (self._num_records - position) // self._world_size
            return each - each % self._batch_size
        return len(range(position + self._rank, self._num_records, self._world_size))

    def _running_loader(self) -> BatchLoader:
        if self._closed:
            raise ValueError("the reader was closed")
        if self._loader is None or self._loader_pid != os.getpid():
            # Threads do not survive a fork, and locks may be held by those that are gone.
            self._loader_pid = os.getpid()
            self._loader = BatchLoader(
                RecordFiles(self._folder, self._shards, self._shape, verify=self._verify),
                shape=self._shape,
                batch_size=min(self._batch_size, self._num_records),
                dtype=self._dtype,
                mean=self._mean,
                std=self._std,
                threads=self._threads,
                num_kept=self._prefetch + 2,
            )
        return self._loader


@dataclass(slots=True)
class _Epoch:
    """An epoch's number, and how far it has come; see :class:`ReaderState`."""

    number: int
    position: int


def _batch(pending: PendingBatch) -> Batch:
    return Batch(pending.images, pending.labels, pending.records)


def _check_settings(
    batch_size: int,
    dtype: str,
    mean: Sequence[float] | None,
    std: Sequence[float] | None,
    rank: int,
    world_size: int,
    threads: int,
    prefetch: int,
) -> None:
    if batch_size < 1 or threads < 1 or prefetch < 0:
        raise InputError(
            f"batch_size {batch_size}, threads {threads}, prefetch {prefetch}: the first two have to be 1 or more"
        )
    if not 0 <= rank < world_size:
        raise InputError(f"rank {rank} of {world_size} workers: ranks are 0 to world_size - 1")
    if dtype not in ("uint8", "float32"):
        raise UnknownNameError("dtype", dtype, ("uint8", "float32"))
    if (mean is None) != (std is None) or (mean is not None and dtype != "float32"):
        raise InputError("mean and std go together, and with dtype='float32'")
    if mean is not None and std is not None and (len(mean) != 3 or len(std) != 3 or min(std) <= 0):
        raise InputError("mean and std need a value for each of red, green and blue, and std more than 0")
