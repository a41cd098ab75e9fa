"""Shards and their manifest."""

import dataclasses
import errno
import hashlib
import json
import os
import signal
import subprocess
import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nodewise.core.errors import CorruptFileError, DiskFullError, InputError, SourceError
from nodewise.shards.examples import Example, ExampleError, encode_example
from nodewise.shards.files import read_shard, remove_leftovers, write_shards
from nodewise.shards.manifest import Manifest, read_manifest, split_shards, write_manifest
from nodewise.shards.names import ShardName, is_shard_file, parse_shard_name, shard_name
from nodewise.shards.records import frame_record, read_records
from nodewise.specs.results import ShardInfo, SkippedImage

JPEG = b"\xff\xd8"
EXAMPLES = [Example(JPEG + b"first", 0), Example(JPEG, 3), Example(JPEG + b"third", 1)]
FORMATS = ["tfrecord", "webdataset"]


def keyed(examples, prefix="train-00000"):
    """The examples with the keys that the writer gives them."""
    return [example._replace(key=f"{prefix}-{number:06d}") for number, example in enumerate(examples)]


def write_shard(folder, prefix, index, examples, **settings):
    """Write at most one shard."""
    shards = write_shards(folder, prefix, index, examples, **settings)
    assert len(shards) <= 1
    return shards[0] if shards else None


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
    """The shards in a folder; each TFRecord file has its index beside it, and nothing else is there."""
    found = {path.name for path in folder.iterdir()}
    shards = {name for name in found if not name.endswith(".idx")}
    assert found - shards == {f"{name}.idx" for name in shards if name.endswith(".tfrec")}
    return sorted(shards)


def test_shard_name_has_index_and_records():
    assert shard_name("train", 7, 230) == "train-00007-230.tfrec"
    assert shard_name("test", 123456, 1) == "test-123456-1.tfrec"
    assert shard_name("train", 7, 230, "webdataset") == "train-00007-230.tar"


@given(
    prefix=st.from_regex(r"[a-z][a-z-]{0,8}", fullmatch=True),
    index=st.integers(0, 10**6),
    records=st.integers(0, 10**6),
    shard_format=st.sampled_from(FORMATS),
)
def test_shard_name_is_parsed_back(prefix, index, records, shard_format):
    name = shard_name(prefix, index, records, shard_format)
    assert parse_shard_name(name) == ShardName(prefix, index, records)
    assert is_shard_file(name)
    assert is_shard_file(f"{name}.idx")


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
    assert not is_shard_file(name)
    assert not is_shard_file(f"{name}.idx")


@pytest.mark.parametrize(("shard_format", "suffix"), [("tfrecord", "tfrec"), ("webdataset", "tar")])
def test_written_shard_is_described_and_read_back(tmp_path, shard_format, suffix):
    shard = write_shard(tmp_path, "train", 7, iter(EXAMPLES), shard_format=shard_format)
    name = f"train-00007-3.{suffix}"
    data = (tmp_path / name).read_bytes()
    assert shard == ShardInfo(
        path=name, split="train", records=3, bytes=len(data), sha256=hashlib.sha256(data).hexdigest()
    )
    assert names(tmp_path) == [name]
    for given_as in (shard, name, tmp_path / name):
        assert list(read_shard(tmp_path, given_as)) == keyed(EXAMPLES, "train-00007")


@pytest.mark.parametrize("shard_format", FORMATS)
@settings(deadline=None)
@given(examples=st.lists(st.tuples(st.binary(max_size=60), st.integers(0, 999)), min_size=1, max_size=6))
def test_any_examples_come_back_and_give_the_same_bytes_again(tmp_path_factory, shard_format, examples):
    folder = tmp_path_factory.mktemp("shards")
    examples = [Example(JPEG + image, label) for image, label in examples]
    first = write_shard(folder, "train", 0, examples, shard_format=shard_format)
    assert list(read_shard(folder, first)) == keyed(examples)
    assert write_shard(folder, "train", 0, examples, shard_format=shard_format) == first
    assert names(folder) == [first.path]


