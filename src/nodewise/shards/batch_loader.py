"""Threads that fill batches with the images of records."""

from __future__ import annotations

import threading
import weakref
from collections.abc import Sequence
from queue import Empty, SimpleQueue
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from nodewise.shards.batch_memory import BatchMemory
from nodewise.shards.record_files import RecordFiles

__all__ = ["BatchLoader", "PendingBatch"]

_MAX_ROWS_PER_TASK = 16


class PendingBatch:
    """A batch that threads are filling.

    Attributes:
        images, labels: To be read after :meth:`wait`.
        records: The record numbers.
    """

    def __init__(
        self,
        files: RecordFiles,
        to_float: _ToFloat | None,
        images: NDArray[Any],
        records: NDArray[np.int64],
        cancelled: threading.Event,
    ) -> None:
        self.images, self.records = images, records
        self.labels = np.empty(len(records), np.int64)
        self._files, self._to_float, self._cancelled = files, to_float, cancelled
        self._numbers: list[int] = records.tolist()
        self._parts = 0
        self._done: SimpleQueue[tuple[int, Exception] | None] = SimpleQueue()

    def parts(self, threads: int) -> list[range]:
        """The rows, cut into tasks: small enough that threads end together, large enough to be worth handing over."""
        length = max(1, min(_MAX_ROWS_PER_TASK, -(-len(self._numbers) // (2 * threads))))
        starts = range(0, len(self._numbers), length)
        self._parts = len(starts)
        return [range(start, min(start + length, len(self._numbers))) for start in starts]

    def fill(self, rows: range) -> None:
        """Load some of the rows, unless the batch is not wanted any more."""
        for row in rows:
            if self._cancelled.is_set():
                break
            try:
                if self._to_float is None:
                    _, self.labels[row] = self._files.load(self._numbers[row], self.images[row])
                else:
                    pixels, self.labels[row] = self._files.load(self._numbers[row])
                    self._to_float(pixels, self.images[row])
            except Exception as error:
                self._done.put((row, error))
                return
        self._done.put(None)

    def give_up(self, rows: range) -> None:
        """Instead of :meth:`fill`, when there are no threads any more."""
        self._done.put((rows.start, ValueError("the reader was closed")))

    def wait(self) -> None:
        """Return when all rows are loaded.

        Raises:
            CorruptFileError: A record is damaged; of several the first one.
        """
        failures = [failure for failure in (self._done.get() for _ in range(self._parts)) if failure is not None]
        if failures:
            raise min(failures, key=lambda failure: failure[0])[1]


_Tasks = SimpleQueue[tuple[PendingBatch, range] | None]


class BatchLoader:
    """Keeps its threads until it is closed or nothing refers to it.

    Args:
        num_kept: Batches whose memory is kept for the next ones.
    """

    def __init__(
        self,
        files: RecordFiles,
        *,
        shape: tuple[int, int, int],
        batch_size: int,
        dtype: Literal["uint8", "float32"],
        mean: Sequence[float] | None,
        std: Sequence[float] | None,
        threads: int,
        num_kept: int,
    ) -> None:
        self._files, self._num_threads = files, threads
        self._memory = BatchMemory((batch_size, *shape), dtype, num_kept=num_kept)
        self._to_float = _ToFloat(shape, mean, std) if dtype == "float32" else None
        self._lock = threading.Lock()
        self._tasks: _Tasks = SimpleQueue()
        # The threads know the queue alone, so that they keep neither the loader nor its reader alive.
        workers = [
            threading.Thread(target=_work, args=(self._tasks,), name=f"nodewise-read-{number}", daemon=True)
            for number in range(threads)
        ]
        for worker in workers:
            worker.start()
        self._stop = weakref.finalize(self, _stop, self._tasks, workers)

    def start(self, records: NDArray[np.int64], cancelled: threading.Event) -> PendingBatch:
        """Have a batch filled with these records, unless ``cancelled`` is set before."""
        images = self._memory.take()[: len(records)]
        batch = PendingBatch(self._files, self._to_float, images, records, cancelled)
        with self._lock:
            if not self._stop.alive:
                raise ValueError("the reader was closed")
            for rows in batch.parts(self._num_threads):
                self._tasks.put((batch, rows))
        return batch

    def close(self) -> None:
        """End the threads; who waits for a batch gets an error."""
        with self._lock:
            self._stop()


def _work(tasks: _Tasks) -> None:
    while (task := tasks.get()) is not None:
        batch, rows = task
        batch.fill(rows)
        # Or the thread would keep the batch's memory while it waits for the next task.
        del task, batch, rows


def _stop(tasks: _Tasks, workers: list[threading.Thread]) -> None:
    try:
        while task := tasks.get_nowait():
            task[0].give_up(task[1])
    except Empty:
        pass
    for _ in workers:
        tasks.put(None)
    for worker in workers:
        # Python may collect a reader that nothing refers to while a thread of it happens to run.
        if worker is not threading.current_thread():
            worker.join()


class _ToFloat:
    """uint8 (height, width, 3) -> float32: ``x / 255``, or ``(x / 255 - mean) / std`` for each channel."""

    def __init__(self, shape: tuple[int, int, int], mean: Sequence[float] | None, std: Sequence[float] | None) -> None:
        self._scale: NDArray[np.float32] | np.float32 = np.float32(1 / 255)
        self._shift: NDArray[np.float32] | None = None
        if mean is not None and std is not None:
            # Of a whole row, since NumPy is slow where the innermost axis has a length of three.
            row_values = shape[1] * shape[2]
            self._scale = np.resize(1 / (255 * np.asarray(std, float)), row_values).astype(np.float32)
            self._shift = np.resize(-np.asarray(mean, float) / np.asarray(std, float), row_values).astype(np.float32)

    def __call__(self, pixels: NDArray[np.uint8], out: NDArray[np.float32]) -> None:
        # In one piece: smaller ones stay in the cache, but each step costs a turn at the interpreter's lock.
        source, target = pixels.reshape(len(pixels), -1), out.reshape(len(pixels), -1)
        np.copyto(target, source)
        target *= self._scale
        if self._shift is not None:
            target += self._shift
