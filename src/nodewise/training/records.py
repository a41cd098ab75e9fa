"""A worker's share of the records, decoded into memory."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from nodewise.core.errors import CorruptFileError, SpecError
from nodewise.images.codecs import ImageError
from nodewise.metering.meter import TaskMeter
from nodewise.shards.examples import Example
from nodewise.shards.files import read_shard
from nodewise.shards.manifest import Manifest
from nodewise.shards.order import is_owned
from nodewise.shards.pixels import example_pixels
from nodewise.specs.results import ShardInfo
from nodewise.training.models import ImageShape

__all__ = ["Records", "image_shape_of", "load_records", "to_input"]


class Records:
    """Images and labels of some of the records of a split.

    Attributes:
        numbers: Their record numbers in the split, ascending, shape (num_owned,).
        images: uint8, shape (num_owned, height, width, 3).
        labels: int64, shape (num_owned,).
    """

    def __init__(self, numbers: NDArray[np.int64], images: torch.Tensor, labels: torch.Tensor) -> None:
        self.numbers = numbers
        self.images = images
        self.labels = labels

    def batch(self, numbers: NDArray[np.int64]) -> tuple[torch.Tensor, torch.Tensor]:
        """Network input and labels of records that are among these, in the order asked for."""
        rows = torch.from_numpy(np.searchsorted(self.numbers, numbers))
        return to_input(self.images[rows]), self.labels[rows]


def to_input(images: torch.Tensor) -> torch.Tensor:
    """uint8 (n, height, width, channels) -> float32 in [0, 1], (n, channels, height, width)."""
    return images.permute(0, 3, 1, 2).float().div_(255.0)


def image_shape_of(manifest: Manifest, folder: Path) -> ImageShape:
    """Channels, height and width of every image of the shards.

    Raises:
        SpecError: The images differ in size, so that they make no batch.
    """
    if manifest.image is None:
        raise SpecError(f"{folder}: the images differ in size", hint="prepare them with --size, such as --size 192")
    return manifest.image["channels"], manifest.image["height"], manifest.image["width"]


def load_records(
    folder: Path,
    shards: Sequence[ShardInfo],
    image_shape: ImageShape,
    meter: TaskMeter,
    *,
    rank: int = 0,
    world_size: int = 1,
) -> Records:
    """Read shards and decode the records that a worker owns.

    Raises:
        CorruptFileError: A shard is damaged, or holds an image that cannot be decoded or is of another size.
    """
    total = sum(shard.records for shard in shards)
    numbers = np.flatnonzero(is_owned(np.arange(total), rank, world_size))
    channels, height, width = image_shape
    images = np.empty((len(numbers), height, width, channels), dtype=np.uint8)
    labels = np.empty(len(numbers), dtype=np.int64)
    row = first = 0
    for shard in shards:
        meter.count(read_bytes=shard.bytes)
        examples = read_shard(folder, shard)
        for place in itertools.count():
            with meter.reading():
                example = next(examples, None)
            if example is None:
                break
            if row < len(numbers) and numbers[row] == first + place:
                images[row] = _decode(folder / shard.path, place, example, image_shape)
                labels[row] = example.label
                row += 1
        first += shard.records
    return Records(numbers, torch.from_numpy(images), torch.from_numpy(labels))


def _decode(path: Path, record: int, example: Example, image_shape: ImageShape) -> NDArray[np.uint8]:
    try:
        image = example_pixels(example)
    except ImageError as error:
        raise CorruptFileError(str(path), str(error), record=record) from None
    channels, height, width = image_shape
    if image.shape != (height, width, channels):
        raise CorruptFileError(
            str(path), f"an image of {image.shape[1]} x {image.shape[0]} among {width} x {height}", record=record
        )
    return image
