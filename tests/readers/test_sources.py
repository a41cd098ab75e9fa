"""What a speed test reads, by what name, and where it is stored."""

from __future__ import annotations

import itertools
import json
from pathlib import Path

import numpy as np
import pytest
from tests.readers.made_sources import colour, first_ids, image_source, make_images, shard_source
from tests.shards.made_shards import make_shards

from nodewise.core.errors import SourceError
from nodewise.data.pagecache import Extent
from nodewise.readers.base import ReadSource
from nodewise.readers.sources import RecordPlaces, open_read_sources
from nodewise.shards.manifest import MANIFEST_NAME


def open_one(folder: Path, *, max_records: int = 1000, seed: int = 0) -> ReadSource:
    return open_read_sources([folder], size=16, max_records=max_records, seed=seed)[0]


def test_a_folder_of_images_is_listed_in_an_order_of_the_seed(tmp_path: Path) -> None:
    make_images(tmp_path / "photos", 8)
    source = open_one(tmp_path / "photos")
    assert (source.name, source.kind, source.encoding, source.shape) == ("photos (images)", "images", None, (16, 16, 3))
    names = {f"even/{number}.jpg" for number in (0, 2, 4, 6)} | {f"odd/{number}.jpg" for number in (1, 3, 5, 7)}
    assert set(source.files) == names
    assert len(source.files) == 8
    assert open_one(tmp_path / "photos") == source
    assert open_one(tmp_path / "photos", seed=1).files != source.files
    assert all(path.is_file() for path in source.paths)


def test_no_more_images_are_listed_than_are_read(tmp_path: Path) -> None:
    make_images(tmp_path / "photos", 20)
    source = open_one(tmp_path / "photos", max_records=5)
    assert len(set(source.files)) == 5


@pytest.mark.parametrize(
    ("shard_format", "encoding", "name"),
    [
        ("tfrecord", "png", "small (tfrecord, png)"),
        ("tfrecord", "raw", "small (tfrecord, raw)"),
        ("webdataset", "png", "small (webdataset, png)"),
    ],
)
def test_shards_are_the_training_records(tmp_path: Path, shard_format: str, encoding: str, name: str) -> None:
    make_shards(tmp_path / "small", shard_format=shard_format, encoding=encoding)  # type: ignore[arg-type]
    source = open_one(tmp_path / "small")
    assert (source.name, source.kind, source.encoding, source.shape) == (name, shard_format, encoding, (12, 16, 3))
    assert [file.split(".")[0] for file in source.files] == ["train-00000-3", "train-00001-3"]


def test_folders_of_one_name_are_told_apart_by_their_parents(tmp_path: Path) -> None:
    for parent in ("a", "b"):
        make_images(tmp_path / parent / "photos", 2)
    make_shards(tmp_path / "photos")
    folders = [tmp_path / "a" / "photos", tmp_path / "b" / "photos"]
    names = [source.name for source in open_read_sources(folders, size=16, max_records=9, seed=0)]
    assert names == ["a/photos (images)", "b/photos (images)"]
    names = [s.name for s in open_read_sources([folders[0], tmp_path / "photos"], size=16, max_records=9, seed=0)]
    assert names == ["photos (images)", "photos (tfrecord, png)"]


def test_a_folder_named_twice_is_refused(tmp_path: Path) -> None:
    make_images(tmp_path / "photos", 2)
    with pytest.raises(SourceError, match="named twice"):
        open_read_sources([tmp_path / "photos", tmp_path / "x" / ".." / "photos"], size=16, max_records=9, seed=0)


@pytest.mark.parametrize("content", ["nothing", "an empty class", "no training records"])
def test_where_there_is_nothing_to_read_there_is_no_source(tmp_path: Path, content: str) -> None:
    folder = tmp_path / "data"
    if content == "no training records":
        make_shards(folder, labels={"test": ((0, 1),)})
    elif content == "an empty class":
        (folder / "roses").mkdir(parents=True)
    else:
        folder.mkdir()
    with pytest.raises(SourceError, match="data"):
        open_one(folder)


def test_a_folder_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="no such folder"):
        open_one(tmp_path / "photos*")


def test_shards_that_cannot_be_batched_or_told_apart_are_refused(tmp_path: Path) -> None:
    make_shards(tmp_path)
    manifest = json.loads((tmp_path / MANIFEST_NAME).read_text())
    (tmp_path / MANIFEST_NAME).write_text(json.dumps({**manifest, "image": None}))
    with pytest.raises(SourceError, match="different sizes"):
        open_one(tmp_path)


def test_an_image_is_found_by_its_path(tmp_path: Path) -> None:
    source = image_source(tmp_path / "photos", 4)
    places = RecordPlaces(source)
    path = source.folder / "odd" / "3.jpg"
    assert places.extents(["odd/3.jpg"]) == [Extent(path, 0, path.stat().st_size)]
    assert first_ids(source, 2) == list(source.files[:2])
    assert first_ids(source, 9) == list(source.files)
    assert places.example("odd/3.jpg").image == path.read_bytes()
    assert places.pixels("odd/3.jpg").shape == (16, 16, 3)
    assert np.allclose(places.pixels("odd/3.jpg").mean(axis=(0, 1)), colour(3), atol=3)


@pytest.mark.parametrize("shard_format", ["tfrecord", "webdataset"])
def test_a_record_is_found_by_its_key(tmp_path: Path, shard_format: str) -> None:
    source = shard_source(tmp_path, shard_format=shard_format)  # type: ignore[arg-type]
    places = RecordPlaces(source)
    keys = first_ids(source, 1000)
    assert keys[0] == "train-00000-000000"
    assert keys[-1] == "train-00001-000014"
    assert len(keys) == 40
    assert first_ids(source, 27)[-1] == "train-00001-000001"
    extents = places.extents(keys)
    # The records of a shard follow one another; a tar ends with blocks of zeros.
    first = [extent for extent in extents if extent.path == source.paths[0]]
    assert len(first) == 25
    assert first[0].offset == 0
    assert all(one.offset + one.length == other.offset for one, other in itertools.pairwise(first))
    end = first[-1].offset + first[-1].length
    assert end <= source.paths[0].stat().st_size
    example = places.example("train-00001-000002")
    assert (example.key, example.label) == ("train-00001-000002", 1)
    assert example.image in extents[27].path.read_bytes()[extents[27].offset :][: extents[27].length]


def test_raw_records_have_their_pixels(tmp_path: Path) -> None:
    places = RecordPlaces(shard_source(tmp_path, encoding="raw"))
    assert (places.pixels("train-00000-000007") == 7).all()
    assert places.pixels("train-00000-000007").shape == (12, 16, 3)


@pytest.mark.parametrize("key", ["train-00000-000099", "train-00009-000000", "", "roses/1.jpg", "train-00000-x"])
@pytest.mark.parametrize("kind", ["images", "shards"])
def test_a_record_that_there_is_not_is_not_found(tmp_path: Path, kind: str, key: str) -> None:
    source = image_source(tmp_path, 2) if kind == "images" else shard_source(tmp_path)
    with pytest.raises((LookupError, ValueError)):
        RecordPlaces(source).extents([key])
