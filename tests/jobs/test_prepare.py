"""Job ``prepare`` on real engines: the same shards everywhere, whatever dies on the way."""

from __future__ import annotations

import csv
import hashlib
import json
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tests.engines.clusters import cluster_param, on_cluster
from tests.engines.tasks import DiesAfterwards

import nodewise
from nodewise.core.errors import CorruptFileError, FolderInUseError, JobFailedError, LeaseLostError, SourceError
from nodewise.core.files import TEMP_PREFIX
from nodewise.core.lease import hold_folder
from nodewise.data.sources import open_source
from nodewise.engines.base import Engine
from nodewise.images.codecs import decode_image, encode_jpeg, encode_png
from nodewise.jobs.prepare import PrepareJob
from nodewise.jobs.prepare_folder import JOURNAL_NAME, SKIPPED_NAME, PrepareFolder, claim_folder
from nodewise.jobs.prepare_task import Outcome
from nodewise.metering.meter import TaskMeter
from nodewise.shards.files import read_shard
from nodewise.shards.manifest import MANIFEST_NAME, read_manifest
from nodewise.shards.pixels import example_pixels
from nodewise.specs.job import PrepareSpec
from nodewise.specs.results import PrepareResult
from nodewise.specs.run import RunStatus
from nodewise.workspace import Workspace

SPEC = PrepareSpec(size=32, sample=0.11, shard_records=20, seed=3)
"""Ten shards of 198 digits."""
Contents = dict[str, str]
Prepare = Callable[..., PrepareResult]


def digests(folder: Path) -> Contents:
    """SHA-256 of every file in a folder, by name."""
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.iterdir()}


def prepare_on(
    engine: Engine, job: PrepareJob, dest: Path, wrap: Callable[[object], object] = lambda task: task
) -> None:
    with claim_folder(dest, job.fingerprint(), overwrite=True) as folder:
        for result in engine.map("prepare", wrap(job.task(folder)), job.plan(folder)):
            job.note(folder, result.value)
        job.combine(folder)


def prepare_without_engine(source: Path, dest: Path, spec: PrepareSpec) -> None:
    job = PrepareJob(open_source(source), spec)
    with claim_folder(dest, job.fingerprint()) as folder:
        task = job.task(folder)
        for partition in job.plan(folder):
            job.note(folder, task(partition, TaskMeter()))
        job.combine(folder)


