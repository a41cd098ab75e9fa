"""Job ``train``: it learns, it never sees what is held out, and a cluster takes the same steps as one node."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.torch
import torch
from tests.engines.clusters import cluster_param
from tests.engines.tasks import DiesInTraining

import nodewise
from nodewise.core.errors import InputError, JobFailedError, SourceError, SpecError
from nodewise.engines.base import Engine
from nodewise.images.codecs import encode_png
from nodewise.jobs.train import TrainJob, TrainOutcome
from nodewise.metering.meter import TaskMeter
from nodewise.shards.manifest import Manifest, read_manifest, split_shards
from nodewise.specs.job import TrainSpec
from nodewise.specs.results import TrainResult
from nodewise.specs.run import RunStatus
from nodewise.training.model_file import read_model_info
from nodewise.workspace import Workspace

Train = Callable[..., TrainResult]

ENGINES = [cluster_param(name, 3) for name in ("local", "spark", "ray")]


class Alone:
    """A gang of one, in this process."""

    rank, world_size, threads, host = 0, 1, 1, "127.0.0.1"

    def all_gather(self, message: str) -> list[str]:
        return [message]


@pytest.fixture
def train(tmp_path: Path) -> Train:
    """``nodewise.train`` with a workspace of the test's own."""

    def call(shards: Path, **options: Any) -> TrainResult:
        return nodewise.train(shards, workspace=tmp_path / "workspace", cores_per_node=1, **options)

    return call


def train_alone(shards: Path, manifest: Manifest, spec: TrainSpec, folder: Path) -> TrainOutcome:
    job = TrainJob(shards, manifest, spec)
    with TaskMeter() as meter:
        return job.function(job.payload(folder / "model.safetensors", folder / "epochs.jsonl"), meter, Alone())


def weights(path: Path | str) -> dict[str, torch.Tensor]:
    return dict(safetensors.torch.load_file(path))


def largest_difference(first: dict[str, torch.Tensor], second: dict[str, torch.Tensor]) -> float:
    assert first.keys() == second.keys()
    return max(float((first[name] - second[name]).abs().max()) for name in first)


def prepare_noise(folder: Path, *, images: int, test_fraction: float) -> Path:
    """Shards of noise in two classes."""
    random = np.random.default_rng(0)
    for number in range(images):
        path = folder / "noise" / "ab"[number % 2] / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(encode_png(random.integers(0, 256, (20, 20, 3), dtype=np.uint8)))
    nodewise.prepare(folder / "noise", folder / "shards", test_fraction=test_fraction, workspace=folder / "workspace")
    return folder / "shards"


def test_three_epochs_tell_four_digits_of_five_apart(train: Train, digits_folder: Path, tmp_path: Path) -> None:
    nodewise.prepare(digits_folder, tmp_path / "shards", size=32, workspace=tmp_path / "workspace")
    result = train(tmp_path / "shards", epochs=3, seed=1)
    losses = [epoch.loss for epoch in result.epochs]
    assert losses == sorted(losses, reverse=True)
    assert result.accuracy is not None
    assert result.accuracy > 0.8
    assert result.accuracy == result.epochs[-1].test_accuracy
    assert [epoch.epoch for epoch in result.epochs] == [1, 2, 3]
    assert (result.world_size, result.strategy) == (1, "single")
    assert result.records == sum(shard.records for shard in split_shards(read_manifest(tmp_path / "shards"), "train"))


def test_what_is_held_out_does_not_touch_the_weights(small_shards: Path, tmp_path: Path) -> None:
    manifest = read_manifest(small_shards)
    no_test: dict[str, int] = dict.fromkeys(manifest.classes, 0)
    without = replace(
        manifest, shards=split_shards(manifest, "train"), counts={"train": manifest.counts["train"], "test": no_test}
    )
    for name, given in (("with", manifest), ("without", without)):
        (tmp_path / name).mkdir()
        train_alone(small_shards, given, TrainSpec(epochs=2), tmp_path / name)
    models = [(tmp_path / name / "model.safetensors").read_bytes() for name in ("with", "without")]
    assert models[0] == models[1]


