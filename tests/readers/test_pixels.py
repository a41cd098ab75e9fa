"""Images loaded by threads: all of them, in order, once, and no thread left."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from tests.images.pictures import encoded, smooth

from nodewise.images.codecs import ImageError
from nodewise.readers.pixels import BATCHES_AHEAD, fill_batches, load_square

SHAPE = (2, 2, 3)


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(4) as started:
        yield started


def paint(number: int, out: NDArray[np.uint8]) -> None:
    out[:] = number


@pytest.mark.parametrize("threads", [1, 2, 4])
@pytest.mark.parametrize(
    ("num_images", "batch_size", "lengths"),
    [(7, 3, [3, 3, 1]), (6, 3, [3, 3]), (1, 8, [1]), (0, 4, []), (5, 1, [1] * 5)],
)
def test_every_image_comes_once_and_in_order(
    pool: ThreadPoolExecutor, threads: int, num_images: int, batch_size: int, lengths: list[int]
) -> None:
    batches = list(fill_batches(pool, threads, paint, num_images, batch_size, SHAPE))
    assert [len(batch) for batch in batches] == lengths
    assert [int(image.max()) for batch in batches for image in batch] == list(range(num_images))
    assert all(batch.shape[1:] == SHAPE for batch in batches)


def test_threads_stay_a_few_batches_ahead_and_end_when_the_consumer_leaves(pool: ThreadPoolExecutor) -> None:
    loaded = []

    def load(number: int, out: NDArray[np.uint8]) -> None:
        loaded.append(number)

    batches = fill_batches(pool, 2, load, 1000, 10, SHAPE)
    next(batches)
    batches.close()
    assert len(loaded) <= 10 * (1 + BATCHES_AHEAD)
    # The pool is free again.
    assert len(list(fill_batches(pool, 4, paint, 8, 4, SHAPE))) == 2


def test_an_error_is_raised_when_its_batch_is_due(pool: ThreadPoolExecutor) -> None:
    def load(number: int, out: NDArray[np.uint8]) -> None:
        if number == 5:
            raise ImageError("damaged")
        paint(number, out)

    batches = fill_batches(pool, 2, load, 100, 2, SHAPE)
    assert [int(next(batches).max()) for _ in range(2)] == [1, 3]
    with pytest.raises(ImageError, match="damaged"):
        next(batches)
    assert next(iter(fill_batches(pool, 4, paint, 3, 3, SHAPE))).max() == 2


def test_an_array_that_there_is_no_memory_for_ends_the_pass(pool: ThreadPoolExecutor) -> None:
    with pytest.raises((MemoryError, ValueError)):
        next(fill_batches(pool, 2, paint, 2, 2, (1 << 31, 1 << 31, 3)))


def test_all_threads_load_at_the_same_time(pool: ThreadPoolExecutor) -> None:
    meeting = threading.Barrier(3, timeout=10)

    def load(number: int, out: NDArray[np.uint8]) -> None:
        meeting.wait()

    assert len(list(fill_batches(pool, 3, load, 9, 9, SHAPE))) == 1


def test_an_image_is_scaled_to_fill_the_square() -> None:
    out = np.empty((16, 16, 3), np.uint8)
    load_square(encoded(Image.fromarray(smooth(40, 40))), 16, out)
    # Both grow by two levels per pixel of 40, hence by five per pixel of 16.
    assert np.abs(np.diff(out[:, 8, 0].astype(int)) - 5).max() <= 1
    assert np.abs(np.diff(out[8, :, 1].astype(int)) - 5).max() <= 1


def test_what_is_no_image_is_refused() -> None:
    with pytest.raises(ImageError):
        load_square(b"text", 16, np.empty((16, 16, 3), np.uint8))
