"""Image files to pixels, on all cores."""

from __future__ import annotations

import threading
from collections.abc import Callable, Generator
from concurrent.futures import ThreadPoolExecutor
from itertools import count

import numpy as np
from numpy.typing import NDArray

from nodewise.images.codecs import Scratch, decode
from nodewise.images.transform import resize

__all__ = ["fill_batches", "load_square"]

BATCHES_AHEAD = 2

Load = Callable[[int, NDArray[np.uint8]], None]
"""``load(number, out)`` writes the pixels of an image into an array of its shape."""


def load_square(data: bytes, size: int, out: NDArray[np.uint8]) -> None:
    """Decode an image and scale it to fill a square, into an array of shape (size, size, 3).

    Raises:
        ImageError: It cannot be decoded.
    """
    out[:] = resize(decode(data, fast=True, scratch=_local.scratch).pixels, size)


class _Local(threading.local):
    def __init__(self) -> None:
        self.scratch = Scratch()


_local = _Local()


def fill_batches(
    pool: ThreadPoolExecutor, threads: int, load: Load, num_images: int, batch_size: int, shape: tuple[int, int, int]
) -> Generator[NDArray[np.uint8], None, None]:
    """Yield batches of images 0 ... num_images - 1 in order, while the next ones are loaded; the last may be shorter.

    The threads take image after image, whatever batch it belongs to, and stay at most :data:`BATCHES_AHEAD` batches
    ahead of the one that is being waited for. What ``load`` raises is raised when the image's batch is due.

    Args:
        pool: Where the threads come from; it has at least ``threads`` of them to give.
    """
    passing = _Pass(load, num_images, batch_size, shape)
    workers = [pool.submit(passing.work) for _ in range(min(threads, num_images))]
    try:
        for number in range(-(-num_images // batch_size)):
            yield passing.take(number)
    finally:
        passing.stop()
        for worker in workers:
            worker.result()


class _Pass:
    """One pass over the images: threads fill its batches, the consumer takes them."""

    def __init__(self, load: Load, num_images: int, batch_size: int, shape: tuple[int, int, int]) -> None:
        self._load = load
        self._num_images, self._batch_size, self._shape = num_images, batch_size, shape
        self._next = count()
        self._changed = threading.Condition()
        self._batches: dict[int, NDArray[np.uint8]] = {}
        self._missing: dict[int, int] = {}
        self._errors: dict[int, Exception] = {}
        self._wanted = 0
        self._stopped = False

    def work(self) -> None:
        """Load images until there are no more; runs in every thread."""
        # next() of a count is one step of the interpreter, so that no number is taken twice.
        while (image := next(self._next)) < self._num_images:
            number, place = divmod(image, self._batch_size)
            try:
                batch = self._open(number)
                if batch is None:
                    return
                self._load(image, batch[place])
            except Exception as error:
                self._finish(number, error)
            else:
                self._finish(number, None)

    def take(self, number: int) -> NDArray[np.uint8]:
        """The batch of this number, when it is whole."""
        with self._changed:
            self._wanted = number
            self._changed.notify_all()
            self._changed.wait_for(lambda: number in self._errors or self._missing.get(number) == 0)
            if number in self._errors:
                raise self._errors[number]
            del self._missing[number]
            return self._batches.pop(number)

    def stop(self) -> None:
        """Make the threads end after the image that they are at."""
        with self._changed:
            self._stopped = True
            self._changed.notify_all()

    def _open(self, number: int) -> NDArray[np.uint8] | None:
        """The batch to write into, as soon as it may be begun; None when the pass is over."""
        with self._changed:
            self._changed.wait_for(lambda: self._stopped or number <= self._wanted + BATCHES_AHEAD)
            if self._stopped:
                return None
            if number not in self._batches:
                images = min(self._batch_size, self._num_images - number * self._batch_size)
                self._batches[number] = np.empty((images, *self._shape), np.uint8)
                self._missing[number] = images
            return self._batches[number]

    def _finish(self, number: int, error: Exception | None) -> None:
        with self._changed:
            if error is not None:
                self._errors.setdefault(number, error)
                self._changed.notify_all()
                return
            self._missing[number] -= 1
            if not self._missing[number]:
                self._changed.notify_all()