@pytest.mark.parametrize("engine", ENGINES, indirect=True)
def test_three_nodes_take_the_same_steps_as_one(engine: Engine, small_shards: Path, tmp_path: Path) -> None:
    spec, manifest = TrainSpec(epochs=2, seed=4), read_manifest(small_shards)
    alone = train_alone(small_shards, manifest, spec, tmp_path)
    job = TrainJob(small_shards, manifest, spec)
    payload = job.payload(tmp_path / "together.safetensors", tmp_path / "together.jsonl")
    results = engine.gang("train", job.function, payload)
    together: TrainOutcome = results[0].value
    assert together.world_size == 3
    assert [epoch.loss for epoch in together.epochs] == pytest.approx([epoch.loss for epoch in alone.epochs], abs=1e-4)
    assert [epoch.test_accuracy for epoch in together.epochs] == [epoch.test_accuracy for epoch in alone.epochs]
    assert [epoch.train_accuracy for epoch in together.epochs] == [epoch.train_accuracy for epoch in alone.epochs]
    assert largest_difference(weights(tmp_path / "model.safetensors"), weights(payload.model_path)) < 1e-3
    # Each node read every shard and trained on its own third of the records.
    trained = [result.record.records for result in results]
    assert sum(trained) == 2 * 158
    assert max(trained) < 158
    assert len(payload.epoch_log.read_text().splitlines()) == 2


@pytest.mark.parametrize("engine", ENGINES, indirect=True)
def test_a_rank_killed_in_training_restarts_it_and_the_model_is_the_same(
    engine: Engine, small_shards: Path, tmp_path: Path
) -> None:
    job = TrainJob(small_shards, read_manifest(small_shards), TrainSpec(epochs=6))
    calm = job.payload(tmp_path / "calm.safetensors", tmp_path / "calm.jsonl")
    engine.gang("train", job.function, calm)
    disturbed = job.payload(tmp_path / "disturbed.safetensors", tmp_path / "disturbed.jsonl")
    results = engine.gang("train", DiesInTraining(job.function, tmp_path / "died"), disturbed)
    assert (tmp_path / "died").exists()
    assert [result.record.retries for result in results] == [1, 1, 1]
    assert largest_difference(weights(calm.model_path), weights(disturbed.model_path)) < 1e-3
    assert len(disturbed.epoch_log.read_text().splitlines()) == 6


def test_the_same_seed_trains_the_same_model(small_shards: Path, tmp_path: Path) -> None:
    models = []
    for number, seed in enumerate((1, 1, 2)):
        folder = tmp_path / str(number)
        folder.mkdir()
        train_alone(small_shards, read_manifest(small_shards), TrainSpec(epochs=1, seed=seed), folder)
        models.append((folder / "model.safetensors").read_bytes())
    assert models[0] == models[1]
    assert models[0] != models[2]


def test_batches_may_be_smaller_than_the_number_of_workers(train: Train, tmp_path: Path) -> None:
    shards = prepare_noise(tmp_path, images=20, test_fraction=0.2)
    alone = train_alone(shards, read_manifest(shards), TrainSpec(epochs=1, batch_size=2), tmp_path)
    together = train(shards, epochs=1, batch_size=2, nodes=3, output=tmp_path / "together")
    assert (together.world_size, together.strategy, together.records) == (3, "all-reduce", 16)
    assert together.epochs[0].loss == pytest.approx(alone.epochs[0].loss, abs=1e-4)
    assert largest_difference(weights(tmp_path / "model.safetensors"), weights(tmp_path / "together")) < 1e-3


def test_there_may_be_fewer_records_than_workers(train: Train, tmp_path: Path) -> None:
    shards = prepare_noise(tmp_path, images=4, test_fraction=0.5)
    result = train(shards, epochs=2, nodes=3)
    assert (result.world_size, result.records) == (3, 2)
    assert result.accuracy in (0.0, 0.5, 1.0)


def test_without_held_out_records_no_accuracy_is_claimed(train: Train, tmp_path: Path) -> None:
    shards = prepare_noise(tmp_path, images=6, test_fraction=0.0)
    result = train(shards, epochs=1)
    assert result.accuracy is None
    assert [epoch.test_accuracy for epoch in result.epochs] == [None]
    (run,) = (run for run in Workspace(tmp_path / "workspace").list_runs() if run.command == "train")
    assert run.accuracy is None


