"""Shards of tiny images that are their own record numbers, for tests that count records."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from nodewise.images.codecs import encode_jpeg, encode_png, encode_webp
from nodewise.shards.examples import Example
from nodewise.shards.files import write_shards
from nodewise.shards.manifest import Manifest, write_manifest
from nodewise.specs.job import Encoding, ShardFormat

HEIGHT, WIDTH = 2, 3


def pixels_of(number: int) -> NDArray[np.uint8]:
    """An image whose pixels are the digits of a number to the base 256."""
    return np.tile(np.array([number % 256, number // 256, 7], np.uint8), (HEIGHT, WIDTH, 1))


def write_numbered(
    folder: Path,
    lengths: Sequence[int],
    *,
    shard_format: ShardFormat = "tfrecord",
    encoding: Encoding = "raw",
    images: Sequence[NDArray[np.uint8]] | None = None,
) -> Manifest:
    """Write shards of these lengths; a record's label is its number, and its image too unless others are given."""
    shards = []
    number = 0
    for index, length in enumerate(lengths):
        examples = []
        for _ in range(length):
            pixels = pixels_of(number) if images is None else images[number]
            examples.append(_example(pixels, number, encoding))
            number += 1
        shards += write_shards(folder, "train", index, examples, shard_format=shard_format)
    height, width = (HEIGHT, WIDTH) if images is None else images[0].shape[:2]
    manifest = Manifest(
        classes=("number",),
        image={"height": height, "width": width, "channels": 3},
        shard_format=shard_format,
        encoding=encoding,
        transform={},
        counts={"train": {"number": number}},
        shards=tuple(shards),
    )
    write_manifest(folder, manifest)
    return manifest


def _example(pixels: NDArray[np.uint8], label: int, encoding: Encoding) -> Example:
    match encoding:
        case "raw":
            return Example(pixels.tobytes(), label, (pixels.shape[0], pixels.shape[1], 3))
        case "png":
            return Example(encode_png(pixels), label)
        case "webp":
            return Example(encode_webp(pixels, 100), label)
        case _:
            return Example(encode_jpeg(pixels, 95), label)