@pytest.mark.parametrize("shard_format", FORMATS)
def test_another_process_writes_the_same_bytes(tmp_path, shard_format):
    code = f"""
from pathlib import Path
from nodewise.shards.examples import Example
from nodewise.shards.files import write_shards
examples = [Example(b"\\xff\\xd8first", 0), Example(b"\\xff\\xd8", 3), Example(b"\\xff\\xd8third", 1)]
(shard,) = write_shards(Path("theirs"), "train", 0, examples, shard_format={shard_format!r})
print(shard.sha256)
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True)
    ours = write_shard(tmp_path / "ours", "train", 0, EXAMPLES, shard_format=shard_format)
    assert done.stdout.strip() == ours.sha256
    for path in (tmp_path / "ours").iterdir():
        assert path.read_bytes() == (tmp_path / "theirs" / path.name).read_bytes()


def test_no_examples_make_no_file(tmp_path):
    assert write_shards(tmp_path / "new", "train", 0, []) == ()
    assert names(tmp_path / "new") == []


@pytest.mark.parametrize(("shard_format", "one_record"), [("tfrecord", 87), ("webdataset", 2048)])
def test_shards_are_cut_at_a_number_of_bytes(tmp_path, shard_format, one_record):
    extra = 1024 if shard_format == "webdataset" else 0
    examples = [Example(JPEG + b"12345", 0)] * 5
    (alone,) = write_shards(tmp_path / "alone", "train", 0, examples[:1], shard_format=shard_format)
    assert alone.bytes == one_record + extra
    for max_bytes, lengths in (
        (2 * one_record + extra, [2, 2, 1]),
        (3 * one_record + extra - 1, [2, 2, 1]),
        (10**6, [5]),
        (1, [1, 1, 1, 1, 1]),
    ):
        folder = tmp_path / f"{max_bytes}"
        shards = write_shards(folder, "train", 3, examples, shard_format=shard_format, max_bytes=max_bytes)
        assert [shard.records for shard in shards] == lengths
        assert [parse_shard_name(shard.path).index for shard in shards] == [3000 + k for k in range(len(lengths))]
        assert all(shard.bytes <= max_bytes for shard in shards if shard.records > 1)
        assert names(folder) == [shard.path for shard in shards]
        found = [list(read_shard(folder, shard)) for shard in shards]
        assert found == [keyed(examples[:length], f"train-{3000 + k:05d}") for k, length in enumerate(lengths)]


def test_fewer_shards_than_before_leave_none_of_the_earlier_ones(tmp_path):
    write_shards(tmp_path, "train", 3, EXAMPLES, max_bytes=1)
    write_shards(tmp_path, "train", 4, EXAMPLES, max_bytes=1)
    write_shards(tmp_path, "train", 3, EXAMPLES, max_bytes=10**6)
    assert names(tmp_path) == ["train-03000-3.tfrec", *(f"train-0400{k}-1.tfrec" for k in range(3))]


def test_more_shards_than_an_index_has_numbers_for_are_refused(tmp_path):
    with pytest.raises(InputError, match="more than 1000 shards of 1 bytes") as caught:
        write_shards(tmp_path, "train", 0, [Example(b"", 0)] * 1001, max_bytes=1)
    assert "more bytes" in caught.value.hint
    assert names(tmp_path) == []


def test_each_file_is_committed_after_asking(tmp_path):
    seen = []
    write_shards(tmp_path, "train", 0, EXAMPLES, max_bytes=1, before_commit=lambda: seen.append(names_whole(tmp_path)))
    # Once before earlier shards are removed, then before each new one.
    assert [len(shards) for shards in seen] == [0, 0, 1, 2]


def names_whole(folder):
    return [path.name for path in folder.iterdir() if parse_shard_name(path.name)]


@pytest.mark.parametrize("refused", [0, 1, 2])
def test_a_writer_that_may_not_commit_any_more_leaves_nothing_unfinished(tmp_path, refused):
    write_shards(tmp_path, "train", 0, EXAMPLES[:2], max_bytes=10**6)
    calls = iter(range(10))

    def lease_check():
        if next(calls) == refused:
            raise RuntimeError("another run holds this folder")

    with pytest.raises(RuntimeError, match="another run"):
        write_shards(tmp_path, "train", 0, EXAMPLES, max_bytes=1, before_commit=lease_check)
    kept = {0: ["train-00000-2.tfrec"], 1: [], 2: ["train-00000-1.tfrec"]}
    assert names(tmp_path) == kept[refused]


@pytest.mark.parametrize("shard_format", FORMATS)
def test_a_full_disk_leaves_no_file(tmp_path, monkeypatch, shard_format):
    def full(_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(DiskFullError):
        write_shards(tmp_path, "train", 0, EXAMPLES, shard_format=shard_format)
    assert names(tmp_path) == []


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="there is no /dev/full")
def test_a_disk_that_fills_up_while_a_shard_is_written_is_named(tmp_path, monkeypatch):
    # A temporary name that leads to a device without space: the buffer is written when it is full, or at the end.
    monkeypatch.setattr("uuid.UUID.hex", "0123456789abcdef")
    for length in (10, 10**6):
        (tmp_path / ".part-0123456789ab-train-00000").symlink_to("/dev/full")
        with pytest.raises(DiskFullError):
            write_shards(tmp_path, "train", 0, [Example(bytes(length), 0)])
        assert names(tmp_path) == []


def test_a_killed_writer_leaves_no_shard_under_its_name(tmp_path, repetitions):
    code = """
