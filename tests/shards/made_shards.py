"""A small data set of shards, every byte of it known, for tests that look into shards or damage them."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from nodewise.shards.examples import Example
from nodewise.shards.files import write_shards
from nodewise.shards.manifest import Manifest, write_manifest
from nodewise.specs.job import Encoding, ShardFormat, Split

CLASSES = ("cat", "dog", "owl")
# Of six images in train (two shards of three) and two in test: the class numbers.
LABELS: dict[Split, tuple[tuple[int, ...], ...]] = {"train": ((0, 1, 1), (1, 1, 0)), "test": ((2, 0),)}
HEIGHT, WIDTH = 12, 16
FORMATS: list[ShardFormat] = ["tfrecord", "webdataset"]


def image_file(number: int, *, kind: str = "PNG", size: tuple[int, int] = (WIDTH, HEIGHT), mode: str = "RGB") -> bytes:
    """An image file in one colour, another for each number; ``size`` is width and height."""
    stream = io.BytesIO()
    Image.new("RGB", size, (number * 20, 100, 200)).convert(mode).save(stream, kind)
    return stream.getvalue()


def make_shards(
    folder: Path,
    *,
    shard_format: ShardFormat = "tfrecord",
    encoding: Encoding = "png",
    images: dict[int, bytes] | None = None,
    labels: dict[Split, tuple[tuple[int, ...], ...]] = LABELS,
    classes: Sequence[str] = CLASSES,
) -> Manifest:
    """Write the shards and their manifest.

    Args:
        images: Stored instead of the image with that number; numbers count over all records, in the manifest's order.
        labels: Class numbers by split and shard.
    """
    infos = []
    number = 0
    for split, shards in labels.items():
        for index, shard in enumerate(shards):
            examples = []
            for label in shard:
                if encoding == "raw":
                    pixels = np.full((HEIGHT, WIDTH, 3), number, np.uint8)
                    examples.append(Example(pixels.tobytes(), label, pixels.shape))
                else:
                    examples.append(Example((images or {}).get(number) or image_file(number), label))
                number += 1
            infos += write_shards(folder, split, index, examples, shard_format=shard_format)
    manifest = Manifest(
        classes=tuple(classes),
        image={"height": HEIGHT, "width": WIDTH, "channels": 3},
        shard_format=shard_format,
        encoding=encoding,
        transform={},
        counts={
            split: {name: sum(shard.count(label) for shard in shards) for label, name in enumerate(classes)}
            for split, shards in labels.items()
        },
        shards=tuple(infos),
    )
    write_manifest(folder, manifest)
    return manifest
