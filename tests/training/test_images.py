"""A worker's images: the same whether they are kept in memory or read as they are needed."""

from __future__ import annotations

import threading
from pathlib import Path

import numpy as np
import pytest

from nodewise.core.errors import CorruptFileError
from nodewise.metering.meter import TaskMeter
from nodewise.shards.manifest import read_manifest, split_shards
from nodewise.shards.record_files import RecordFiles
from nodewise.training.images import TrainingImages


def open_images(folder: Path, *, memory_bytes: int, owned: list[int] | None = None) -> TrainingImages:
    shards = split_shards(read_manifest(folder), "train")
    numbers = np.arange(158) if owned is None else np.array(owned)
    return TrainingImages(folder, shards, (3, 32, 32), numbers, threads=2, meter=TaskMeter(), memory_bytes=memory_bytes)


@pytest.mark.parametrize("memory_bytes", [2**40, 0])
def test_batches_hold_the_records_asked_for(small_shards: Path, memory_bytes: int) -> None:
    shards = split_shards(read_manifest(small_shards), "train")
    files = RecordFiles(small_shards, shards, (32, 32, 3), verify=True)
    images = open_images(small_shards, memory_bytes=memory_bytes)
    assert images.is_resident == (memory_bytes > 0)
    parts = [np.array([3, 157, 0]), np.array([], dtype=np.int64), np.arange(100, 40, -1), np.array([5]), np.array([3])]
    for _ in range(2):
        found = [(pixels.numpy().copy(), labels.numpy().copy()) for pixels, labels in images.batches(parts)]
        assert [len(labels) for _, labels in found] == [3, 0, 60, 1, 1]
        for numbers, (pixels, labels) in zip(parts, found, strict=True):
            for row, number in enumerate(numbers):
                expected, label = files.load(int(number))
                np.testing.assert_array_equal(pixels[row], expected)
                assert labels[row] == label
    images.close()


def test_only_what_is_owned_is_kept(small_shards: Path) -> None:
    owned = [2, 66, 130]
    images = open_images(small_shards, memory_bytes=2**40, owned=owned)
    whole = open_images(small_shards, memory_bytes=2**40)
    ((pixels, labels),) = images.batches([np.array([130, 2])])
    ((all_pixels, all_labels),) = whole.batches([np.array([130, 2])])
    np.testing.assert_array_equal(pixels, all_pixels)
    np.testing.assert_array_equal(labels, all_labels)


def test_threads_end_when_all_is_in_memory_or_closed(small_shards: Path) -> None:
    before = threading.active_count()
    open_images(small_shards, memory_bytes=2**40)
    assert threading.active_count() == before
    streamed = open_images(small_shards, memory_bytes=0)
    list(streamed.batches([np.arange(4)]))
    assert threading.active_count() == before + 2
    streamed.close()
    assert threading.active_count() == before


@pytest.mark.parametrize("memory_bytes", [2**40, 0])
def test_a_damaged_record_is_named(small_shards: Path, tmp_path: Path, memory_bytes: int) -> None:
    copy = tmp_path / "shards"
    copy.mkdir()
    for path in small_shards.iterdir():
        (copy / path.name).write_bytes(path.read_bytes())
    shard = split_shards(read_manifest(copy), "train")[1]
    data = bytearray((copy / shard.path).read_bytes())
    data[len(data) // 2] ^= 1
    (copy / shard.path).write_bytes(bytes(data))
    with pytest.raises(CorruptFileError, match=shard.path):
        list(open_images(copy, memory_bytes=memory_bytes).batches([np.arange(158)]))


def test_an_image_of_another_size_is_named(small_shards: Path) -> None:
    shards = split_shards(read_manifest(small_shards), "train")
    with pytest.raises(CorruptFileError, match=shards[0].path) as caught:
        TrainingImages(small_shards, shards, (3, 5, 5), np.arange(4), threads=1, meter=TaskMeter())
    assert caught.value.record == 0


def test_what_is_read_is_counted(small_shards: Path) -> None:
    shards = split_shards(read_manifest(small_shards), "train")
    with TaskMeter() as meter:
        TrainingImages(small_shards, shards, (3, 32, 32), np.arange(4), threads=1, meter=meter)
    assert meter.read_bytes == sum((small_shards / shard.path).stat().st_size for shard in shards)
