"""Which shards a path stands for."""

from __future__ import annotations

import tarfile
from pathlib import Path

import pytest

from nodewise.core.errors import SourceError
from nodewise.shards.inspect import find_shards, holds_shards, label_name
from nodewise.specs.job import ShardFormat

from .made_shards import FORMATS, image_file, make_shards


@pytest.mark.parametrize("shard_format", FORMATS)
def test_a_folder_has_the_shards_of_its_manifest(tmp_path: Path, shard_format: ShardFormat) -> None:
    manifest = make_shards(tmp_path, shard_format=shard_format)
    (tmp_path / manifest.shards[0].path).unlink()
    found = find_shards(tmp_path)
    assert [(file.path.name, file.split, file.num_records) for file in found.files] == [
        (manifest.shards[0].path, "train", 3),
        (manifest.shards[1].path, "train", 3),
        (manifest.shards[2].path, "test", 2),
    ]
    assert [file.info for file in found.files] == list(manifest.shards)
    assert (found.folder, found.manifest, found.manifest_fault, found.unlisted) == (tmp_path, manifest, None, ())


def test_a_folder_without_a_manifest_has_the_shards_that_are_named_like_some(tmp_path: Path) -> None:
    make_shards(tmp_path)
    (tmp_path / "manifest.json").unlink()
    (tmp_path / "flowers.tar").write_bytes(b"")
    found = find_shards(tmp_path)
    assert [file.path.name for file in found.files] == [
        "test-00000-2.tfrec",
        "train-00000-3.tfrec",
        "train-00001-3.tfrec",
    ]
    assert (found.manifest, {file.info for file in found.files}) == (None, {None})


def test_shards_that_the_manifest_does_not_know_are_apart(tmp_path: Path) -> None:
    make_shards(tmp_path)
    (tmp_path / "train-00009-1.tfrec").write_bytes(b"")
    found = find_shards(tmp_path)
    assert len(found.files) == 3
    assert found.unlisted == (tmp_path / "train-00009-1.tfrec",)
    # Asked for by name it stands alone, and the manifest says nothing of it.
    alone = find_shards(tmp_path / "train-00009-1.tfrec")
    assert (len(alone.files), alone.manifest, alone.unlisted) == (1, None, ())


def test_a_damaged_manifest_is_kept_as_a_fault(tmp_path: Path) -> None:
    make_shards(tmp_path)
    (tmp_path / "manifest.json").write_bytes(b"[]")
    found = find_shards(tmp_path)
    assert (len(found.files), found.manifest) == (3, None)
    assert found.manifest_fault is not None
    assert found.manifest_fault.path == str(tmp_path / "manifest.json")


@pytest.mark.parametrize("shard_format", FORMATS)
def test_records_are_read_where_they_are_located(tmp_path: Path, shard_format: ShardFormat) -> None:
    make_shards(tmp_path, shard_format=shard_format)
    file = find_shards(tmp_path).files[0]
    with file.path.open("rb") as stream:
        examples = [file.read(stream, *span) for span in file.locate()]
    assert [(example.image, example.label) for example in examples] == [
        (image_file(0), 0),
        (image_file(1), 1),
        (image_file(2), 1),
    ]


def test_a_record_too_long_to_be_held_is_not_read(tmp_path: Path) -> None:
    # One hole of two gigabytes, with the name and the header of an image.
    header = tarfile.TarInfo("a.jpg")
    header.size = 2 << 30
    with (tmp_path / "a.tar").open("wb") as stream:
        stream.write(header.tobuf(tarfile.USTAR_FORMAT))
        stream.truncate(512 + header.size + 1024)
    (file,) = find_shards(tmp_path / "a.tar").files
    (span,) = file.locate()
    with file.path.open("rb") as stream, pytest.raises(ValueError, match="more than 1073741824 are not read"):
        file.read(stream, *span)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("a.tfrec", True),
        ("a.tfrecord", True),
        ("a.tfrecords", True),
        ("a.tar", True),
        ("a.jpg", False),
        ("a.idx", False),
    ],
)
def test_a_file_is_a_shard_by_its_suffix(tmp_path: Path, name: str, expected: bool) -> None:
    (tmp_path / name).write_bytes(b"")
    assert holds_shards(tmp_path / name) is expected
    assert not holds_shards(tmp_path)


def test_a_path_without_shards_is_an_input_error(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="no such file or folder"):
        find_shards(tmp_path / "nowhere")
    with pytest.raises(SourceError, match="no shards here") as caught:
        find_shards(tmp_path)
    assert "nodewise prepare" in (caught.value.hint or "")


def test_a_class_without_a_name_is_its_number(tmp_path: Path) -> None:
    manifest = make_shards(tmp_path)
    assert [label_name(label, manifest) for label in (-1, 0, 2, 3)] == ["-1", "cat", "owl", "3"]
    assert label_name(0, None) == "0"