@pytest.fixture(scope="module")
def expected(digits_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Contents:
    """What the job makes without any engine."""
    folder = tmp_path_factory.mktemp("expected") / "shards"
    prepare_without_engine(digits_folder, folder, SPEC)
    return digests(folder)


@pytest.fixture
def prepare(tmp_path: Path) -> Prepare:
    """``nodewise.prepare`` with a workspace of the test's own."""

    def call(source: Path, dest: Path, **options: object) -> PrepareResult:
        return nodewise.prepare(source, dest, workspace=tmp_path / "workspace", cores_per_node=1, **options)  # type: ignore[arg-type]

    return call


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Twelve noisy JPEGs, six in each of two classes."""
    random = np.random.default_rng(0)
    for number in range(12):
        path = tmp_path / "photos" / ("cat", "dog")[number % 2] / f"{number:02d}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(encode_jpeg(random.integers(0, 256, (40, 50, 3), dtype=np.uint8), 90))
    return tmp_path / "photos"


@pytest.mark.parametrize(
    "engine",
    [cluster_param(name, nodes) for name in ("local", "spark", "ray") for nodes in (3, 1)],
    indirect=True,
)
def test_any_number_of_nodes_of_any_engine_makes_the_same_files(
    engine: Engine, digits_folder: Path, tmp_path: Path, expected: Contents
) -> None:
    prepare_on(engine, PrepareJob(open_source(digits_folder), SPEC), tmp_path / "shards")
    assert len(expected) == 21  # ten shards with their indexes, and the manifest
    assert digests(tmp_path / "shards") == expected


@pytest.mark.parametrize("engine", [cluster_param(name, 3) for name in ("local", "spark", "ray")], indirect=True)
def test_a_worker_killed_after_it_wrote_leaves_one_copy_of_each_shard(
    engine: Engine, digits_folder: Path, tmp_path: Path, expected: Contents, repetitions: int
) -> None:
    job_source = open_source(digits_folder)
    for repetition in range(repetitions if engine.name == "local" else 1):
        dest, marker = tmp_path / f"shards {repetition}", tmp_path / f"died {repetition}"
        job = PrepareJob(job_source, SPEC)
        prepare_on(engine, job, dest, lambda task, marker=marker: DiesAfterwards(task, marker))
        assert marker.exists()
        assert digests(dest) == expected


def test_the_result_says_what_is_in_the_folder(prepare: Prepare, digits_folder: Path, tmp_path: Path) -> None:
    result = prepare(digits_folder, tmp_path / "shards", size=32, sample=0.11, shard_records=20, nodes=2)
    manifest = read_manifest(tmp_path / "shards")
    assert [Path(shard.path).parent for shard in result.shards] == [tmp_path / "shards"] * len(manifest.shards)
    assert [replace(shard, path=Path(shard.path).name) for shard in result.shards] == list(manifest.shards)
    assert result.classes == tuple("0123456789")
    assert result.records == 198 == sum(shard.records for shard in result.shards)
    assert result.skipped == ()
    assert result.seconds > 0
    assert result.records_per_s == pytest.approx(198 / result.seconds)
    for shard in result.shards:
        path = tmp_path / "shards" / shard.path
        assert (path.stat().st_size, hashlib.sha256(path.read_bytes()).hexdigest()) == (shard.bytes, shard.sha256)
        images = [decode_image(example.image) for example in read_shard(path.parent, shard)]
        assert [image.shape for image in images] == [(32, 32, 3)] * shard.records


@pytest.mark.parametrize(("sample", "records"), [(1.0, 12), (0.5, 6), (0.25, 3)])
def test_a_sample_takes_its_share(prepare: Prepare, photos: Path, tmp_path: Path, sample: float, records: int) -> None:
    assert prepare(photos, tmp_path / "shards", size=8, sample=sample).records == records


def test_the_seed_alone_decides_what_is_chosen_and_in_which_order(
    prepare: Prepare, digits_folder: Path, tmp_path: Path
) -> None:
    for name, seed in (("first", 5), ("again", 5), ("other", 6)):
        prepare(digits_folder, tmp_path / name, size=16, sample=0.05, seed=seed)
    first, again, other = (digests(tmp_path / name) for name in ("first", "again", "other"))
    assert first == again
    assert not set(first.values()) & set(other.values())


def test_nothing_is_both_trained_on_and_held_out(digits_folder: Path, tmp_path: Path) -> None:
    source = open_source(digits_folder)
    job = PrepareJob(source, replace(SPEC, sample=1.0))
    with claim_folder(tmp_path / "shards", job.fingerprint()) as folder:
        plan = list(job.plan(folder))
    chosen = {
        split: [ref for part in plan if part.split == split for ref in part.images] for split in ("train", "test")
    }
    assert not set(chosen["train"]) & set(chosen["test"])
    assert sorted(ref.path for refs in chosen.values() for ref in refs) == sorted(
        ref.path for ref in source.splits["train"]
    )
    assert len(chosen["test"]) == pytest.approx(0.2 * 1797, abs=5)


DAMAGED = {
    "cat/cut short.jpg": lambda good: good[: len(good) // 2],
    "cat/empty.jpg": lambda _good: b"",
    "dog/text.png": lambda _good: b"this is no image\n",
    "dog/only the header.jpg": lambda good: good[:30],
    "dog/a gif.jpg": lambda _good: b"GIF89a\x01\x00\x01\x00\x80\x00\x00",
}


def test_images_that_cannot_be_decoded_are_listed_and_no_others(prepare: Prepare, photos: Path, tmp_path: Path) -> None:
    good = (photos / "cat" / "00.jpg").read_bytes()
    for name, damage in DAMAGED.items():
        (photos / name).write_bytes(damage(good))
    result = prepare(photos, tmp_path / "shards", size=16, shard_records=4, nodes=2, max_bad=0.5)
    assert sorted(image.path for image in result.skipped) == sorted(DAMAGED)
    assert all(image.reason and "\n" not in image.reason for image in result.skipped)
    assert result.records == 12 == sum(shard.records for shard in result.shards)
    manifest = read_manifest(tmp_path / "shards")
    assert manifest.skipped == result.skipped
    with (tmp_path / "shards" / SKIPPED_NAME).open(newline="") as stream:
        assert list(csv.reader(stream)) == [
            ["path", "reason"],
            *([image.path, image.reason] for image in result.skipped),
        ]
    assert {name: sum(counts[name] for counts in manifest.counts.values()) for name in ("cat", "dog")} == {
        "cat": 6,
        "dog": 6,
    }


def test_strict_fails_on_the_first_such_image_and_makes_no_data_set(
    prepare: Prepare, photos: Path, tmp_path: Path
) -> None:
    (photos / "dog" / "text.png").write_text("this is no image\n")
    with pytest.raises(CorruptFileError, match=r"dog/text\.png") as caught:
        prepare(photos, tmp_path / "shards", size=16, strict=True)
    assert caught.value.exit_code == 1
    assert not (tmp_path / "shards" / MANIFEST_NAME).exists()
    (run,) = Workspace(tmp_path / "workspace").list_runs()
    assert run.status is RunStatus.FAILED
    assert run.error is not None
    assert run.error["code"] == "corrupt_file"


def test_a_data_set_without_one_readable_image_fails(prepare: Prepare, photos: Path, tmp_path: Path) -> None:
    for path in photos.rglob("*.jpg"):
        path.write_bytes(b"no image")
    with pytest.raises(JobFailedError, match="none of the 12 images could be decoded"):
        prepare(photos, tmp_path / "shards", size=16, max_bad=1.0)
    assert not list((tmp_path / "shards").glob("*.tfrec"))


def test_photos_keep_their_sizes_only_if_nothing_else_is_asked_for(
    prepare: Prepare, photos: Path, tmp_path: Path
) -> None:
    prepare(photos, tmp_path / "shards")
    assert read_manifest(tmp_path / "shards").image == {"height": 192, "width": 192, "channels": 3}


def test_small_images_of_differing_sizes_are_kept_and_said_to_differ(prepare: Prepare, tmp_path: Path) -> None:
    for number in range(4):
        path = tmp_path / "icons" / "ab"[number % 2] / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(encode_png(np.zeros((8, 8 + number, 3), np.uint8)))
    prepare(tmp_path / "icons", tmp_path / "shards", test_fraction=0.0)
    manifest = read_manifest(tmp_path / "shards")
    assert manifest.image is None
    shapes = {
        decode_image(example.image).shape
        for shard in manifest.shards
        for example in read_shard(tmp_path / "shards", shard)
    }
    assert shapes == {(8, 8, 3), (8, 9, 3), (8, 10, 3), (8, 11, 3)}


# --- the folder ------------------------------------------------------------------------------------------------------


def test_a_data_set_is_not_written_over_unless_asked(prepare: Prepare, photos: Path, tmp_path: Path) -> None:
    dest = tmp_path / "shards"
    prepare(photos, dest, size=8)
    before = digests(dest)
    with pytest.raises(SourceError, match="holds prepared shards already") as caught:
        prepare(photos, dest, size=16)
    assert caught.value.exit_code == 2
    assert digests(dest) == before
    prepare(photos, dest, size=16, sample=0.5, overwrite=True)
    manifest = read_manifest(dest)
    files = {name for shard in manifest.shards for name in (shard.path, f"{shard.path}.idx")}
    assert {path.name for path in dest.iterdir()} == {MANIFEST_NAME, *files}
    assert manifest.image == {"height": 16, "width": 16, "channels": 3}


@pytest.mark.parametrize("overwrite", [False, True])
def test_a_folder_with_other_files_is_left_as_it_is(tmp_path: Path, overwrite: bool) -> None:
    for name in ("thesis.txt", "train-00000-5.tfrec", MANIFEST_NAME):
        (tmp_path / name).write_text("precious")
    if not overwrite:
        (tmp_path / MANIFEST_NAME).unlink()
    before = digests(tmp_path)
    with pytest.raises(SourceError, match=r"holds other files, such as thesis\.txt"):
        claim_folder(tmp_path, "a job", overwrite=overwrite).__enter__()
    assert digests(tmp_path) == before


def test_what_an_unfinished_run_of_another_job_left_is_cleared(tmp_path: Path) -> None:
    left = ("train-00000-5.tfrec", "train-00000-5.tfrec.idx", "test-00001-17.tar", SKIPPED_NAME, JOURNAL_NAME)
    for name in (*left, f"{TEMP_PREFIX}0123456789ab-train-00001"):
        (tmp_path / name).write_bytes(b"left")
    with claim_folder(tmp_path, "a job") as folder:
        assert folder.done == {}
        assert {path.name for path in tmp_path.iterdir()} == {JOURNAL_NAME, ".lease-1"}


def test_a_run_whose_folder_was_taken_over_clears_what_its_own_tasks_left_and_nothing_else(tmp_path: Path) -> None:
    with claim_folder(tmp_path, "a job") as folder:
        mine, theirs = folder.lease.owner, "0" * 32
        for owner in (mine, theirs):
            (tmp_path / f"{TEMP_PREFIX}{owner}0123456789ab-train-00001").write_bytes(b"half of a shard")
        (tmp_path / ".lease-2").touch()
        with pytest.raises(LeaseLostError):
            folder.lease.check()
    left = {path.name for path in tmp_path.iterdir()}
    assert left == {JOURNAL_NAME, ".lease-1", ".lease-2", f"{TEMP_PREFIX}{theirs}0123456789ab-train-00001"}


def test_a_file_is_no_folder_for_shards(tmp_path: Path) -> None:
    (tmp_path / "shards").write_text("a file")
    with pytest.raises(SourceError, match="is a file"):
        claim_folder(tmp_path / "shards", "a job", overwrite=True).__enter__()


@on_cluster("local", 3)
def test_a_failed_overwrite_leaves_no_data_set(engine: Engine, photos: Path, tmp_path: Path) -> None:
    dest = tmp_path / "shards"
    prepare_on(engine, PrepareJob(open_source(photos), PrepareSpec(size=8)), dest)
    (photos / "cat" / "bad.jpg").write_bytes(b"")
    with pytest.raises(CorruptFileError):
        prepare_on(engine, PrepareJob(open_source(photos), PrepareSpec(size=8, strict=True)), dest)
    with pytest.raises(SourceError, match=MANIFEST_NAME):
        read_manifest(dest)


@pytest.mark.parametrize("is_new", [True, False])
def test_a_run_that_came_to_nothing_leaves_nothing(tmp_path: Path, is_new: bool) -> None:
    dest = tmp_path / "shards"
    if not is_new:
        dest.mkdir()
    claim = claim_folder(dest, "a job")
    with pytest.raises(JobFailedError), claim:
        raise JobFailedError("the engine did not start")
    assert dest.exists() != is_new
    assert is_new or list(dest.iterdir()) == []


def test_two_runs_at_once_into_one_folder_are_one_too_many(prepare: Prepare, photos: Path, tmp_path: Path) -> None:
    in_use = pytest.raises(FolderInUseError, match=f"is being written by process {os.getpid()} on ")
    with hold_folder(tmp_path / "shards"), in_use:
        prepare(photos, tmp_path / "shards", overwrite=True)
    assert prepare(photos, tmp_path / "shards").records == 12


# --- a run that is cut off -------------------------------------------------------------------------------------------


class Interrupted(BaseException):
    """What Ctrl-C would do."""


def cut_off_after(prepare: Prepare, monkeypatch: pytest.MonkeyPatch, tasks: int, *arguments: Path, **more: int) -> None:
    """Call ``prepare`` and stop it when so many tasks are done."""
    real = PrepareJob.note
    done = []

    def note(self: PrepareJob, folder: PrepareFolder, outcome: Outcome) -> None:
        real(self, folder, outcome)
        done.append(outcome)
        if len(done) == tasks:
            raise Interrupted

    with monkeypatch.context() as patch:
        patch.setattr(PrepareJob, "note", note)
        with pytest.raises(Interrupted):
            prepare(*arguments, **more)


@pytest.mark.parametrize("tasks", [1, 6, 10])
def test_the_same_job_goes_on_where_it_was_cut_off(
    prepare: Prepare,
    digits_folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    expected: Contents,
    tasks: int,
) -> None:
    dest = tmp_path / "shards"
    settings = {"size": 32, "sample": 0.11, "shard_records": 20, "seed": 3}
    cut_off_after(prepare, monkeypatch, tasks, digits_folder, dest, **settings)
    with pytest.raises(SourceError, match=MANIFEST_NAME):
        read_manifest(dest)
    before = {path.name: path.stat().st_mtime_ns for path in dest.glob("*.tfrec")}
    result = prepare(digits_folder, dest, **settings)
    assert (result.records, result.resumed_tasks) == (198, tasks)
    assert digests(dest) == expected
    assert sum(path.stat().st_mtime_ns == before.get(path.name) for path in dest.glob("*.tfrec")) == tasks
    task_records = Workspace(tmp_path / "workspace").read_tasks(result.run_id)
    assert len(task_records) == 10 - tasks


def test_another_job_does_not_go_on_with_it(
    prepare: Prepare, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cut_off_after(prepare, monkeypatch, 2, photos, tmp_path / "shards", shard_records=3)
    result = prepare(photos, tmp_path / "shards", shard_records=3, quality=50)
    assert (result.records, result.resumed_tasks) == (12, 0)


@pytest.mark.parametrize("harm", ["cut", "gone", "journal cut"])
def test_a_shard_that_was_harmed_meanwhile_is_made_again(
    prepare: Prepare, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, harm: str
) -> None:
    prepare(photos, tmp_path / "undisturbed", shard_records=3)
    cut_off_after(prepare, monkeypatch, 2, photos, tmp_path / "shards", shard_records=3)
    journal = tmp_path / "shards" / JOURNAL_NAME
    done = json.loads(journal.read_text().split("\n")[2])["shards"][0]["path"]
    if harm == "cut":
        os.truncate(tmp_path / "shards" / done, 100)
    elif harm == "gone":
        (tmp_path / "shards" / done).unlink()
    else:
        os.truncate(journal, journal.stat().st_size - 5)
    assert prepare(photos, tmp_path / "shards", shard_records=3).resumed_tasks == 1
    assert digests(tmp_path / "shards") == digests(tmp_path / "undisturbed")


# --- bad input -------------------------------------------------------------------------------------------------------


def test_of_damaged_photos_each_is_listed_and_no_other(prepare: Prepare, tmp_path: Path) -> None:
    random = np.random.default_rng(1)
    source = tmp_path / "photos"
    for number in range(500):
        path = source / "ab"[number % 2] / f"{number:03d}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(encode_jpeg(random.integers(0, 256, (24, 24, 3), dtype=np.uint8), 90))
    header = encode_jpeg(np.zeros((8, 8, 3), np.uint8), 90)
    size = header.index(b"\xff\xc0") + 5
    damage = {
        "a/002.jpg": (source / "a/002.jpg").read_bytes()[:-40],
        "a/100.jpg": b"",
        "b/101.jpg": bytes(1000),
        "b/301.jpg": b"%PDF-1.7 not a picture",
        # A bomb: 30000 x 30000 pixels, says the header.
        "b/499.jpg": header[:size] + (30000).to_bytes(2, "big") * 2 + header[size + 4 :],
    }
    for name, data in damage.items():
        (source / name).write_bytes(data)
    # Strange, but sound: CMYK, and a PNG that is called a JPEG.
    Image.new("CMYK", (24, 24), (0, 255, 255, 0)).save(source / "a/004.jpg", "JPEG")
    (source / "b/003.jpg").write_bytes(encode_png(np.zeros((9, 9, 3), np.uint8)))
    # Exactly one in a hundred is allowed.
    result = prepare(source, tmp_path / "shards", size=16, nodes=2)
    assert {image.path for image in result.skipped} == set(damage)
    assert result.records == 495
    (source / "a/006.jpg").write_bytes(b"")
    with pytest.raises(
        JobFailedError, match=r"6 of 500 images could not be decoded, more than max_bad = 0\.01"
    ) as caught:
        prepare(source, tmp_path / "one more", size=16, nodes=2)
    assert caught.value.hint is not None
    assert SKIPPED_NAME in caught.value.hint
    with (tmp_path / "one more" / SKIPPED_NAME).open(newline="") as stream:
        assert {row["path"] for row in csv.DictReader(stream)} == {*damage, "a/006.jpg"}
    assert not (tmp_path / "one more" / MANIFEST_NAME).exists()
    assert prepare(source, tmp_path / "one more", size=16, max_bad=0.012).records == 494


def test_names_of_any_kind_are_listed(prepare: Prepare, photos: Path, tmp_path: Path) -> None:
    names = ["a,b.jpg", 'q"uote.jpg', "new\nline.jpg", "ünï 🌷.jpg", r"\xff.jpg"]
    for name in names:
        (photos / "cat" / name.replace(r"\xff", os.fsdecode(b"\xff"))).write_bytes(b"")
    result = prepare(photos, tmp_path / "shards", max_bad=1.0)
    assert {image.path for image in result.skipped} == {f"cat/{name}" for name in names}
    with (tmp_path / "shards" / SKIPPED_NAME).open(newline="", encoding="utf-8") as stream:
        assert {row["path"] for row in csv.DictReader(stream)} == {f"cat/{name}" for name in names}
    assert read_manifest(tmp_path / "shards").skipped == result.skipped


@pytest.mark.parametrize("times", [1, 2])
def test_a_file_that_changes_is_read_once_more_and_then_refused(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, times: int
) -> None:
    prepare_without_engine(photos, tmp_path / "undisturbed", PrepareSpec(size=16))
    real = os.read
    left = [times]

    def read(descriptor: int, length: int) -> bytes:
        data = real(descriptor, length)
        if left[0] and os.readlink(f"/proc/self/fd/{descriptor}").endswith("dog/03.jpg"):
            left[0] -= 1
            os.utime(photos / "dog" / "03.jpg", ns=(left[0], left[0]))
        return data

    monkeypatch.setattr(os, "read", read)
    if times == 1:
        prepare_without_engine(photos, tmp_path / "shards", PrepareSpec(size=16))
        assert digests(tmp_path / "shards") == digests(tmp_path / "undisturbed")
    else:
        with pytest.raises(CorruptFileError, match=r"dog/03\.jpg: changed while it was read, and again"):
            prepare_without_engine(photos, tmp_path / "shards", PrepareSpec(size=16))


# --- formats ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("shard_format", ["tfrecord", "webdataset"])
@pytest.mark.parametrize("encoding", ["jpeg", "png", "webp", "raw"])
def test_every_encoding_is_stored_in_every_format(
    prepare: Prepare, photos: Path, tmp_path: Path, shard_format: str, encoding: str
) -> None:
    result = prepare(photos, tmp_path / "shards", size=16, shard_format=shard_format, encoding=encoding)
    manifest = read_manifest(tmp_path / "shards")
    assert (manifest.shard_format, manifest.encoding) == (shard_format, encoding)
    assert manifest.image == {"height": 16, "width": 16, "channels": 3}
    found = {
        example.key: (example_pixels(example), example.label)
        for shard in manifest.shards
        for example in read_shard(tmp_path / "shards", shard)
    }
    assert len(found) == result.records == 12
    assert {label for _, label in found.values()} == {0, 1}
    assert all(pixels.shape == (16, 16, 3) for pixels, _ in found.values())


def test_shards_are_bounded_in_bytes(prepare: Prepare, photos: Path, tmp_path: Path) -> None:
    whole = prepare(photos, tmp_path / "whole", size=32, test_fraction=0.0)
    (shard,) = whole.shards
    bound = shard.bytes // 3
    result = prepare(photos, tmp_path / "parts", size=32, test_fraction=0.0, shard_bytes=bound, nodes=2)
    assert len(result.shards) >= 3
    assert all(0 < shard.bytes <= bound for shard in result.shards)
    assert result.records == 12
    images = [
        [example.image for shard in made.shards for example in read_shard(Path(made.dest), Path(shard.path).name)]
        for made in (whole, result)
    ]
    assert images[0] == images[1]
    tiny = prepare(photos, tmp_path / "tiny", size=32, test_fraction=0.0, shard_bytes=1)
    assert [shard.records for shard in tiny.shards] == [1] * 12
