"""Job ``score``: one prediction per record, exactly once."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from tests.engines.clusters import cluster_param
from tests.engines.tasks import DiesAfterwards

import nodewise
from nodewise.core.errors import CorruptFileError, InputError, SourceError
from nodewise.engines.base import Engine
from nodewise.jobs.score import ScoreJob, claim_predictions
from nodewise.shards.files import read_shard
from nodewise.shards.manifest import read_manifest, split_shards
from nodewise.specs.job import ScoreSpec
from nodewise.specs.results import ScoreResult
from nodewise.training.model_file import ModelInfo, save_model
from nodewise.training.models import build_model
from nodewise.workspace import Workspace

Score = Callable[..., ScoreResult]
Rows = list[dict[str, Any]]


@pytest.fixture(scope="module")
def model(small_shards: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("model")
    nodewise.train(
        small_shards, epochs=2, cores_per_node=1, output=folder / "model.safetensors", workspace=folder / "workspace"
    )
    return folder / "model.safetensors"


@pytest.fixture
def score(tmp_path: Path) -> Score:
    """``nodewise.score`` with a workspace of the test's own."""

    def call(shards: Path, model: Path, **options: Any) -> ScoreResult:
        return nodewise.score(shards, model, workspace=tmp_path / "workspace", cores_per_node=1, **options)

    return call


def read_rows(folder: Path | str) -> Rows:
    return list(pq.read_table(folder).to_pylist())


def expected_labels(shards: Path, split: Any) -> dict[str, int]:
    """Every record of a split with its label."""
    return {
        f"{shard.path}:{number}": example.label
        for shard in split_shards(read_manifest(shards), split)
        for number, example in enumerate(read_shard(shards, shard))
    }


@pytest.mark.parametrize(("split", "records"), [("test", 40), ("train", 158), ("all", 198)])
def test_every_record_of_the_split_is_predicted_once(
    score: Score, small_shards: Path, model: Path, split: str, records: int
) -> None:
    result = score(small_shards, model, split=split, nodes=2)
    rows = read_rows(result.predictions_path)
    assert len(rows) == result.records == records
    assert {row["record"]: row["label"] for row in rows} == expected_labels(small_shards, split)
    assert result.accuracy == sum(row["label"] == row["predicted"] for row in rows) / records
    assert result.split == split


def test_a_row_says_what_the_model_saw_and_how_sure_it_is(score: Score, small_shards: Path, model: Path) -> None:
    rows = read_rows(score(small_shards, model).predictions_path)
    assert set(rows[0]) == {"record", "label", "predicted", "label_name", "predicted_name", "probability"}
    for row in rows:
        # The best of ten classes has at least a tenth.
        assert 0.1 <= row["probability"] <= 1
        assert (row["label_name"], row["predicted_name"]) == (str(row["label"]), str(row["predicted"]))


def test_scoring_agrees_with_the_evaluation_of_the_training(score: Score, small_shards: Path, tmp_path: Path) -> None:
    trained = nodewise.train(small_shards, epochs=2, cores_per_node=1, workspace=tmp_path / "workspace")
    assert score(small_shards, Path(trained.model_path)).accuracy == trained.accuracy


@pytest.mark.parametrize("batch_size", [1, 7, 1000])
def test_the_size_of_the_batches_does_not_matter(
    score: Score, small_shards: Path, model: Path, tmp_path: Path, batch_size: int
) -> None:
    usual = read_rows(score(small_shards, model).predictions_path)
    other = read_rows(score(small_shards, model, batch_size=batch_size, output=tmp_path / "other").predictions_path)
    assert [row["predicted"] for row in usual] == [row["predicted"] for row in other]
    assert [row["probability"] for row in usual] == pytest.approx([row["probability"] for row in other], abs=1e-5)


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
    assert (outcome.records, outcome.right) == (198, sum(row["label"] == row["predicted"] for row in rows))


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
    score(small_shards, model, split="all", output=dest)
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
