"""Job ``prepare`` on real engines: the same shards everywhere, whatever dies on the way."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from tests.engines.clusters import cluster_param, on_cluster
from tests.engines.tasks import DiesAfterwards

import nodewise
from nodewise.core.errors import CorruptFileError, JobFailedError, SourceError
from nodewise.core.files import TEMP_PREFIX
from nodewise.data.images import decode_image, encode_jpeg, encode_png
from nodewise.data.shards import MANIFEST_NAME, read_manifest, read_shard
from nodewise.data.sources import open_source
from nodewise.engines.base import Engine
from nodewise.jobs.prepare import PrepareJob, claim_folder
from nodewise.metering.meter import TaskMeter
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


def prepare_on(engine: Engine, job: PrepareJob, wrap: Callable[[object], object] = lambda task: task) -> None:
    outcomes = {result.index: result.value for result in engine.map("prepare", wrap(job.task()), job.plan())}
    job.combine([outcomes[index] for index in range(len(outcomes))])


@pytest.fixture(scope="module")
def expected(digits_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Contents:
    """What the job makes without any engine."""
    folder = tmp_path_factory.mktemp("expected")
    job = PrepareJob(open_source(digits_folder), folder, SPEC)
    task = job.task()
    job.combine([task(partition, TaskMeter()) for partition in job.plan()])
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
    prepare_on(engine, PrepareJob(open_source(digits_folder), tmp_path, SPEC))
    assert len(expected) == 11  # ten shards and their manifest
    assert digests(tmp_path) == expected


@pytest.mark.parametrize("engine", [cluster_param(name, 3) for name in ("local", "spark", "ray")], indirect=True)
def test_a_worker_killed_after_it_wrote_leaves_one_copy_of_each_shard(
    engine: Engine, digits_folder: Path, tmp_path: Path, expected: Contents, repetitions: int
) -> None:
    job_source = open_source(digits_folder)
    for repetition in range(repetitions if engine.name == "local" else 1):
        dest, marker = tmp_path / f"shards {repetition}", tmp_path / f"died {repetition}"
        job = PrepareJob(job_source, dest, SPEC)
        prepare_on(engine, job, lambda task, marker=marker: DiesAfterwards(task, marker))
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
        images = [decode_image(data) for data, _label in read_shard(path.parent, shard)]
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
    plan = PrepareJob(source, tmp_path, replace(SPEC, sample=1.0)).plan()
    chosen = {split: [ref for part in plan if part.split == split for ref in part.refs] for split in ("train", "test")}
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
    result = prepare(photos, tmp_path / "shards", size=16, shard_records=4, nodes=2)
    assert sorted(image.path for image in result.skipped) == sorted(DAMAGED)
    assert all(image.reason and "\n" not in image.reason for image in result.skipped)
    assert result.records == 12 == sum(shard.records for shard in result.shards)
    manifest = read_manifest(tmp_path / "shards")
    assert manifest.skipped == result.skipped
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
        prepare(photos, tmp_path / "shards", size=16)
    assert not list((tmp_path / "shards").glob("*"))


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
        decode_image(data).shape for shard in manifest.shards for data, _ in read_shard(tmp_path / "shards", shard)
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
    assert {path.name for path in dest.iterdir()} == {MANIFEST_NAME, *(shard.path for shard in manifest.shards)}
    assert manifest.image == {"height": 16, "width": 16, "channels": 3}


@pytest.mark.parametrize("overwrite", [False, True])
def test_a_folder_with_other_files_is_left_as_it_is(tmp_path: Path, overwrite: bool) -> None:
    for name in ("thesis.txt", "train-00000-5.tfrec", MANIFEST_NAME):
        (tmp_path / name).write_text("precious")
    if not overwrite:
        (tmp_path / MANIFEST_NAME).unlink()
    before = digests(tmp_path)
    with pytest.raises(SourceError, match=r"holds other files, such as thesis\.txt"):
        claim_folder(tmp_path, overwrite=overwrite)
    assert digests(tmp_path) == before


def test_what_an_unfinished_run_left_is_cleared(tmp_path: Path) -> None:
    for name in ("train-00000-5.tfrec", "test-00001-17.tfrec", f"{TEMP_PREFIX}0123456789ab-train-00001"):
        (tmp_path / name).write_bytes(b"left")
    claim_folder(tmp_path, overwrite=False)
    assert list(tmp_path.iterdir()) == []


def test_a_file_is_no_folder_for_shards(tmp_path: Path) -> None:
    (tmp_path / "shards").write_text("a file")
    with pytest.raises(SourceError, match="is a file"):
        claim_folder(tmp_path / "shards", overwrite=True)


def test_a_new_folder_is_not_made_before_it_is_needed(tmp_path: Path) -> None:
    claim_folder(tmp_path / "new", overwrite=False)
    assert not (tmp_path / "new").exists()


@on_cluster("local", 3)
def test_a_failed_overwrite_leaves_no_data_set(engine: Engine, photos: Path, tmp_path: Path) -> None:
    dest = tmp_path / "shards"
    prepare_on(engine, PrepareJob(open_source(photos), dest, PrepareSpec(size=8)))
    (photos / "cat" / "bad.jpg").write_bytes(b"")
    claim_folder(dest, overwrite=True)
    with pytest.raises(CorruptFileError):
        prepare_on(engine, PrepareJob(open_source(photos), dest, PrepareSpec(size=8, strict=True)))
    with pytest.raises(SourceError, match=MANIFEST_NAME):
        read_manifest(dest)
