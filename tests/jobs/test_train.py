"""Job ``train``: it learns, it never sees what is held out, and a cluster takes the same steps as one node."""

from __future__ import annotations

import os
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
from nodewise.analysis.training_time import analyse_training
from nodewise.core.errors import InputError, JobFailedError, SourceError, SpecError, WorkerLostError
from nodewise.engines.base import Engine
from nodewise.images.codecs import encode_png
from nodewise.isolation.tiers import detect_tier
from nodewise.jobs.train import TrainJob
from nodewise.metering.meter import TaskMeter
from nodewise.shards.manifest import Manifest, read_manifest, split_shards
from nodewise.specs.cluster import ClusterSpec
from nodewise.specs.job import TrainSpec
from nodewise.specs.place import EmulationTier
from nodewise.specs.results import TrainResult
from nodewise.specs.run import RunStatus
from nodewise.training.checkpoint import parse_checkpoint
from nodewise.training.model_file import read_model_info
from nodewise.training.plan import TrainOutcome
from nodewise.workspace import Workspace

Train = Callable[..., TrainResult]

ENGINES = [cluster_param(name, 3) for name in ("local", "spark", "ray")]


ONE, THREE = (ClusterSpec(engine="local", nodes=nodes, cores_per_node=1) for nodes in (1, 3))


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
    job = TrainJob(shards, manifest, spec, ONE)
    with TaskMeter() as meter:
        return job.function(job.plan(folder / "model.safetensors", folder / "epochs.jsonl"), meter, Alone())


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
    spec, manifest = TrainSpec(epochs=2, seed=4, batch_size=32, precision="float32"), read_manifest(small_shards)
    alone = train_alone(small_shards, manifest, spec, tmp_path)
    job = TrainJob(small_shards, manifest, spec, THREE)
    payload = job.plan(tmp_path / "together.safetensors", tmp_path / "together.jsonl")
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


@pytest.mark.slow
@pytest.mark.parametrize("engine", ENGINES, indirect=True)
def test_a_rank_killed_in_training_restarts_it_and_the_model_is_the_same(
    engine: Engine, small_shards: Path, tmp_path: Path
) -> None:
    job = TrainJob(
        small_shards, read_manifest(small_shards), TrainSpec(epochs=6, batch_size=32, precision="float32"), THREE
    )
    calm = job.plan(tmp_path / "calm.safetensors", tmp_path / "calm.jsonl")
    engine.gang("train", job.function, calm)
    disturbed = job.plan(tmp_path / "disturbed.safetensors", tmp_path / "disturbed.jsonl")
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


@pytest.mark.slow
def test_batches_may_be_smaller_than_the_number_of_workers(train: Train, tmp_path: Path) -> None:
    shards = prepare_noise(tmp_path, images=20, test_fraction=0.2)
    alone = train_alone(shards, read_manifest(shards), TrainSpec(epochs=1, batch_size=2, precision="float32"), tmp_path)
    together = train(shards, epochs=1, batch_size=2, precision="float32", nodes=3, output=tmp_path / "together")
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


@pytest.mark.slow("local", "spark")
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
    job = TrainJob(small_shards, read_manifest(small_shards), TrainSpec(model=f"{name}:flat", epochs=1), THREE)
    payload = job.plan(tmp_path / "model", tmp_path / "epochs.jsonl")
    assert [result.value.world_size for result in engine.gang("train", job.function, payload)] == [3, 3, 3]
    assert weights(tmp_path / "model")["1.weight"].shape == (10, 3 * 32 * 32)


@pytest.mark.slow("local", "ray")
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
    job = TrainJob(small_shards, read_manifest(small_shards), TrainSpec(model=f"{name}:net", epochs=1), THREE)
    with pytest.raises(JobFailedError, match="too many at once") as caught:
        engine.gang("train", job.function, job.plan(tmp_path / "model", tmp_path / "epochs.jsonl"))
    assert caught.value.where == f"{tmp_path / name}.py:5"
    assert not (tmp_path / "model").exists()


