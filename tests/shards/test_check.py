"""Checking shards: what is whole, and every kind of damage, with its place."""

from __future__ import annotations

import dataclasses
import json
import os
import threading
from pathlib import Path

import pytest

from nodewise.core.errors import SourceError
from nodewise.core.files import sha256_of
from nodewise.core.progress import SilentProgress
from nodewise.shards.check import check_shards
from nodewise.shards.examples import Example
from nodewise.shards.files import write_shards
from nodewise.shards.index import locate_records
from nodewise.shards.manifest import write_manifest
from nodewise.shards.records import frame_record
from nodewise.specs.job import Encoding, ShardFormat
from nodewise.specs.results import CheckResult

from .made_shards import FORMATS, HEIGHT, WIDTH, image_file, make_shards

FIRST, SECOND, THIRD = "train-00000-3.tfrec", "train-00001-3.tfrec", "test-00000-2.tfrec"


class Notes(SilentProgress):
    """Keeps what it is told."""

    def __init__(self) -> None:
        self.notes: list[str] = []
        self.steps = 0
        self.total: int | None = None

    def stage(self, name: str, total: int | None = None) -> None:
        self.total = total

    def advance(self, steps: int = 1, detail: str = "") -> None:
        self.steps += steps

    def note(self, message: str) -> None:
        self.notes.append(message)


def faults(result: CheckResult) -> list[tuple[str, int | None, int | None, str]]:
    return [(Path(bad.path).name, bad.record, bad.offset, bad.reason) for bad in result.bad]


def damage(path: Path, position: int, *, bits: int = 1) -> None:
    content = bytearray(path.read_bytes())
    content[position] ^= bits
    path.write_bytes(content)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    make_shards(tmp_path / "shards")
    return tmp_path / "shards"


@pytest.mark.parametrize("encoding", ["png", "raw"])
@pytest.mark.parametrize("shard_format", FORMATS)
def test_whole_shards_have_no_fault(tmp_path: Path, shard_format: ShardFormat, encoding: Encoding) -> None:
    make_shards(tmp_path, shard_format=shard_format, encoding=encoding)
    told = Notes()
    result = check_shards(tmp_path, told)
    assert result.bad == ()
    # train: cat, dog, dog, dog, dog, cat; test: owl, cat
    assert (result.records, result.shards, result.classes) == (8, 3, {"cat": 3, "dog": 4, "owl": 1})
    assert (told.notes, told.steps, told.total) == ([], 8, 8)


def test_real_shards_are_whole(small_shards: Path) -> None:
    result = check_shards(small_shards)
    assert (result.bad, result.records) == ((), 198)