import os, signal, sys
from pathlib import Path
from nodewise.shards.examples import Example
from nodewise.shards.files import write_shards

def examples():
    for number in range(100):
        if str(number) == sys.argv[1]:
            os.kill(os.getpid(), signal.SIGKILL)
        yield Example(bytes(5000), number)

def committing():
    if sys.argv[1] == "at the end":
        os.kill(os.getpid(), signal.SIGKILL)

write_shards(Path("."), "train", 0, examples(), before_commit=committing)
"""
    for place in ["at the end", *range(0, 100, max(1, 100 // repetitions))]:
        done = subprocess.run([sys.executable, "-c", code, str(place)], cwd=tmp_path, check=False)
        assert done.returncode == -signal.SIGKILL
        assert names_whole(tmp_path) == []
    remove_leftovers(tmp_path)
    assert names(tmp_path) == []


def test_images_that_a_tar_cannot_name_leave_nothing(tmp_path):
    with pytest.raises(ExampleError, match="neither JPEG"):
        write_shards(tmp_path, "train", 0, [EXAMPLES[0], Example(b"GIF89a", 0)], shard_format="webdataset")
    assert names(tmp_path) == []


def test_failed_shard_leaves_nothing(tmp_path):
    def failing():
        yield Example(b"image", 1)
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
    write_shard(tmp_path, "train", 0, EXAMPLES, shard_format="webdataset")
    assert names(tmp_path)[1] == "train-00000-3.tar"
    assert write_shard(tmp_path, "train", 0, []) is None
    assert names(tmp_path) == ["test-00000-3.tfrec", "train-00001-3.tfrec", "train-x-00000-3.tfrec"]


def test_failed_attempt_leaves_the_earlier_shard(tmp_path):
    write_shard(tmp_path, "train", 0, EXAMPLES)
    with pytest.raises(ZeroDivisionError):
        write_shard(tmp_path, "train", 0, (Example(b"x", 1 // (1 - i)) for i in range(2)))
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
    assert [next(reader), next(reader)] == keyed(EXAMPLES[:2])
    with pytest.raises(CorruptFileError, match=r"train-00000-3.tfrec at record 2 \(byte \d+\): .* checksum"):
        next(reader)


def test_record_that_is_no_example_is_named(tmp_path):
    # An example of 34 bytes, in a frame that takes 16 more.
    good = frame_record(encode_example(Example(b"x", 3)))
    (tmp_path / "a.tfrec").write_bytes(good + frame_record(b"hello"))
    reader = read_shard(tmp_path, "a.tfrec")
    assert next(reader) == Example(b"x", 3)
    with pytest.raises(CorruptFileError, match=r"a.tfrec at record 1 \(byte 50\): malformed protobuf"):
        next(reader)


def test_missing_records_and_missing_files_are_found(tmp_path):
    shard = write_shard(tmp_path, "train", 0, EXAMPLES)
    path = tmp_path / shard.path
    # Cut between two records, so that every record that is left is right.
    keep = sum(len(frame_record(payload)) for payload in list(read_records(path))[:2])
    path.write_bytes(path.read_bytes()[:keep])
    for name in (shard, shard.path):
        with pytest.raises(CorruptFileError, match="holds 2 records instead of 3"):
            list(read_shard(tmp_path, name))
    path.unlink()
    with pytest.raises(CorruptFileError, match="cannot be opened"):
        list(read_shard(tmp_path, shard))


def test_manifest_comes_back(tmp_path):
    for written in (manifest(), manifest(image=None, counts={"train": {"daisy": 6}}, shards=(info("train", 0, 6),))):
        write_manifest(tmp_path, written)
        assert read_manifest(tmp_path) == written
    assert [path.name for path in tmp_path.iterdir()] == ["manifest.json"]
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
    (tmp_path / "manifest.json").write_text('{"version": 3, "shape": "unknown"}')
    with pytest.raises(CorruptFileError, match="newer nodewise"):
        read_manifest(tmp_path)


def test_manifest_of_version_1_is_read(tmp_path):
    # As 0.1.0 wrote it: without format and encoding.
    raw = dataclasses.asdict(manifest()) | {"version": 1}
    del raw["shard_format"], raw["encoding"]
    (tmp_path / "manifest.json").write_text(json.dumps(raw))
    found = read_manifest(tmp_path)
    assert found == dataclasses.replace(manifest(), version=1)
    assert (found.shard_format, found.encoding) == ("tfrecord", "jpeg")


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
    code = "import sys, nodewise.shards.files; print({'cv2', 'PIL', 'pydantic', 'numpy'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
