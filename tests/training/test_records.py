"""A worker's share of the records in memory."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from nodewise.core.errors import CorruptFileError, SpecError
from nodewise.images.codecs import encode_png
from nodewise.metering.meter import TaskMeter
from nodewise.shards.examples import Example
from nodewise.shards.files import write_shards
from nodewise.shards.manifest import Manifest, read_manifest
from nodewise.specs.results import ShardInfo
from nodewise.training.records import image_shape_of, load_records, to_input

SHAPE = (3, 4, 6)


@pytest.fixture
def shards(tmp_path: Path) -> list[ShardInfo]:
    """Ten records in two shards; record k has the label k, and every pixel of it is (k, 2k, 255 - k)."""

    def image(number: int) -> bytes:
        return encode_png(np.full((4, 6, 3), (number, 2 * number, 255 - number), np.uint8))

    parts = [range(7), range(7, 10)]
    return [
        info
        for index, part in enumerate(parts)
        for info in write_shards(tmp_path, "train", index, [Example(image(k), k) for k in part])
    ]


def test_all_records_come_in_order_with_their_pixels(tmp_path: Path, shards: list[ShardInfo]) -> None:
    with TaskMeter() as meter:
        records = load_records(tmp_path, shards, SHAPE, meter)
    assert records.numbers.tolist() == records.labels.tolist() == list(range(10))
    assert records.images.shape == (10, 4, 6, 3)
    assert records.images.dtype == torch.uint8
    assert all((records.images[k] == torch.tensor([k, 2 * k, 255 - k])).all() for k in range(10))
    assert meter.read_bytes == sum((tmp_path / shard.path).stat().st_size for shard in shards)


@pytest.mark.parametrize(
    ("rank", "world_size", "owned"), [(0, 2, [0, 2, 4, 6, 8]), (1, 3, [1, 4, 7]), (2, 3, [2, 5, 8]), (11, 12, [])]
)
def test_a_worker_holds_what_it_owns_and_no_more(
    tmp_path: Path, shards: list[ShardInfo], rank: int, world_size: int, owned: list[int]
) -> None:
    records = load_records(tmp_path, shards, SHAPE, TaskMeter(), rank=rank, world_size=world_size)
    assert records.numbers.tolist() == owned
    assert records.labels.tolist() == owned
    assert records.images[:, 0, 0, 0].tolist() == owned


def test_a_batch_comes_in_the_order_asked_for(tmp_path: Path, shards: list[ShardInfo]) -> None:
    records = load_records(tmp_path, shards, SHAPE, TaskMeter(), rank=0, world_size=2)
    images, labels = records.batch(np.array([8, 0, 6]))
    assert labels.tolist() == [8, 0, 6]
    assert images.shape == (3, *SHAPE)
    assert images.dtype == torch.float32
    assert images[0, :, 0, 0].tolist() == pytest.approx([8 / 255, 16 / 255, 247 / 255])


def test_pixels_become_shares_of_one_with_the_channels_first() -> None:
    image = torch.tensor([[[0, 51, 255], [255, 0, 0]]], dtype=torch.uint8)  # (1, 2, 3): one row of two pixels
    converted = to_input(image[None])
    assert converted.shape == (1, 3, 1, 2)
    assert converted[0, :, 0, 0].tolist() == pytest.approx([0, 0.2, 1])


def test_an_image_of_another_size_is_named(tmp_path: Path, shards: list[ShardInfo]) -> None:
    with pytest.raises(CorruptFileError, match="an image of 6 x 4 among 5 x 5") as caught:
        load_records(tmp_path, shards, (3, 5, 5), TaskMeter())
    assert caught.value.path == str(tmp_path / shards[0].path)
    assert caught.value.record == 0


def test_a_record_that_is_no_image_is_named(tmp_path: Path) -> None:
    good = encode_png(np.zeros((4, 6, 3), np.uint8))
    (shard,) = write_shards(tmp_path, "train", 0, [Example(good, 0), Example(b"no image", 1)])
    with pytest.raises(CorruptFileError) as caught:
        load_records(tmp_path, [shard], SHAPE, TaskMeter())
    assert caught.value.record == 1


def test_images_of_differing_sizes_make_no_batch(small_shards: Path) -> None:
    manifest: Manifest = read_manifest(small_shards)
    assert image_shape_of(manifest, small_shards) == (3, 32, 32)
    with pytest.raises(SpecError, match="differ in size"):
        image_shape_of(replace(manifest, image=None), small_shards)