def test_a_data_set_with_nothing_to_train_on_is_refused(train: Train, small_shards: Path, tmp_path: Path) -> None:
    manifest = read_manifest(small_shards)
    with pytest.raises(SourceError, match="no records to train on"):
        TrainJob(small_shards, replace(manifest, shards=split_shards(manifest, "test")), TrainSpec(), ONE)


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


def test_a_training_that_was_killed_goes_on_to_the_same_bytes(small_shards: Path, tmp_path: Path) -> None:
    manifest = read_manifest(small_shards)
    spec = TrainSpec(epochs=4, batch_size=32, checkpoint_every=3, model="tests.jobs.networks:dropping")
    job = TrainJob(small_shards, manifest, spec, ONE)
    whole = job.plan(tmp_path / "whole", tmp_path / "log", tmp_path / "checkpoints")
    with TaskMeter() as meter:
        first = job.function(whole, meter, Alone())
    # 5 steps per epoch; the checkpoint after step 18 lies within the last one.
    kept = sorted(path.name for path in (tmp_path / "checkpoints").iterdir())
    assert kept == ["step-000000015.safetensors", "step-000000018.safetensors"]
    for newest in kept[::-1]:
        resumed = job.plan(tmp_path / newest, tmp_path / "log", tmp_path / "checkpoints")
        job.check_resumable(resumed.checkpoint_dir)
        with TaskMeter() as meter:
            second = job.function(resumed, meter, Alone())
        assert second.resumed_at_step == int(newest[5:14])
        assert (tmp_path / newest).read_bytes() == (tmp_path / "whole").read_bytes()
        for epoch, again in zip(first.epochs, second.epochs, strict=True):
            assert replace(epoch, seconds=0.0) == replace(again, seconds=0.0)
        assert len((tmp_path / "log").read_text().splitlines()) == 4
        for path in (tmp_path / "checkpoints").glob("*18*"):
            path.unlink()


@pytest.mark.slow("local")
@pytest.mark.parametrize("engine", ENGINES, indirect=True)
def test_a_gang_that_lost_a_worker_goes_on_from_its_checkpoint(
    engine: Engine, small_shards: Path, tmp_path: Path
) -> None:
    spec = TrainSpec(epochs=6, batch_size=64, precision="float32", checkpoint_every=1)
    job = TrainJob(small_shards, read_manifest(small_shards), spec, THREE)
    plan = job.plan(tmp_path / "model", tmp_path / "log", tmp_path / "checkpoints")
    results = engine.gang("train", DiesInTraining(job.function, tmp_path / "died"), plan)
    outcomes: list[TrainOutcome] = [result.value for result in results]
    assert (tmp_path / "died").exists()
    # Not from the beginning: the gang that ended it did only the steps after the newest checkpoint.
    assert all(outcome.resumed_at_step for outcome in outcomes)
    assert sum(worker.records for outcome in outcomes for worker in outcome.workers) < 6 * 158
    assert [epoch.epoch for epoch in outcomes[0].epochs] == [1, 2, 3, 4, 5, 6]
    alone = train_alone(small_shards, read_manifest(small_shards), replace(spec, checkpoint_every=0), tmp_path)
    assert outcomes[0].epochs[-1].loss == pytest.approx(alone.epochs[-1].loss, abs=1e-3)


def test_a_gang_is_given_up_when_it_may_not_start_again(train: Train, small_shards: Path, tmp_path: Path) -> None:
    (tmp_path / "dies.py").write_text(
        "import os\nfrom torch import nn\n"
        "class Dies(nn.Flatten):\n"
        "    def forward(self, x):\n"
        "        if len(x) > 1 and os.environ.get('NODEWISE_NODE') == 'node-1':\n"
        "            os._exit(9)\n"
        "        return super().forward(x)\n"
        "def net(num_classes, image_shape):\n"
        "    return nn.Sequential(Dies(), nn.Linear(3 * 32 * 32, num_classes))\n"
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path)
        patch.setattr(sys, "path", list(sys.path))
        with pytest.raises(WorkerLostError, match="died once and the task was given up"):
            train(small_shards, model="dies:net", nodes=2, max_restarts=0)


