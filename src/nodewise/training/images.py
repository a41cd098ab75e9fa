"""A worker's records as batches of tensors: in memory where they fit, else read from the shards as they are needed."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np
import psutil
import torch
from numpy.typing import NDArray

from nodewise.metering.meter import TaskMeter
from nodewise.shards.batch_loader import BatchLoader
from nodewise.shards.record_files import RecordFiles
from nodewise.specs.results import ShardInfo
from nodewise.training.models import ImageShape

__all__ = ["TrainingImages"]

RESIDENT_SHARE = 0.4
"""Of the memory that a worker may use, for decoded images; the network, its gradients and buffers take the rest."""
_LOAD_RECORDS = 512
_PREFETCH = 3


class TrainingImages:
    """Records of some shards, by their numbers through all of them.

    Decoded once and kept if all that the worker owns fits into its memory; otherwise decoded by threads, a few batches
    ahead of the one in use. Both give the same batches.

    Args:
        owned: Record numbers that this worker will ask for, ascending, shape (num_owned,).
        memory_bytes: That the worker may use; None: its share of what this machine has left.

    Raises:
        CorruptFileError: A shard is damaged, or holds an image that cannot be decoded or is of another size; while
            iterating, where records are not kept.
    """

    def __init__(
        self,
        folder: Path,
        shards: Sequence[ShardInfo],
        image_shape: ImageShape,
        owned: NDArray[np.int64],
        *,
        threads: int,
        meter: TaskMeter,
        memory_bytes: int | None = None,
        workers_here: int = 1,
    ) -> None:
        channels, height, width = image_shape
        self._shape = (height, width, channels)
        self._folder, self._shards, self._threads, self._meter = folder, shards, threads, meter
        self._owned = owned
        self._images: torch.Tensor | None = None
        self._labels = torch.empty(0, dtype=torch.int64)
        self._loader: BatchLoader | None = None
        self._loader_size = 0
        if memory_bytes is None:
            memory_bytes = psutil.virtual_memory().available // workers_here
        if len(owned) * height * width * channels <= RESIDENT_SHARE * memory_bytes:
            self._load()

    @property
    def is_resident(self) -> bool:
        """Whether all images are in memory."""
        return self._images is not None

    def batches(self, parts: Iterable[NDArray[np.int64]]) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        """Images, uint8 of shape (n, height, width, channels), and labels, int64 (n,), of each of the record lists.

        What was yielded is valid until the next one is asked for. A list may be empty.
        """
        if self._images is None:
            return self._stream(parts)
        return self._gather(parts, self._images)

    def _gather(
        self, parts: Iterable[NDArray[np.int64]], images: torch.Tensor
    ) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        for numbers in parts:
            rows = torch.from_numpy(np.searchsorted(self._owned, numbers))
            yield images[rows], self._labels[rows]

    def _stream(self, parts: Iterable[NDArray[np.int64]]) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        waiting = deque(parts)
        loader = self._loader_for(max(map(len, waiting), default=1))
        cancelled = threading.Event()
        pending = deque(loader.start(waiting.popleft(), cancelled) for _ in range(min(_PREFETCH, len(waiting))))
        try:
            while pending:
                pending[0].wait()
                batch = pending.popleft()
                yield torch.from_numpy(batch.images), torch.from_numpy(batch.labels)
                del batch
                if waiting:
                    pending.append(loader.start(waiting.popleft(), cancelled))
        finally:
            cancelled.set()

    def _load(self) -> None:
        images = np.empty((len(self._owned), *self._shape), dtype=np.uint8)
        labels = np.empty(len(self._owned), dtype=np.int64)
        starts = range(0, len(self._owned), _LOAD_RECORDS)
        parts = [self._owned[start : start + _LOAD_RECORDS] for start in starts]
        with self._meter.reading():
            for start, (some, some_labels) in zip(starts, self._stream(parts), strict=True):
                images[start : start + len(some)] = some.numpy()
                labels[start : start + len(some)] = some_labels.numpy()
        self._meter.count(read_bytes=sum(shard.bytes for shard in self._shards))
        self.close()
        self._images, self._labels = torch.from_numpy(images), torch.from_numpy(labels)

    def _loader_for(self, batch_size: int) -> BatchLoader:
        if self._loader is None or self._loader_size < batch_size:
            self.close()
            self._loader_size = max(1, batch_size)
            self._loader = BatchLoader(
                RecordFiles(self._folder, self._shards, self._shape, verify=True),
                shape=self._shape,
                batch_size=self._loader_size,
                dtype="uint8",
                mean=None,
                std=None,
                threads=self._threads,
                num_kept=_PREFETCH + 2,
            )
        return self._loader

    def close(self) -> None:
        """End the threads that decode."""
        if self._loader is not None:
            self._loader.close()
            self._loader = None
