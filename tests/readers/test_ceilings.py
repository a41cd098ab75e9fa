"""The ceilings decode and read what they say."""

from __future__ import annotations

from itertools import islice
from pathlib import Path

import pytest
from tests.readers.made_sources import first_ids, image_source, shard_source

from nodewise.core.errors import InputError
from nodewise.data.pagecache import CacheSnapshot, drop
from nodewise.images.codecs import ImageError
from nodewise.readers.base import ReadSource
from nodewise.readers.ceilings import decode_rate, read_rate
from nodewise.readers.sources import RecordPlaces
from nodewise.shards.examples import Example


@pytest.mark.parametrize("kind", ["images", "png", "raw", "tar"])
def test_every_kind_of_source_has_a_rate_of_decoding(tmp_path: Path, kind: str) -> None:
    source = made(kind, tmp_path)
    examples = list(islice(RecordPlaces(source).stored(), 10))
    for threads in (1, 3):
        assert decode_rate(source, examples, threads) > 0


def made(kind: str, folder: Path) -> ReadSource:
    if kind == "images":
        return image_source(folder, 10)
    return shard_source(
        folder,
        shard_format="webdataset" if kind == "tar" else "tfrecord",
        encoding="raw" if kind == "raw" else "png",
    )


def test_every_record_is_decoded(tmp_path: Path) -> None:
    source = shard_source(tmp_path)
    good = RecordPlaces(source).example("train-00000-000000")
    for place in range(5):
        examples = [good] * 5
        examples[place] = Example(b"damaged", 0)
        with pytest.raises(ImageError):
            decode_rate(source, examples, 2)


def test_reading_reads_the_bytes_from_where_they_are(tmp_path: Path) -> None:
    source = shard_source(tmp_path)
    extents = RecordPlaces(source).extents(first_ids(source, 40))
    try:
        drop(source.paths)
    except InputError as error:
        pytest.skip(error.message)
    assert read_rate(extents) > 0
    assert CacheSnapshot(source.paths).cached_fraction(extents) == pytest.approx(1.0, abs=0.05)