def test_a_worker_at_half_speed_is_named(train: Train, small_shards: Path, tmp_path: Path) -> None:
    (tmp_path / "slows.py").write_text(
        "import os, time\nfrom torch import nn\n"
        "class Slows(nn.Flatten):\n"
        "    def forward(self, x):\n"
        "        time.sleep(0.1 if os.environ.get('NODEWISE_NODE') == 'node-1' else 0.05)\n"
        "        return super().forward(x)\n"
        "def net(num_classes, image_shape):\n"
        "    return nn.Sequential(Slows(), nn.Linear(3 * 32 * 32, num_classes))\n"
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path)
        patch.setattr(sys, "path", list(sys.path))
        result = train(small_shards, model="slows:net", nodes=2, epochs=3, batch_size=16, report=tmp_path / "r.html")
    (straggler,) = analyse_training(result).stragglers
    assert (straggler.rank, straggler.node) == (1, "node-1")
    by_rank = [sum(worker.wait_s for worker in result.workers if worker.rank == rank) for rank in (0, 1)]
    # 30 steps, at each of which the first waits 50 ms for the second.
    assert by_rank[0] > 0.5
    assert by_rank[1] < 0.5 * by_rank[0]
    assert "worker 1 on node-1" in (tmp_path / "r.html").read_text()


def test_resuming_what_is_not_there_or_other_is_refused(train: Train, small_shards: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="it is not said what to resume"):
        train(small_shards, resume=True)
    with pytest.raises(InputError, match=r"model\.checkpoints has no checkpoint to resume from"):
        train(small_shards, output=tmp_path / "model", resume=True)
    train(small_shards, epochs=2, output=tmp_path / "model", checkpoint_dir=tmp_path / "kept")
    with pytest.raises(InputError, match="made with other settings"):
        train(small_shards, epochs=3, output=tmp_path / "model", checkpoint_dir=tmp_path / "kept", resume=True)


def test_checkpoints_stay_only_where_they_were_asked_for(train: Train, small_shards: Path, tmp_path: Path) -> None:
    plain = train(small_shards, epochs=2, output=tmp_path / "model")
    assert plain.checkpoint_dir is None
    assert not (tmp_path / "model.checkpoints").exists()
    kept = train(small_shards, epochs=2, output=tmp_path / "model", checkpoint_dir=tmp_path / "kept")
    assert kept.checkpoint_dir == str(tmp_path / "kept")
    assert [path.name for path in (tmp_path / "kept").iterdir()] == ["step-000000002.safetensors"]
    again = train(small_shards, epochs=2, output=tmp_path / "again", checkpoint_dir=tmp_path / "kept", resume=True)
    assert again.resumed_at_step == 2
    assert (tmp_path / "again").read_bytes() == (tmp_path / "model").read_bytes()


def test_a_training_that_diverges_keeps_its_last_good_checkpoint(
    train: Train, small_shards: Path, tmp_path: Path
) -> None:
    settings = {"epochs": 9, "batch_size": 32, "optimizer": "sgd", "learning_rate": 1e4, "checkpoint_every": 1}
    with pytest.raises(JobFailedError, match="training diverge"):
        train(small_shards, output=tmp_path / "model", **settings)
    newest = sorted((tmp_path / "model.checkpoints").iterdir())[-1]
    weights_of = parse_checkpoint(newest.read_bytes(), "x").model.values()
    assert all(bool(value.isfinite().all()) for value in weights_of)


