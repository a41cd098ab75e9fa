"""Strategy ``average`` on real engines: a worker that is killed does not stop the others."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.engines.clusters import cluster_param
from tests.jobs import crews

import nodewise
from nodewise.core.errors import JobFailedError
from nodewise.engines.base import Engine
from nodewise.specs.job import TrainSpec

ENGINES = [cluster_param(name, crews.NODES) for name in ("local", "spark", "ray")]
# Enough epochs that the worker is missed for some of them, and back for others.
SPEC = TrainSpec(strategy="average", epochs=15, batch_size=32, average_every=2)


@pytest.fixture(autouse=True)
def _carried() -> None:
    crews.carry_by_value()


@pytest.mark.parametrize("engine", ENGINES, indirect=True)
def test_when_a_worker_is_killed_the_others_go_on_and_it_is_reported(
    engine: Engine, small_shards: Path, tmp_path: Path
) -> None:
    job, plan = crews.planned(engine.name, small_shards, SPEC, tmp_path)
    function = crews.Tells(job.crew_function, tmp_path, plan.epoch_log, dies=1)
    outcomes = crews.average(engine, function, plan)
    assert function.processes() == [1, 2, 1]
    (loss,) = outcomes[0].lost
    assert (loss.rank, loss.came_back) == (1, True)
    assert loss.epoch >= 1
    assert [epoch.epoch for epoch in outcomes[0].epochs] == list(range(1, 16))
    assert outcomes[0].epochs[-1].loss < 0.5 * outcomes[0].epochs[0].loss
    assert outcomes[0].epochs[-1].test_accuracy is not None
    assert outcomes[0].epochs[-1].test_accuracy > 0.5
    assert plan.model_path.exists()
    assert len(plan.epoch_log.read_text().splitlines()) == 15
    # Those that went on took part in every step.
    assert {worker.epoch for worker in outcomes[0].workers} == set(range(1, 16))


@pytest.mark.slow("local", "spark")
@pytest.mark.parametrize("engine", ENGINES, indirect=True)
def test_with_plain_sgd_an_average_at_every_step_is_what_a_single_worker_does(
    engine: Engine, small_shards: Path, tmp_path: Path
) -> None:
    plain = TrainSpec(
        strategy="average",
        optimizer="sgd",
        schedule="constant",
        warmup=0.0,
        precision="float32",
        epochs=2,
        batch_size=32,
        average_every=1,
    )
    _, reference = crews.planned(engine.name, small_shards, plain, tmp_path / "alone")
    job, plan = crews.planned(engine.name, small_shards, plain, tmp_path / "together")
    alone = crews.train_alone(reference)
    outcomes = crews.average(engine, job.crew_function, plan)
    for epoch, expected in zip(outcomes[0].epochs, alone.epochs, strict=True):
        assert epoch.loss == pytest.approx(expected.loss, abs=1e-4)
    assert crews.largest_difference(plan.model_path, reference.model_path) < 1e-4


def test_two_nodes_train_and_average_as_a_command_does(small_shards: Path, tmp_path: Path) -> None:
    result = nodewise.train(
        small_shards,
        strategy="average",
        average_every=3,
        epochs=2,
        nodes=2,
        cores_per_node=1,
        output=tmp_path / "model",
        workspace=tmp_path / "workspace",
    )
    assert (result.strategy, result.world_size, result.lost) == ("average", 2, ())
    assert [epoch.epoch for epoch in result.epochs] == [1, 2]
    assert [(worker.epoch, worker.rank) for worker in result.workers] == [(1, 0), (1, 1), (2, 0), (2, 1)]
    assert result.accuracy == result.epochs[-1].test_accuracy
    assert (tmp_path / "model").exists()


def test_what_ends_the_averaging_is_what_is_told(small_shards: Path, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(JobFailedError, match="averaging failed: NotADirectoryError"):
        nodewise.train(
            small_shards,
            strategy="average",
            epochs=2,
            average_every=1,
            nodes=2,
            cores_per_node=1,
            checkpoint_dir=tmp_path / "file" / "below",
            workspace=tmp_path / "workspace",
        )
