"""The images of a part, read ahead."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from nodewise.core.errors import CorruptFileError
from nodewise.images.codecs import encode_png
from nodewise.metering.meter import TaskMeter
from nodewise.shards.examples import Example
from nodewise.shards.files import write_shards
from nodewise.specs.results import ShardInfo
from nodewise.training import score_input
from nodewise.training.score_input import read_batches
from nodewise.training.score_parts import ScorePart

SHAPE = (3, 4, 6)
"""Channels, height, width."""


@pytest.fixture(params=["tfrecord", "webdataset"])
def shards(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[ShardInfo, ...]:
    """Twelve records in two shards; record k has the label k and pixels of the value k."""

    def example(number: int) -> Example:
        return Example(encode_png(np.full((4, 6, 3), number, np.uint8)), number)

    first = write_shards(tmp_path, "test", 0, map(example, range(7)), shard_format=request.param)
    return first + write_shards(tmp_path, "test", 1, map(example, range(7, 12)), shard_format=request.param)


@contextmanager
def no_thread_left() -> Iterator[None]:
    before = set(threading.enumerate())
    yield
    assert set(threading.enumerate()) == before


@pytest.mark.parametrize("batch_size", [1, 2, 5, 100])
@pytest.mark.parametrize("chunk_bytes", [1, 300])
def test_records_come_in_order_in_batches(
    tmp_path: Path, shards: tuple[ShardInfo, ...], batch_size: int, chunk_bytes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    # 300 bytes are four images.
    monkeypatch.setattr(score_input, "CHUNK_BYTES", chunk_bytes)
    part = ScorePart(number=0, shards=shards, first=2, records=9)
    lengths, labels = [], []
    with no_thread_left():
        for images, some_labels in read_batches(tmp_path, part, SHAPE, batch_size, TaskMeter()):
            assert images.shape[1:] == (4, 6, 3)
            assert [image.min() for image in images] == [image.max() for image in images] == some_labels.tolist()
            lengths.append(len(images))
            labels += some_labels.tolist()
    assert labels == list(range(2, 11))
    assert set(lengths[:-1]) <= {batch_size}


def test_a_reader_that_is_not_read_to_its_end_leaves_no_thread(tmp_path: Path, shards: tuple[ShardInfo, ...]) -> None:
    with no_thread_left():
        batches = read_batches(tmp_path, ScorePart(number=0, shards=shards, first=0, records=12), SHAPE, 2, TaskMeter())
        next(batches)
        batches.close()


def test_a_shard_that_is_missing_is_named(tmp_path: Path, shards: tuple[ShardInfo, ...]) -> None:
    (tmp_path / shards[1].path).unlink()
    part = ScorePart(number=0, shards=shards, first=0, records=12)
    with pytest.raises(CorruptFileError, match=shards[1].path), no_thread_left():
        list(read_batches(tmp_path, part, SHAPE, 4, TaskMeter()))


def test_an_image_of_another_size_is_named(tmp_path: Path, shards: tuple[ShardInfo, ...]) -> None:
    part = ScorePart(number=0, shards=shards, first=0, records=12)
    with pytest.raises(CorruptFileError, match="an image of 6 x 4 among 8 x 8"):
        list(read_batches(tmp_path, part, (3, 8, 8), 4, TaskMeter()))


def test_a_file_that_changed_is_read_anew(tmp_path: Path, shards: tuple[ShardInfo, ...]) -> None:
    part = ScorePart(number=0, shards=shards[:1], first=0, records=7)
    assert len(list(read_batches(tmp_path, part, SHAPE, 100, TaskMeter()))) == 1
    path = tmp_path / shards[0].path
    path.write_bytes(path.read_bytes()[: shards[0].bytes // 2])
    with pytest.raises(CorruptFileError, match=shards[0].path):
        list(read_batches(tmp_path, part, SHAPE, 100, TaskMeter()))