def test_a_worker_out_of_memory_ends_the_training_and_its_last_good_checkpoint_stays(
    train: Train, small_shards: Path, tmp_path: Path
) -> None:
    if detect_tier().tier is EmulationTier.PROCESSES:
        pytest.skip("nothing limits the memory of nodes on this machine; `nodewise doctor` says why")
    # 79 records of each batch of 158 for each of two workers; the third step is too much for one of them.
    (tmp_path / "eats.py").write_text(
        "import os\n"
        "from torch import nn\n"
        "class Eats(nn.Flatten):\n"
        "    steps = 0\n"
        "    def forward(self, x):\n"
        "        self.steps += self.training\n"
        "        if self.steps > 2 and os.environ.get('NODEWISE_NODE') == 'node-1':\n"
        "            self.eaten = b'x' * (2 << 30)\n"
        "        return super().forward(x)\n"
        "def net(num_classes, image_shape):\n"
        "    return nn.Sequential(Eats(), nn.Linear(3 * 32 * 32, num_classes))\n"
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path)
        patch.setattr(sys, "path", list(sys.path))
        with pytest.raises(WorkerLostError, match="ended at the node's memory limit") as caught:
            train(
                small_shards,
                model="eats:net",
                nodes=2,
                epochs=4,
                batch_size=158,
                checkpoint_every=1,
                max_restarts=0,
                memory_per_node="1GiB",
                output=tmp_path / "model",
            )
    assert "--memory-per-node" in (caught.value.hint or "")
    newest = max((tmp_path / "model.checkpoints").iterdir())
    assert parse_checkpoint(newest.read_bytes(), str(newest)).step == 2
    assert not (tmp_path / "model").exists()


def test_the_strategy_has_to_fit_the_cluster(train: Train, small_shards: Path) -> None:
    with pytest.raises(SpecError, match="strategy 'single' uses one node, and there are 2"):
        train(small_shards, nodes=2, strategy="single")
    with pytest.raises(SpecError, match="strategy 'parameter-server' runs on engine 'ray', not on 'local'"):
        train(small_shards, nodes=2, strategy="parameter-server")


@pytest.mark.slow
def test_half_the_bytes_are_sent_with_compression(train: Train, small_shards: Path) -> None:
    plain, short = (train(small_shards, epochs=1, nodes=2, compression=name) for name in ("none", "bf16"))
    for result in (plain, short):
        assert {(worker.rank, worker.epoch) for worker in result.workers} == {(0, 1), (1, 1)}
        assert all(worker.communicate_s + worker.wait_s > 0 for worker in result.workers)
    parameters = sum(value.numel() for value in weights(plain.model_path).values())
    assert plain.workers[0].sent_bytes == 2 * 4 * parameters
    assert short.workers[0].sent_bytes == 2 * 2 * parameters
    assert short.epochs[0].loss == pytest.approx(plain.epochs[0].loss, rel=0.1)


# Muon lifts what is small in a gradient, rounding with it, so that it cannot be as near.
@pytest.mark.parametrize(
    ("optimizer", "tolerance"),
    [
        ("adam", 1e-4),
        pytest.param("sgd", 1e-4, marks=pytest.mark.slow),
        pytest.param("muon", 2e-3, marks=pytest.mark.slow),
    ],
)
def test_the_loss_of_every_step_is_that_of_one_node(
    train: Train, small_shards: Path, optimizer: str, tolerance: float
) -> None:
    # One batch of all records, so that an epoch is a step.
    steps = 100 if os.environ.get("NODEWISE_TEST_ALL") == "1" else 40
    settings = {"epochs": steps, "batch_size": 158, "optimizer": optimizer, "precision": "float32", "seed": 3}
    if optimizer == "sgd":
        settings["learning_rate"] = 0.02
    one, two = (train(small_shards, nodes=nodes, **settings) for nodes in (1, 2))
    assert one.steps == two.steps == steps
    assert [e.loss for e in two.epochs] == pytest.approx([e.loss for e in one.epochs], abs=tolerance)
    assert one.epochs[-1].loss < one.epochs[0].loss
