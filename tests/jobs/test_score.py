"""Job ``score``: one prediction per record, exactly once."""

from __future__ import annotations

import os
import random
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from tests.engines.clusters import cluster_param
from tests.engines.tasks import DiesAfterwards

import nodewise
from nodewise.core.errors import CorruptFileError, InputError, SourceError
from nodewise.engines.base import Engine
from nodewise.jobs.score import ScoreJob, ScoreTask, claim_predictions
from nodewise.metering.meter import TaskMeter
from nodewise.shards.examples import Example
from nodewise.shards.files import read_shard, write_shards
from nodewise.shards.manifest import read_manifest, split_shards
from nodewise.shards.pixels import example_pixels
from nodewise.specs.job import ScoreSpec
from nodewise.specs.results import ScoreResult, ShardInfo
from nodewise.training.model_file import ModelInfo, load_model, save_model
from nodewise.training.models import build_model
from nodewise.training.precision import autocast, resolve_precision
from nodewise.training.score_parts import ScorePart
from nodewise.workspace import Workspace

from . import score_tasks

Score = Callable[..., ScoreResult]
Rows = list[dict[str, Any]]

CLASSES = tuple("0123456789")
SHAPE = (3, 32, 32)


@pytest.fixture(scope="module")
def model(small_shards: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A network that has learnt something, but not everything."""
    torch.manual_seed(0)
    network = build_model("cnn", num_classes=10, image_shape=SHAPE)
    images, labels = pixels_of(small_shards, split_shards(read_manifest(small_shards), "train"))
    optimizer = torch.optim.Adam(network.parameters(), 2e-3)
    for start in [*range(0, 158, 32)] * 3:
        optimizer.zero_grad()
        loss = torch.nn.functional.cross_entropy(network(images[start : start + 32]), labels[start : start + 32])
        loss.backward()
        optimizer.step()
    path = tmp_path_factory.mktemp("model") / "model.safetensors"
    save_model(path, network, ModelInfo(model="cnn", classes=CLASSES, image_shape=SHAPE, transform={}))
    return path


@pytest.fixture(scope="module")
def exact_shards(digits_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same records as PNG, whose pixels are the same whoever decodes them."""
    folder = tmp_path_factory.mktemp("exact")
    settings: dict[str, Any] = {"size": 32, "sample": 0.11, "shard_records": 50, "encoding": "png"}
    nodewise.prepare(digits_folder, folder / "shards", workspace=folder / "workspace", **settings)
    return folder / "shards"


@pytest.fixture
def score(tmp_path: Path) -> Score:
    """``nodewise.score`` with a workspace of the test's own."""

    def call(shards: Path, model: Path, **options: Any) -> ScoreResult:
        return nodewise.score(shards, model, workspace=tmp_path / "workspace", cores_per_node=1, **options)

    return call


def pixels_of(folder: Path, shards: Iterable[ShardInfo]) -> tuple[torch.Tensor, torch.Tensor]:
    """Network input and labels, record by record."""
    examples = [example for shard in shards for example in read_shard(folder, shard)]
    images = np.stack([example_pixels(example) for example in examples]).astype(np.float32) / 255
    return torch.from_numpy(images).permute(0, 3, 1, 2), torch.tensor([example.label for example in examples])


def read_rows(folder: Path | str) -> Rows:
    return list(pq.read_table(folder).to_pylist())


def expected_labels(shards: Path, split: Any) -> dict[str, int]:
    """Every record of a split with its label."""
    return {
        f"{shard.path}:{number}": example.label
        for shard in split_shards(read_manifest(shards), split)
        for number, example in enumerate(read_shard(shards, shard))
    }


def one_by_one(task: ScoreTask, parts: Iterable[ScorePart]) -> Rows:
    """The serial oracle: the parts one after the other in this process, undisturbed."""
    for part in parts:
        task(part, TaskMeter())
    return read_rows(task.dest)


def small_parts(job: ScoreJob) -> tuple[ScorePart, ...]:
    """So many parts that a killed worker takes a few of them along."""
    return job.plan(12)


@pytest.mark.parametrize(("split", "records"), [("test", 40), ("train", 158), ("all", 198)])
def test_every_record_of_the_split_is_predicted_once(
    small_shards: Path, model: Path, tmp_path: Path, split: Any, records: int
) -> None:
    job = ScoreJob(small_shards, read_manifest(small_shards), model, ScoreSpec(split=split))
    rows = one_by_one(job.task(tmp_path), job.plan(2))
    assert len(rows) == records
    assert {row["record"]: row["label"] for row in rows} == expected_labels(small_shards, split)


def test_a_run_scores_and_says_how_well(score: Score, small_shards: Path, model: Path) -> None:
    result = score(small_shards, model, split="all", nodes=2, batch_size=16)
    rows = read_rows(result.predictions_path)
    assert {row["record"]: row["label"] for row in rows} == expected_labels(small_shards, "all")
    assert len(rows) == result.records == 198
    assert (result.split, result.batch_size) == ("all", 16)
    assert result.accuracy == sum(row["label"] == row["predicted"] for row in rows) / 198
    assert result.forward_records_per_s is not None
    assert result.forward_records_per_s > 0
    for label, (one, counts) in enumerate(zip(result.classes, result.confusion, strict=True)):
        assert one.name == str(label)
        assert one.records == sum(counts) == sum(row["label"] == label for row in rows)
        for predicted, count in enumerate(counts):
            assert count == sum((row["label"], row["predicted"]) == (label, predicted) for row in rows)


def test_a_row_says_what_the_model_saw_and_how_sure_it_is(small_shards: Path, model: Path, tmp_path: Path) -> None:
    job = ScoreJob(small_shards, read_manifest(small_shards), model, ScoreSpec())
    rows = one_by_one(job.task(tmp_path), job.plan())
    assert list(rows[0]) == ["record", "label", "predicted", "label_name", "predicted_name", "probability"]
    for row in rows:
        # The best of ten classes has at least a tenth.
        assert 0.1 <= row["probability"] <= 1
        assert (row["label_name"], row["predicted_name"]) == (str(row["label"]), str(row["predicted"]))


def test_scoring_agrees_with_the_evaluation_of_the_training(score: Score, small_shards: Path, tmp_path: Path) -> None:
    trained = nodewise.train(small_shards, epochs=2, cores_per_node=1, workspace=tmp_path / "workspace")
    assert score(small_shards, Path(trained.model_path)).accuracy == trained.accuracy


@pytest.mark.parametrize("batch_size", [1, 7, 1000])
def test_the_size_of_the_batches_does_not_matter(
    small_shards: Path, model: Path, tmp_path: Path, batch_size: int
) -> None:
    def rows_with(size: int | None) -> Rows:
        job = ScoreJob(small_shards, read_manifest(small_shards), model, ScoreSpec(batch_size=size))
        return one_by_one(job.task(tmp_path / str(size)), job.plan())

    usual, other = rows_with(None), rows_with(batch_size)
    assert [row["predicted"] for row in usual] == [row["predicted"] for row in other]
    # Sums in another order, of numbers that may have 8 bits.
    assert [row["probability"] for row in usual] == pytest.approx([row["probability"] for row in other], abs=0.02)


@pytest.mark.parametrize("engine", [cluster_param(name, 3) for name in ("local", "spark", "ray")], indirect=True)
def test_a_worker_killed_after_it_wrote_leaves_one_prediction_per_record(
    engine: Engine, small_shards: Path, model: Path, tmp_path: Path
) -> None:
    job = ScoreJob(small_shards, read_manifest(small_shards), model, ScoreSpec(split="all"))
    dest = tmp_path / "predictions"
    task = DiesAfterwards(job.task(dest), tmp_path / "died")
    results = list(engine.map("score", task, job.plan()))
    assert (tmp_path / "died").exists()
    assert sum(result.record.retries for result in results) >= 1
    rows = read_rows(dest)
    assert len(rows) == 198
    assert {row["record"]: row["label"] for row in rows} == expected_labels(small_shards, "all")
    outcome = job.combine([result.value for result in results])
    right = sum(count for (label, predicted), count in outcome.counts.items() if label == predicted)
    assert (outcome.records, right) == (198, sum(row["label"] == row["predicted"] for row in rows))


def _kills(name: str) -> int:
    """How many workers a test of an engine kills."""
    if os.environ.get("NODEWISE_TEST_ALL") == "1":
        return 20
    return 2 if name == "local" else 0


@pytest.mark.parametrize(
    ("engine", "kill"),
    [
        pytest.param(*cluster_param(name, 3).values, kill, id=f"{name}-{kill}", marks=cluster_param(name, 3).marks)
        for name in ("local", "spark", "ray")
        for kill in range(_kills(name))
    ],
    indirect=["engine"],
)
def test_a_worker_killed_at_any_moment_changes_no_prediction(
    engine: Engine, kill: int, small_shards: Path, model: Path, tmp_path: Path
) -> None:
    score_tasks.carry_by_value()
    # The same batches everywhere, so that the answers are the same to the last bit.
    job = ScoreJob(small_shards, read_manifest(small_shards), model, ScoreSpec(split="all", batch_size=8))
    parts = small_parts(job)
    expected = one_by_one(job.task(tmp_path / "undisturbed"), parts)
    draw = random.Random(kill)
    number, delay_s = draw.randrange(len(parts)), draw.uniform(0, 0.2)
    task = score_tasks.DiesOnTheWay(job.task(tmp_path / "predictions"), number, delay_s, tmp_path / "died")
    results = list(engine.map("score", task, parts))
    assert (tmp_path / "died").exists()
    assert sum(result.record.retries for result in results) >= 1
    assert sorted(result.index for result in results) == list(range(len(parts)))
    rows = read_rows(tmp_path / "predictions")
    assert rows == expected
    assert len(rows) == len({row["record"] for row in rows}) == 198
    outcome = job.combine([result.value for result in results])
    assert outcome.counts == {
        pair: sum((row["label"], row["predicted"]) == pair for row in rows) for pair in outcome.counts
    }
    assert outcome.records == 198


def test_attempts_at_one_task_at_the_same_time_leave_one_file_and_say_the_same(
    small_shards: Path, model: Path, tmp_path: Path
) -> None:
    # Speculative execution; one attempt takes other batches, as a process on another machine might.
    tasks = [
        ScoreJob(small_shards, read_manifest(small_shards), model, ScoreSpec(split="all", batch_size=size)).task(
            tmp_path / "predictions"
        )
        for size in (3, 64, 3, 64)
    ]
    part = ScorePart(number=0, shards=read_manifest(small_shards).shards, first=0, records=198)
    with ThreadPoolExecutor(4) as pool:
        outcomes = list(pool.map(lambda task: task(part, TaskMeter()), tasks))
    assert len({str(sorted(outcome.counts.items())) for outcome in outcomes}) == 1
    assert os.listdir(tmp_path / "predictions") == ["part-00000.parquet"]
    assert len(read_rows(tmp_path / "predictions")) == 198


def test_a_task_that_has_been_done_is_not_done_again(small_shards: Path, model: Path, tmp_path: Path) -> None:
    job = ScoreJob(small_shards, read_manifest(small_shards), model, ScoreSpec(split="test"))
    task, (part,) = job.task(tmp_path), job.plan()
    first = task(part, TaskMeter())
    before = (tmp_path / "part-00000.parquet").stat()
    again = TaskMeter()
    second = task(part, again)
    assert second.counts == first.counts
    assert (second.batch_size, again.records, again.read_bytes) == (None, 40, 0)
    assert (tmp_path / "part-00000.parquet").stat() == before
    # What was measured is the first one's.
    assert job.combine([second, first]).batch_size == first.batch_size


def test_the_answers_are_those_of_the_network(exact_shards: Path, model: Path, tmp_path: Path) -> None:
    manifest = read_manifest(exact_shards)
    job = ScoreJob(exact_shards, manifest, model, ScoreSpec(split="all"))
    rows = one_by_one(job.task(tmp_path / "predictions"), job.plan())
    network, _ = load_model(model)
    images, labels = pixels_of(exact_shards, split_shards(manifest, "all"))
    with torch.inference_mode(), autocast(torch.device("cpu"), resolve_precision("auto")):
        probabilities = torch.softmax(network(images).float(), dim=1)
    assert [row["label"] for row in rows] == labels.tolist()
    assert [row["probability"] for row in rows] == pytest.approx(probabilities.max(dim=1).values.tolist(), abs=0.02)
    two = probabilities.topk(2).values
    for row, answer, margin in zip(
        rows, probabilities.argmax(1).tolist(), (two[:, 0] - two[:, 1]).tolist(), strict=True
    ):
        assert row["predicted"] == answer or margin < 0.02


def test_one_shard_keeps_all_slots_busy(digits_folder: Path, model: Path, tmp_path: Path) -> None:
    shards = tmp_path / "one"
    nodewise.prepare(digits_folder, shards, size=32, sample=0.11, shard_records=1000, workspace=tmp_path / "workspace")
    job = ScoreJob(shards, read_manifest(shards), model, ScoreSpec(split="train"))
    dest = tmp_path / "predictions"
    rows = one_by_one(job.task(dest), job.plan(3))
    assert len(split_shards(read_manifest(shards), "train")) == 1
    assert [pq.read_metadata(path).num_rows for path in sorted(dest.iterdir())] == [52, 53, 53]
    assert {row["record"]: row["label"] for row in rows} == expected_labels(shards, "train")


def test_the_report_is_in_the_runs_folder_and_where_it_was_asked_for(
    score: Score, small_shards: Path, model: Path, tmp_path: Path
) -> None:
    result = score(small_shards, model, report=tmp_path / "new" / "page.html")
    assert result.report_path == str(tmp_path / "new" / "page.html")
    page = (tmp_path / "new" / "page.html").read_text()
    assert page == (tmp_path / "workspace" / "runs" / result.run_id / "report.html").read_text()
    wrong = [row for row in read_rows(result.predictions_path) if row["label"] != row["predicted"]]
    surest = sorted(wrong, key=lambda row: (-row["probability"], row["record"]))[:12]
    assert surest
    assert [page.count(row["record"]) for row in surest] == [1] * len(surest)
    assert page.count('class="tiny"') == len(surest)


def test_the_report_is_in_the_runs_folder_if_no_other_place_is_named(
    score: Score, small_shards: Path, model: Path, tmp_path: Path
) -> None:
    result = score(small_shards, model)
    assert result.report_path == str(tmp_path / "workspace" / "runs" / result.run_id / "report.html")
    assert Path(result.report_path).is_file()


def test_a_folder_is_no_report(score: Score, small_shards: Path, model: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="is a folder"):
        score(small_shards, model, report=tmp_path)
    assert Workspace(tmp_path / "workspace").list_runs() == []


def test_a_label_that_is_no_class_is_named(small_shards: Path, model: Path, tmp_path: Path) -> None:
    manifest = read_manifest(small_shards)
    (image, *_) = read_shard(small_shards, manifest.shards[0])
    examples = [Example(image.image, label) for label in (3, 9, 10, 2)]
    shards = write_shards(tmp_path, "test", 0, examples[:1]) + write_shards(tmp_path, "test", 1, examples[1:])
    job = ScoreJob(tmp_path, replace(manifest, shards=shards), model, ScoreSpec())
    (part,) = job.plan()
    with pytest.raises(CorruptFileError, match="class number 10, but there are 10 classes") as raised:
        job.task(tmp_path / "predictions")(part, TaskMeter())
    assert f"{shards[1].path}" in str(raised.value)
    assert "record 1" in str(raised.value)


def test_what_was_not_held_out_is_scored_on_everything(score: Score, small_shards: Path, model: Path) -> None:
    manifest = read_manifest(small_shards)
    no_test = replace(manifest, shards=split_shards(manifest, "train"))
    assert ScoreJob(small_shards, no_test, model, ScoreSpec(split="test")).split == "all"
    only_test = replace(manifest, shards=split_shards(manifest, "test"))
    with pytest.raises(SourceError, match="no records in split 'train'"):
        ScoreJob(small_shards, only_test, model, ScoreSpec(split="train"))


@pytest.mark.parametrize(
    ("classes", "side", "message"),
    [
        (tuple("0123456789"), 28, "trained on images of 28 x 28, and .* holds images of 32 x 32"),
        (tuple("abcdefghij"), 32, "knows the classes a, b, c, d, e, f, g, h, i, j; .* has 0, 1, 2"),
        (tuple("012345678"), 32, "knows the classes 0, 1, 2, 3, 4, 5, 6, 7, 8; "),
        (tuple("1023456789"), 32, "knows the classes 1, 0, 2"),
    ],
    ids=["other size", "other classes", "fewer classes", "classes in another order"],
)
def test_a_model_made_for_other_images_is_refused(
    score: Score, small_shards: Path, tmp_path: Path, classes: tuple[str, ...], side: int, message: str
) -> None:
    shape = (3, side, side)
    network = build_model("cnn", num_classes=len(classes), image_shape=shape)
    save_model(tmp_path / "model", network, ModelInfo(model="cnn", classes=classes, image_shape=shape, transform={}))
    with pytest.raises(InputError, match=message):
        score(small_shards, tmp_path / "model")
    assert Workspace(tmp_path / "workspace").list_runs() == []


def test_a_missing_or_foreign_model_is_refused_before_a_run_begins(
    score: Score, small_shards: Path, tmp_path: Path
) -> None:
    with pytest.raises(InputError, match="no such model file"):
        score(small_shards, tmp_path / "model")
    (tmp_path / "model").write_bytes(b"not a model")
    with pytest.raises(CorruptFileError, match="not a model that nodewise wrote"):
        score(small_shards, tmp_path / "model")
    assert Workspace(tmp_path / "workspace").list_runs() == []


def test_a_damaged_shard_fails_the_run_and_is_named(
    score: Score, small_shards: Path, model: Path, tmp_path: Path
) -> None:
    shards = tmp_path / "shards"
    shards.mkdir()
    for path in small_shards.iterdir():
        (shards / path.name).write_bytes(path.read_bytes())
    (victim,) = split_shards(read_manifest(shards), "test")
    content = bytearray((shards / victim.path).read_bytes())
    content[len(content) // 2] ^= 1
    (shards / victim.path).write_bytes(content)
    with pytest.raises(CorruptFileError, match=victim.path):
        score(shards, model)
    (run,) = Workspace(tmp_path / "workspace").list_runs()
    assert run.error is not None
    assert run.error["code"] == "corrupt_file"


def test_predictions_of_an_earlier_run_are_replaced(
    score: Score, small_shards: Path, model: Path, tmp_path: Path
) -> None:
    dest = tmp_path / "predictions"
    score(small_shards, model, split="all", output=dest, nodes=2)
    assert len(list(dest.iterdir())) > 1
    score(small_shards, model, split="test", output=dest)
    assert len(read_rows(dest)) == 40


def test_other_files_are_not_taken_for_predictions(tmp_path: Path) -> None:
    (tmp_path / "part-00000.parquet").touch()
    (tmp_path / "thesis.txt").touch()
    with pytest.raises(SourceError, match=r"other files, such as thesis\.txt"):
        claim_predictions(tmp_path)
    assert (tmp_path / "part-00000.parquet").exists()
    with pytest.raises(SourceError, match="is a file"):
        claim_predictions(tmp_path / "thesis.txt")