@pytest.mark.parametrize("nodes", [1, 2])
def test_training_that_diverges_fails_and_writes_no_model(
    train: Train, small_shards: Path, tmp_path: Path, nodes: int
) -> None:
    with pytest.raises(JobFailedError, match=r"the loss is (nan|inf) in epoch 1: training diverged") as caught:
        train(small_shards, epochs=3, learning_rate=1e30, nodes=nodes, output=tmp_path / "model")
    assert "learning-rate" in (caught.value.hint or "")
    assert not (tmp_path / "model").exists()
    (run,) = Workspace(tmp_path / "workspace").list_runs()
    assert run.status is RunStatus.FAILED


def test_the_model_file_says_what_it_was_trained_on(train: Train, small_shards: Path, tmp_path: Path) -> None:
    result = train(small_shards, epochs=1, output=tmp_path / "model")
    assert result.model_path == str(tmp_path / "model")
    info = read_model_info(tmp_path / "model")
    assert (info.model, info.classes, info.image_shape) == ("cnn", tuple("0123456789"), (3, 32, 32))
    assert info.transform == read_manifest(small_shards).transform


@pytest.mark.parametrize("engine", ENGINES, indirect=True)
def test_a_users_network_is_found_by_every_worker(
    engine: Engine, small_shards: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.chdir(tmp_path)
    name = f"network_for_{engine.name}"
    (tmp_path / f"{name}.py").write_text(
        "from torch import nn\n"
        "def flat(num_classes, image_shape):\n"
        "    return nn.Sequential(nn.Flatten(), nn.Linear(3 * 32 * 32, num_classes))\n"
    )
    job = TrainJob(small_shards, read_manifest(small_shards), TrainSpec(model=f"{name}:flat", epochs=1))
    payload = job.payload(tmp_path / "model", tmp_path / "epochs.jsonl")
    assert [result.value.world_size for result in engine.gang("train", job.function, payload)] == [3, 3, 3]
    assert weights(tmp_path / "model")["1.weight"].shape == (10, 3 * 32 * 32)


@pytest.mark.parametrize("engine", ENGINES, indirect=True)
def test_a_users_network_that_raises_in_training_is_located(
    engine: Engine, small_shards: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.chdir(tmp_path)
    name = f"failing_network_for_{engine.name}"
    (tmp_path / f"{name}.py").write_text(
        "from torch import nn\n"
        "class Fails(nn.Linear):\n"
        "    def forward(self, x):\n"
        "        if len(x) > 1:\n"
        "            raise RuntimeError('too many at once')\n"
        "        return super().forward(x)\n"
        "def net(num_classes, image_shape):\n"
        "    return nn.Sequential(nn.Flatten(), Fails(3 * 32 * 32, num_classes))\n"
    )
    job = TrainJob(small_shards, read_manifest(small_shards), TrainSpec(model=f"{name}:net", epochs=1))
    with pytest.raises(JobFailedError, match="too many at once") as caught:
        engine.gang("train", job.function, job.payload(tmp_path / "model", tmp_path / "epochs.jsonl"))
    assert caught.value.where == f"{tmp_path / name}.py:5"
    assert not (tmp_path / "model").exists()


def test_a_data_set_with_nothing_to_train_on_is_refused(train: Train, small_shards: Path, tmp_path: Path) -> None:
    manifest = read_manifest(small_shards)
    with pytest.raises(SourceError, match="no records to train on"):
        TrainJob(small_shards, replace(manifest, shards=split_shards(manifest, "test")), TrainSpec())


def test_a_wrong_request_is_refused_before_a_run_begins(train: Train, small_shards: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError):
        train(small_shards, model="json:no_such_function")
    (tmp_path / "shards").mkdir()
    (tmp_path / "shards" / "notes.txt").write_text("no shards here")
    with pytest.raises(SourceError, match="not a folder of shards"):
        train(tmp_path / "shards")
    with pytest.raises(SpecError, match="epochs"):
        train(small_shards, epochs=0)
    assert Workspace(tmp_path / "workspace").list_runs() == []
