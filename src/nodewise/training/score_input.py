"""The images of a part, decoded by a thread while the network is at work on those before."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Generator
from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from nodewise.metering.meter import TaskMeter
from nodewise.shards.batch_loader import BatchLoader, PendingBatch
from nodewise.shards.record_files import RecordFiles
from nodewise.specs.results import ShardInfo
from nodewise.training.models import ImageShape
from nodewise.training.score_parts import ScorePart

__all__ = ["read_batches"]

CHUNK_BYTES = 512 * 1024
"""Pixels that are read in one go, or one batch if that is more. With small images the thread would otherwise take turns
with the network so often that both lose a tenth."""


def read_batches(
    folder: Path, part: ScorePart, image_shape: ImageShape, batch_size: int, meter: TaskMeter
) -> Generator[tuple[NDArray[np.uint8], NDArray[np.int64]]]:
    """Yield images, shape (n, height, width, 3), and labels, shape (n,), of a part in the order of its records.

    All batches but the last have ``batch_size`` records. Two chunks are in memory: the one that batches are taken from
    and the one that is being read. What the caller waits for is counted as reading.

    Raises:
        CorruptFileError: A record is damaged or its image is of another size; the chunks before it were yielded.
    """
    channels, height, width = image_shape
    shape = (height, width, channels)
    length = batch_size * max(1, CHUNK_BYTES // (batch_size * height * width * channels))
    loader = BatchLoader(
        _files(folder, part.shards, shape, tuple(_changed_ns(folder / shard.path) for shard in part.shards)),
        shape=shape,
        batch_size=min(length, part.records),
        dtype="uint8",
        mean=None,
        std=None,
        threads=1,
        num_kept=2,
    )
    places = np.arange(part.first, part.first + part.records)
    chunks = iter([places[start : start + length] for start in range(0, part.records, length)])
    cancelled = threading.Event()
    pending: deque[PendingBatch] = deque()
    try:
        while True:
            while len(pending) < 2 and (chunk := next(chunks, None)) is not None:
                pending.append(loader.start(chunk, cancelled))
            if not pending:
                return
            with meter.reading():
                pending[0].wait()
            images, labels = pending[0].images, pending[0].labels
            for start in range(0, len(labels), batch_size):
                yield images[start : start + batch_size], labels[start : start + batch_size]
            # The memory is used again once nobody holds it.
            del images
            pending.popleft()
    finally:
        cancelled.set()
        loader.close()


def _changed_ns(path: Path) -> int:
    """When a file was changed; one that is missing is for the reader to complain about."""
    return path.stat().st_mtime_ns if path.exists() else 0


@lru_cache(maxsize=1)
def _files(
    folder: Path, shards: tuple[ShardInfo, ...], shape: tuple[int, int, int], _changed_ns: tuple[int, ...]
) -> RecordFiles:
    """The next task of a process often reads on in the same large shard, whose records need not be found again."""
    return RecordFiles(folder, shards, shape, verify=True)
