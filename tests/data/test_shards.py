"""Shards and their manifest."""

import dataclasses
import hashlib
import json
import subprocess
import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nodewise.core.errors import CorruptFileError, SourceError
from nodewise.data.records import frame_record
from nodewise.data.shards import (
    Manifest,
    ShardName,
    parse_shard_name,
    read_manifest,
    read_shard,
    remove_leftovers,
    shard_name,
    split_shards,
    write_manifest,
    write_shard,
)
from nodewise.specs.results import ShardInfo, SkippedImage

EXAMPLES = [(b"first", 0), (b"", 3), (b"third", 1)]


def info(split, index, records):
    return ShardInfo(path=shard_name(split, index, records), split=split, records=records, bytes=100, sha256="0" * 64)


def manifest(**changes):
    values = {
        "classes": ("daisy", "großer Löwenzahn"),
        "image": {"height": 192, "width": 192, "channels": 3},
        "transform": {"size": 192, "quality": 95},
        "counts": {"train": {"daisy": 3, "großer Löwenzahn": 2}, "test": {"daisy": 1}},
        "shards": (info("train", 0, 3), info("train", 1, 2), info("test", 0, 1)),
        "skipped": (SkippedImage(path="daisy/x.jpg", reason="cut short"),),
        "source": "flowers",
        "seed": 4,
        "sample": 0.5,
        "test_fraction": 0.2,
    }
    return Manifest(**(values | changes))


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_shard_name_has_index_and_records():
    assert shard_name("train", 7, 230) == "train-00007-230.tfrec"
    assert shard_name("test", 123456, 1) == "test-123456-1.tfrec"


@given(
    prefix=st.from_regex(r"[a-z][a-z-]{0,8}", fullmatch=True),
    index=st.integers(0, 10**6),
    records=st.integers(0, 10**6),
)
def test_shard_name_is_parsed_back(prefix, index, records):
    assert parse_shard_name(shard_name(prefix, index, records)) == ShardName(prefix, index, records)


@pytest.mark.parametrize(
    "name",
    [
        "",
        "manifest.json",
        "train-7-230.tfrec",
        "train-00007.tfrec",
        "../train-00007-230.tfrec",
        "train-00007-230.tfrec.gz",
    ],
)
def test_other_names_are_no_shards(name):
    assert parse_shard_name(name) is None


def test_written_shard_is_described_and_read_back(tmp_path):
    shard = write_shard(tmp_path, "train", 7, iter(EXAMPLES))
    data = (tmp_path / "train-00007-3.tfrec").read_bytes()
    assert shard == ShardInfo(
        path="train-00007-3.tfrec",
        split="train",
        records=3,
        bytes=len(data),
        sha256=hashlib.sha256(data).hexdigest(),
    )
    assert names(tmp_path) == ["train-00007-3.tfrec"]
    assert list(read_shard(tmp_path, shard)) == EXAMPLES
    assert list(read_shard(tmp_path, "train-00007-3.tfrec")) == EXAMPLES
    assert list(read_shard(tmp_path, tmp_path / "train-00007-3.tfrec")) == EXAMPLES


@settings(deadline=None)
@given(examples=st.lists(st.tuples(st.binary(max_size=60), st.integers(0, 999)), min_size=1, max_size=6))
def test_any_examples_come_back_and_give_the_same_bytes_again(tmp_path_factory, examples):
    folder = tmp_path_factory.mktemp("shards")
    first = write_shard(folder, "train", 0, examples)
    assert list(read_shard(folder, first)) == examples
    assert write_shard(folder, "train", 0, examples) == first
    assert names(folder) == [first.path]


def test_no_examples_make_no_file(tmp_path):
    assert write_shard(tmp_path / "new", "train", 0, []) is None
    assert names(tmp_path / "new") == []


def test_failed_shard_leaves_nothing(tmp_path):
    def failing():
        yield b"image", 1
        assert len(names(tmp_path)) == 1  # it is being written, under another name
        assert parse_shard_name(names(tmp_path)[0]) is None
        raise RuntimeError("lost")

    with pytest.raises(RuntimeError, match="lost"):
        write_shard(tmp_path, "train", 0, failing())
    assert names(tmp_path) == []


def test_shard_of_an_earlier_job_with_another_count_is_removed(tmp_path):
    write_shard(tmp_path, "train", 0, EXAMPLES)
    for other in (("train", 1), ("test", 0), ("train-x", 0)):
        write_shard(tmp_path, *other, EXAMPLES)
    write_shard(tmp_path, "train", 0, EXAMPLES[:2])
    assert names(tmp_path) == [
        "test-00000-3.tfrec",
        "train-00000-2.tfrec",
        "train-00001-3.tfrec",
        "train-x-00000-3.tfrec",
    ]
    assert write_shard(tmp_path, "train", 0, []) is None
    assert "train-00000-2.tfrec" not in names(tmp_path)


