"""A few images of a data set, drawn at random, to look at."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Literal, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from nodewise.core.errors import CorruptFileError, SourceError
from nodewise.data.sources import open_source, read_image
from nodewise.images.codecs import ImageError, decode_image
from nodewise.shards.examples import Example
from nodewise.shards.inspect import ShardFile, find_shards, holds_shards, label_name
from nodewise.shards.pixels import example_pixels

__all__ = ["SampleImage", "Samples", "draw_samples"]

Choice = Literal["train", "test", "all"]


@dataclass(frozen=True, slots=True, kw_only=True)
class SampleImage:
    """One image.

    Attributes:
        path: Its file.
        record: Its number in that file, from 0; None if the file is the image.
        label: Name of its class, or the number where classes have no names.
        height, width: In pixels; 0 if it cannot be decoded.
        bytes: Length of what is stored.
        reason: Why it cannot be decoded; "" if it can.
        pixels: RGB, shape (height, width, 3), reduced so that no side is longer than was asked for; None if it cannot
            be decoded.
    """

    path: str
    record: int | None
    label: str
    height: int
    width: int
    bytes: int
    reason: str
    pixels: NDArray[np.uint8] | None


class Samples(NamedTuple):
    """The images, and how many there were to draw from."""

    images: list[SampleImage]
    num_records: int


def draw_samples(path: Path, *, count: int = 9, split: Choice = "all", seed: int = 0, max_side: int = 256) -> Samples:
    """Draw images evenly from a folder of images, a folder of shards, or a shard; in the order in which they stand.

    The same seed draws the same ones. An image that cannot be decoded is among them, with its reason. No more than one
    image is held in full size at a time.

    Args:
        count: How many, at least 1; all of them if there are fewer.
        max_side: Longest side of the pixels that are returned.

    Raises:
        SourceError: There is no such path, or it holds no images of this split.
        CorruptFileError: The manifest or a shard is damaged, up to the record that was drawn.
    """
    lengths, load = _shards(path, split) if holds_shards(path) else _images(path, split)
    ends = np.cumsum([0, *lengths])
    num_records = int(ends[-1])
    if not num_records:
        raise SourceError(f"{path}: there are no images" + ("" if split == "all" else f" of the split {split!r}"))
    drawn = np.sort(np.random.default_rng(seed).choice(num_records, min(count, num_records), replace=False))
    parts = np.searchsorted(ends, drawn, side="right") - 1
    numbers = drawn - ends[parts]
    images = [_reduced(load(*place), max_side) for place in zip(parts.tolist(), numbers.tolist(), strict=True)]
    return Samples(images, num_records)


_Load = Callable[[int, int], SampleImage]
"""The image with a number, counted in its part: a shard, or a split of a folder."""


def _images(path: Path, split: Choice) -> tuple[list[int], _Load]:
    source = open_source(path)
    parts = [images for name, images in source.splits.items() if split in ("all", name)]

    def load(part: int, number: int) -> SampleImage:
        ref = parts[part][number]
        file, label = source.root / ref.path, source.classes[ref.label]
        stored_bytes = 0
        try:
            data = read_image(source.root, ref)
            stored_bytes = data.nbytes if isinstance(data, np.ndarray) else len(data)
            pixels = data if isinstance(data, np.ndarray) else decode_image(data)
        except ImageError as error:
            return _sample(file, ref.row, label, stored_bytes, reason=str(error))
        return _sample(file, ref.row, label, stored_bytes, pixels)

    return [len(images) for images in parts], load


def _shards(path: Path, split: Choice) -> tuple[list[int], _Load]:
    found = find_shards(path)
    if found.manifest_fault is not None:
        raise found.manifest_fault
    files = [file for file in found.files if split in ("all", file.split)]

    def load(part: int, number: int) -> SampleImage:
        file = files[part]
        example = _read_example(file, number)
        label = label_name(example.label, found.manifest)
        try:
            pixels = example_pixels(example)
        except ImageError as error:
            return _sample(file.path, number, label, len(example.image), reason=str(error))
        return _sample(file.path, number, label, len(example.image), pixels)

    lengths = [sum(1 for _ in file.locate()) if file.num_records is None else file.num_records for file in files]
    return lengths, load


def _read_example(file: ShardFile, number: int) -> Example:
    span = next(islice(file.locate(), number, None), None)
    if span is None:
        raise CorruptFileError(str(file.path), f"it holds fewer than {file.num_records} records")
    offset, length = span
    try:
        with file.path.open("rb") as stream:
            return file.read(stream, offset, length)
    except ValueError as error:
        raise CorruptFileError(str(file.path), str(error), record=number, offset=offset) from error


def _sample(
    path: Path,
    record: int | None,
    label: str,
    stored_bytes: int,
    pixels: NDArray[np.uint8] | None = None,
    reason: str = "",
) -> SampleImage:
    height, width = (0, 0) if pixels is None else pixels.shape[:2]
    return SampleImage(
        path=str(path),
        record=record,
        label=label,
        height=height,
        width=width,
        bytes=stored_bytes,
        reason=reason,
        pixels=pixels,
    )


def _reduced(image: SampleImage, max_side: int) -> SampleImage:
    longest = max(image.height, image.width)
    if image.pixels is None or longest <= max_side:
        return image
    width, height = (max(1, round(side * max_side / longest)) for side in (image.width, image.height))
    pixels = cv2.resize(image.pixels, (width, height), interpolation=cv2.INTER_AREA)
    return replace(image, pixels=np.asarray(pixels, np.uint8))