@pytest.mark.parametrize("field", ["length", "length's checksum", "data", "data's checksum"])
def test_a_flipped_bit_in_a_record_is_named_by_record_and_byte(folder: Path, field: str) -> None:
    offset, length = locate_records(folder / FIRST)[1].tolist()
    position = {"length": 0, "length's checksum": 8, "data": length // 2, "data's checksum": length - 1}[field]
    (folder / f"{FIRST}.idx").unlink()
    damage(folder / FIRST, offset + position, bits=4)
    result = check_shards(folder)
    about = "data" if field.startswith("data") else "length"
    assert faults(result) == [(FIRST, 1, offset, f"the record's {about} does not match its checksum")]
    # Behind a wrong length nothing of the file can be found; behind wrong data the next record is.
    assert result.records == (7 if about == "data" else 6)


def test_checking_goes_on_after_faults_inside_of_records(folder: Path) -> None:
    (first, size), _, (third, _) = locate_records(folder / FIRST).tolist()
    (other, _), _, _ = locate_records(folder / SECOND).tolist()
    damage(folder / FIRST, first + size // 2)
    damage(folder / FIRST, third + size // 2)
    damage(folder / SECOND, other + size // 2)
    result = check_shards(folder)
    assert [(name, record, offset) for name, record, offset, _ in faults(result)] == [
        (FIRST, 0, first),
        (FIRST, 2, third),
        (SECOND, 0, other),
    ]
    assert result.records == 5


def test_a_file_cut_at_any_byte_is_reported_once(tmp_path: Path) -> None:
    make_shards(tmp_path, labels={"train": ((0, 1, 1),)})
    path = tmp_path / FIRST
    whole = path.read_bytes()
    starts = locate_records(path)[:, 0].tolist()
    step = 1 if os.environ.get("NODEWISE_TEST_ALL") == "1" else 17
    (tmp_path / f"{FIRST}.idx").unlink()
    for cut in sorted({*range(0, len(whole), step), *starts, len(whole) - 1}):
        path.write_bytes(whole[:cut])
        ((_, record, offset, reason),) = faults(check_shards(tmp_path))
        if cut in starts:
            # Between two records: nothing but the count tells.
            assert (record, offset, reason) == (None, None, f"it holds {starts.index(cut)} records instead of 3")
        else:
            last = max(number for number, start in enumerate(starts) if start < cut)
            assert (record, offset) == (last, starts[last])


@pytest.mark.parametrize("shard_format", FORMATS)
def test_no_flipped_bit_goes_unnoticed(tmp_path: Path, shard_format: ShardFormat) -> None:
    manifest = make_shards(tmp_path, shard_format=shard_format, labels={"train": ((0, 1),)})
    path = tmp_path / manifest.shards[0].path
    whole = path.read_bytes()
    step = 1 if os.environ.get("NODEWISE_TEST_ALL") == "1" else 13
    for position in range(0, len(whole), step):
        damage(path, position, bits=1 << position % 8)
        assert {bad.path for bad in check_shards(tmp_path).bad} == {str(path)}, position
        path.write_bytes(whole)
    assert check_shards(tmp_path).bad == ()


@pytest.mark.parametrize("shard_format", FORMATS)
def test_an_image_that_cannot_be_decoded_is_named(tmp_path: Path, shard_format: ShardFormat) -> None:
    make_shards(tmp_path, shard_format=shard_format, images={4: image_file(4)[:-30]})
    result = check_shards(tmp_path)
    ((name, record, offset, reason),) = faults(result)
    assert (name.partition(".")[0], record) == ("train-00001-3", 1)
    assert offset == locate_records(tmp_path / name)[1][0]
    assert "cannot be decoded" in reason
    assert result.records == 7


@pytest.mark.parametrize("shard_format", FORMATS)
@pytest.mark.parametrize("label", [3, -1])
def test_a_class_number_without_a_class_is_named(tmp_path: Path, shard_format: ShardFormat, label: int) -> None:
    manifest = make_shards(tmp_path, shard_format=shard_format)
    (info,) = write_shards(tmp_path, "test", 0, _examples(2, label), shard_format=shard_format)
    write_manifest(tmp_path, dataclasses.replace(manifest, shards=(*manifest.shards[:2], info)))
    ((name, record, _, reason),) = faults(check_shards(tmp_path))
    assert (name, record) == (info.path, 1)
    assert reason == {3: "class number 3, but there are only 3 classes", -1: "class number -1 is negative"}[label]


def _examples(*labels: int) -> list[Example]:
    return [Example(image_file(number), label) for number, label in enumerate(labels)]


def test_an_image_of_another_size_is_named(tmp_path: Path) -> None:
    make_shards(tmp_path, images={2: image_file(2, size=(WIDTH + 1, HEIGHT))})
    ((name, record, _, reason),) = faults(check_shards(tmp_path))
    assert (name, record, reason) == (FIRST, 2, "the image is 17 x 12 pixels instead of 16 x 12")


def test_raw_pixels_are_not_taken_for_files(tmp_path: Path) -> None:
    manifest = make_shards(tmp_path, encoding="raw", labels={"train": ((0,),)})
    write_manifest(tmp_path, dataclasses.replace(manifest, encoding="jpeg"))
    ((_, record, _, reason),) = faults(check_shards(tmp_path))
    assert (record, reason) == (0, "the image is raw pixels, not jpeg")


def test_a_record_that_is_no_example_is_named(tmp_path: Path) -> None:
    (tmp_path / "train-00000-2.tfrec").write_bytes(frame_record(b"\x07nonsense") + frame_record(b""))
    assert [(record, offset) for _, record, offset, _ in faults(check_shards(tmp_path))] == [(0, 0), (1, 25)]


def test_a_damaged_header_in_a_tar_ends_its_file_alone(tmp_path: Path) -> None:
    make_shards(tmp_path, shard_format="webdataset")
    path = tmp_path / "train-00000-3.tar"
    offset = int(locate_records(path)[1][0])
    damage(path, offset)
    result = check_shards(tmp_path)
    assert faults(result) == [(path.name, 1, offset, "the header does not match its checksum")]
    assert result.records == 6


def test_a_missing_and_an_unknown_shard_are_named(folder: Path) -> None:
    (folder / SECOND).rename(folder / "train-00005-3.tfrec")
    (folder / f"{SECOND}.idx").unlink()
    result = check_shards(folder)
    assert faults(result) == [
        ("train-00005-3.tfrec", None, None, "manifest.json does not know this shard"),
        (SECOND, None, None, "is missing"),
    ]
    assert result.records == 5


def test_unfinished_and_other_files_are_passed_over(folder: Path) -> None:
    (folder / ".part-0123-train-00009").write_bytes(b"half")
    (folder / "README.md").write_bytes(b"text")
    assert check_shards(folder).bad == ()


def test_exchanged_records_are_found_by_the_checksum(folder: Path) -> None:
    spans = locate_records(folder / FIRST).tolist()
    content = (folder / FIRST).read_bytes()
    first, second, third = (content[offset : offset + length] for offset, length in spans)
    assert len(second) == len(third)
    (folder / FIRST).write_bytes(first + third + second)
    assert [(name, record, "SHA-256" in reason) for name, record, _, reason in faults(check_shards(folder))] == [
        (FIRST, None, True)
    ]


def test_bytes_behind_the_end_of_a_tar_are_found(tmp_path: Path) -> None:
    make_shards(tmp_path, shard_format="webdataset")
    path = tmp_path / "test-00000-2.tar"
    size = path.stat().st_size
    with path.open("ab") as stream:
        stream.write(bytes(512))
    assert faults(check_shards(tmp_path)) == [
        (path.name, None, None, f"it is {size + 512} bytes long instead of {size}")
    ]


def test_counts_by_class_are_compared(folder: Path) -> None:
    path = folder / "manifest.json"
    content = json.loads(path.read_text())
    content["counts"]["train"] = {"cat": 1, "dog": 5, "owl": 0}
    path.write_text(json.dumps(content))
    assert faults(check_shards(folder)) == [
        ("manifest.json", None, None, "counts say 1 of class 'cat' in 'train', its shards hold 2"),
        ("manifest.json", None, None, "counts say 5 of class 'dog' in 'train', its shards hold 4"),
    ]


def test_counts_that_follow_from_a_damaged_record_are_not_listed(folder: Path) -> None:
    offset, length = locate_records(folder / FIRST)[0].tolist()
    damage(folder / FIRST, offset + length // 2)
    assert [name for name, *_ in faults(check_shards(folder))] == [FIRST]


@pytest.mark.parametrize("content", [b"{", b'{"version": 99}', b'{"version": 1}'])
def test_a_damaged_manifest_is_a_fault_and_the_shards_are_checked_all_the_same(folder: Path, content: bytes) -> None:
    (folder / "manifest.json").write_bytes(content)
    told = Notes()
    result = check_shards(folder, told)
    assert [(name, record) for name, record, *_ in faults(result)] == [("manifest.json", None)]
    assert (result.records, result.classes) == (8, {"0": 3, "1": 4, "2": 1})
    assert len(told.notes) == 1


def test_without_a_manifest_the_names_count_and_a_note_says_so(folder: Path) -> None:
    (folder / "manifest.json").unlink()
    told = Notes()
    assert check_shards(folder, told).bad == ()
    assert len(told.notes) == 1
    assert "cannot be compared" in told.notes[0]
    (folder / FIRST).rename(folder / "train-00000-4.tfrec")
    (folder / f"{FIRST}.idx").unlink()
    assert faults(check_shards(folder)) == [
        ("train-00000-4.tfrec", None, None, "it holds 3 records instead of 4"),
    ]


def test_one_file_is_checked_against_the_manifest_beside_it(folder: Path) -> None:
    result = check_shards(folder / THIRD)
    assert (result.bad, result.shards, result.classes) == ((), 1, {"cat": 1, "owl": 1})
    damage(folder / FIRST, 0)
    assert check_shards(folder / THIRD).bad == ()
    assert [bad.path for bad in check_shards(folder / FIRST).bad] == [str(folder / FIRST)]


def test_one_file_of_any_name_is_checked_without_a_manifest(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "mine.tfrecord").write_bytes((folder / THIRD).read_bytes())
    told = Notes()
    result = check_shards(tmp_path / "mine.tfrecord", told)
    assert (result.bad, result.records, len(told.notes)) == ((), 2, 1)


@pytest.mark.parametrize(
    ("change", "record", "reason"),
    [
        (lambda text: text.replace("0 ", "1 ", 1), 0, "line 1 says"),
        (lambda text: text + "9 9\n", None, "more lines than"),
        (lambda text: text[: text.index("\n") + 1], None, "fewer lines than"),
        (lambda text: "", None, "fewer lines than"),
        (lambda text: "x" * 100_000, 0, "line 1 says"),
    ],
    ids=["number", "longer", "shorter", "empty", "no index"],
)
def test_an_index_that_does_not_fit_is_named(folder: Path, change: object, record: int | None, reason: str) -> None:
    path = folder / f"{SECOND}.idx"
    path.write_text(change(path.read_text()))  # type: ignore[operator]
    result = check_shards(folder)
    ((name, found, _, said),) = faults(result)
    assert (name, found) == (path.name, record)
    assert reason in said
    assert len(said) < 200
    assert result.records == 8


def test_a_fault_of_an_index_hides_no_fault_of_the_counts(folder: Path) -> None:
    (folder / f"{SECOND}.idx").write_text("")
    path = folder / "manifest.json"
    path.write_text(path.read_text().replace('"cat": 2', '"cat": 3').replace('"dog": 4', '"dog": 3'))
    assert [name for name, *_ in faults(check_shards(folder))] == [f"{SECOND}.idx", "manifest.json", "manifest.json"]


def test_a_file_that_is_removed_while_it_is_checked_is_a_fault(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def removed(path: Path) -> str:
        path.unlink()
        return sha256_of(path)

    monkeypatch.setattr("nodewise.shards.check.sha256_of", removed)
    found = faults(check_shards(folder))
    assert [(name, reason) for name, _, _, reason in found] == [
        (name, "cannot be read: No such file or directory") for name in (FIRST, SECOND, THIRD)
    ]


def test_what_is_not_a_file_is_a_fault(folder: Path) -> None:
    (folder / FIRST).unlink()
    (folder / FIRST).mkdir()
    assert faults(check_shards(folder)) == [(FIRST, None, None, "is not a file")]


@pytest.mark.parametrize("name", ["nowhere", "empty", "photo.jpg"])
def test_where_there_is_nothing_to_check_is_an_input_error(tmp_path: Path, name: str) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "photo.jpg").write_bytes(image_file(0))
    with pytest.raises(SourceError, match=name):
        check_shards(tmp_path / name)


def test_an_interrupt_ends_the_threads(folder: Path) -> None:
    class Interrupting(SilentProgress):
        def advance(self, steps: int = 1, detail: str = "") -> None:
            raise KeyboardInterrupt

    before = threading.active_count()
    with pytest.raises(KeyboardInterrupt):
        check_shards(folder, Interrupting())
    assert threading.active_count() == before


def test_many_shards_give_the_same_result_every_time(tmp_path: Path) -> None:
    make_shards(tmp_path, labels={"train": ((0, 1, 2),) * 40, "test": ((2,),)})
    for index in range(0, 40, 3):
        damage(tmp_path / f"train-{index:05d}-3.tfrec", 100)
    results = [dataclasses.replace(check_shards(tmp_path), seconds=0.0) for _ in range(3)]
    assert results[0] == results[1] == results[2]
    assert [bad.path[-13:] for bad in results[0].bad] == [f"{index:05d}-3.tfrec" for index in range(0, 40, 3)]