def test_failed_attempt_leaves_the_earlier_shard(tmp_path):
    write_shard(tmp_path, "train", 0, EXAMPLES)
    with pytest.raises(ZeroDivisionError):
        write_shard(tmp_path, "train", 0, ((b"x", 1 // (1 - i)) for i in range(2)))
    assert names(tmp_path) == ["train-00000-3.tfrec"]


def test_leftovers_of_killed_tasks_are_removed(tmp_path):
    write_shard(tmp_path, "train", 0, EXAMPLES)
    (tmp_path / ".part-0123456789ab-train-00001").write_bytes(b"half")
    remove_leftovers(tmp_path)
    assert names(tmp_path) == ["train-00000-3.tfrec"]


def test_damaged_record_is_named(tmp_path):
    path = tmp_path / "train-00000-3.tfrec"
    shard = write_shard(tmp_path, "train", 0, EXAMPLES)
    damaged = bytearray(path.read_bytes())
    damaged[-1] ^= 1
    path.write_bytes(damaged)
    reader = read_shard(tmp_path, shard)
    assert [next(reader), next(reader)] == EXAMPLES[:2]
    with pytest.raises(CorruptFileError, match=r"train-00000-3.tfrec at record 2 \(byte \d+\): .* checksum"):
        next(reader)


def test_record_that_is_no_example_is_named(tmp_path):
    (tmp_path / "a.tfrec").write_bytes(frame_record(b"") + frame_record(b"hello"))
    with pytest.raises(CorruptFileError, match=r"a.tfrec at record 0: there is no feature 'image'"):
        list(read_shard(tmp_path, "a.tfrec"))


def test_missing_records_and_missing_files_are_found(tmp_path):
    shard = write_shard(tmp_path, "train", 0, EXAMPLES)
    path = tmp_path / shard.path
    # Cut between two records, so that every record that is left is right.
    keep = sum(len(frame_record(payload)) for payload in _payloads(path)[:2])
    path.write_bytes(path.read_bytes()[:keep])
    for name in (shard, shard.path):
        with pytest.raises(CorruptFileError, match="holds 2 records instead of 3"):
            list(read_shard(tmp_path, name))
    path.unlink()
    with pytest.raises(CorruptFileError, match="cannot be opened"):
        list(read_shard(tmp_path, shard))


def _payloads(path):
    from nodewise.data.records import read_records

    return list(read_records(path))


def test_manifest_comes_back(tmp_path):
    for written in (manifest(), manifest(image=None, counts={"train": {"daisy": 6}}, shards=(info("train", 0, 6),))):
        write_manifest(tmp_path, written)
        assert read_manifest(tmp_path) == written
    assert names(tmp_path) == ["manifest.json"]
    assert "großer" in (tmp_path / "manifest.json").read_text(encoding="utf-8")


def test_split_shards_keep_their_order():
    assert [shard.path for shard in split_shards(manifest(), "train")] == ["train-00000-3.tfrec", "train-00001-2.tfrec"]
    assert [shard.path for shard in split_shards(manifest(), "test")] == ["test-00000-1.tfrec"]
    assert split_shards(manifest(), "all") == manifest().shards


@pytest.mark.parametrize("place", ["folder", "missing folder", "file"])
def test_missing_manifest_says_how_to_make_one(tmp_path, place):
    folder = {"folder": tmp_path, "missing folder": tmp_path / "none", "file": tmp_path / "file"}[place]
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(SourceError, match=r"there is no manifest.json") as caught:
        read_manifest(folder)
    assert "nodewise prepare" in caught.value.hint


def test_newer_manifest_is_not_guessed_at(tmp_path):
    (tmp_path / "manifest.json").write_text('{"version": 2, "shape": "unknown"}')
    with pytest.raises(CorruptFileError, match="newer nodewise"):
        read_manifest(tmp_path)


@pytest.mark.parametrize("content", [b"", b"{", b"\xff\xfe", b"[]", b"1", b"{}"])
def test_damaged_manifest_is_corrupt(tmp_path, content):
    (tmp_path / "manifest.json").write_bytes(content)
    with pytest.raises(CorruptFileError, match=r"manifest.json: "):
        read_manifest(tmp_path)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"classes": [1]}, "classes.0"),
        ({"seed": "4"}, "seed"),
        ({"counts": {"train": {"daisy": "many"}}}, "counts.train.daisy"),
        ({"counts": {"train": {"daisy": 4}, "test": {"daisy": 1}}}, "'train' hold 5 records, its counts say 4"),
        ({"counts": {"train": {"daisy": 5}}}, "'test' hold 1 records, its counts say 0"),
    ],
)
def test_manifest_that_contradicts_itself_says_where(tmp_path, changes, reason):
    raw = json.loads(json.dumps(dataclasses.asdict(manifest()))) | changes
    (tmp_path / "manifest.json").write_text(json.dumps(raw))
    with pytest.raises(CorruptFileError, match=reason):
        read_manifest(tmp_path)


@pytest.mark.parametrize("path", ["../../secret-00000-1.tfrec", "/etc/passwd", "test-00000-2.tfrec"])
def test_manifest_that_names_other_files_is_corrupt(tmp_path, path):
    write_manifest(
        tmp_path, manifest(shards=(*manifest().shards[:2], dataclasses.replace(info("test", 0, 1), path=path)))
    )
    with pytest.raises(CorruptFileError, match="is not the name of a shard with 1 records"):
        read_manifest(tmp_path)


def test_shards_are_read_without_image_libraries():
    # Workers that only read shards should start fast.
    code = "import sys, nodewise.data.shards; print({'cv2', 'PIL', 'pydantic', 'numpy'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
