"""Small sources for tests of readers: every picture has a colour of its own."""

from __future__ import annotations

from itertools import islice
from pathlib import Path

from PIL import Image
from tests.shards.made_shards import make_shards

from nodewise.readers.base import ReadSource
from nodewise.readers.sources import RecordPlaces, open_read_sources
from nodewise.specs.job import Encoding, ShardFormat, Split

__all__ = ["SIZE", "colour", "first_ids", "image_source", "make_images", "shard_source"]

SIZE = 16
NUM_RECORDS = 40
LABELS: dict[Split, tuple[tuple[int, ...], ...]] = {"train": ((0,) * 25, (1,) * 15), "test": ((0,),)}
# Of 40 training records in two shards.


def colour(number: int) -> tuple[int, int, int]:
    return number * 6, 255 - number * 6, 100


def make_images(folder: Path, count: int = NUM_RECORDS) -> Path:
    """``even/0.jpg``, ``odd/1.jpg`` ...: 20 x 30 pixels of one colour each."""
    for number in range(count):
        path = folder / ("odd" if number % 2 else "even") / f"{number}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (20, 30), colour(number)).save(path, quality=95)
    return folder


def image_source(folder: Path, count: int = NUM_RECORDS) -> ReadSource:
    return open_read_sources([make_images(folder, count)], size=SIZE, max_records=1000, seed=0)[0]


def shard_source(folder: Path, *, shard_format: ShardFormat = "tfrecord", encoding: Encoding = "png") -> ReadSource:
    """40 training records in two shards, and one held out; colours repeat after twelve."""
    make_shards(folder, shard_format=shard_format, encoding=encoding, labels=LABELS)
    return open_read_sources([folder], size=SIZE, max_records=1000, seed=0)[0]


def first_ids(source: ReadSource, count: int) -> list[str]:
    """The ids of the first records as they are stored, at most so many."""
    return [example.key for example in islice(RecordPlaces(source).stored(), count)]
