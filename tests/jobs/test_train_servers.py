"""Strategy ``parameter-server`` on Ray: the steps of one worker, and what happens when processes are killed."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from tests.engines.clusters import on_cluster, on_no_cluster
from tests.jobs import crews

import nodewise
from nodewise.core.errors import WorkerLostError
from nodewise.engines.base import Engine
from nodewise.specs.job import TrainSpec

SPEC = TrainSpec(strategy="parameter-server", epochs=2, batch_size=32, precision="float32", servers=2)


@pytest.fixture(autouse=True)
def _carried() -> None:
    crews.carry_by_value()


@on_cluster("ray", crews.NODES)
class TestTraining:
    @pytest.mark.parametrize("workers_per_node", [1, pytest.param(2, marks=pytest.mark.slow)])
    def test_workers_that_wait_for_each_other_take_the_steps_of_one(
        self, engine: Engine, small_shards: Path, tmp_path: Path, workers_per_node: int
    ) -> None:
        spec = replace(SPEC, optimizer="adam", workers_per_node=workers_per_node)
        _, reference = crews.planned("ray", small_shards, spec, tmp_path / "alone")
        job, plan = crews.planned("ray", small_shards, spec, tmp_path / "together")
        alone = crews.train_alone(reference)
        outcomes = crews.with_servers(engine, job.crew_function, plan, workers_per_node)
        world_size = crews.NODES * workers_per_node
        assert [outcome.world_size for outcome in outcomes] == [world_size] * world_size
        for epoch, expected in zip(outcomes[0].epochs, alone.epochs, strict=True):
            assert epoch.loss == pytest.approx(expected.loss, abs=1e-4)
            assert epoch.test_accuracy == expected.test_accuracy
        assert crews.largest_difference(plan.model_path, reference.model_path) < 1e-3
        assert len(plan.epoch_log.read_text().splitlines()) == 2
        assert (outcomes[0].lost, outcomes[0].max_staleness) == ((), None)
        workers = [worker for outcome in outcomes for worker in outcome.workers]
        assert sum(worker.records for worker in workers) == 2 * 158
        # 122,570 numbers of four bytes, whenever a worker had a part of the batch.
        assert all(worker.sent_bytes % (4 * 122_570) == 0 for worker in workers)

    @pytest.mark.parametrize("is_async", [pytest.param(False, marks=pytest.mark.slow), True])
    def test_when_a_worker_is_killed_the_others_go_on_and_it_is_reported(
        self, engine: Engine, small_shards: Path, tmp_path: Path, is_async: bool
    ) -> None:
        spec = replace(SPEC, epochs=12, is_async=is_async, max_staleness=2)
        job, plan = crews.planned("ray", small_shards, spec, tmp_path)
        function = crews.Tells(job.crew_function, tmp_path, plan.epoch_log, dies=1)
        outcome = crews.with_servers(engine, function, plan)[0]
        assert function.processes() == [1, 2, 1]
        (loss,) = outcome.lost
        assert (loss.rank, loss.came_back) == (1, True)
        assert [epoch.epoch for epoch in outcome.epochs] == list(range(1, 13))
        assert outcome.epochs[-1].loss < 0.5 * outcome.epochs[0].loss
        assert outcome.epochs[-1].test_accuracy is not None
        assert outcome.epochs[-1].test_accuracy > 0.5
        assert (outcome.max_staleness is not None and outcome.max_staleness <= 2) == is_async

    @pytest.mark.slow
    def test_a_training_goes_on_from_what_the_servers_held(
        self, engine: Engine, small_shards: Path, tmp_path: Path
    ) -> None:
        spec = replace(SPEC, optimizer="adam", checkpoint_every=7)
        job, whole = crews.planned("ray", small_shards, spec, tmp_path / "whole")
        _, halved = crews.planned("ray", small_shards, spec, tmp_path / "halved")
        crews.with_servers(engine, job.crew_function, whole)
        assert whole.checkpoint_dir is not None
        assert halved.checkpoint_dir is not None
        assert [path.name for path in whole.checkpoint_dir.iterdir()] == ["step-000000007.safetensors"]
        whole.checkpoint_dir.rename(halved.checkpoint_dir)
        outcome = crews.with_servers(engine, job.crew_function, halved)[0]
        assert outcome.resumed_at_step == 7
        assert [epoch.epoch for epoch in outcome.epochs] == [1, 2]
        assert crews.largest_difference(whole.model_path, halved.model_path) < 1e-3

    def test_a_server_that_is_killed_ends_it_with_what_to_do(
        self, engine: Engine, small_shards: Path, tmp_path: Path
    ) -> None:
        import ray

        job, plan = crews.planned("ray", small_shards, SPEC, tmp_path)
        with pytest.raises(WorkerLostError, match="lost a parameter server") as caught:
            crews.with_servers(engine, job.crew_function, plan, meanwhile=lambda given: ray.kill(given.servers[0]))
        assert "--resume" in (caught.value.hint or "")
        assert not plan.model_path.exists()


@pytest.mark.slow
@on_no_cluster("ray")
def test_two_nodes_train_with_servers_as_a_command_does(engine: None, small_shards: Path, tmp_path: Path) -> None:
    result = nodewise.train(
        small_shards,
        strategy="parameter-server",
        is_async=True,
        servers=2,
        workers_per_node=2,
        epochs=2,
        engine="ray",
        nodes=2,
        cores_per_node=1,
        output=tmp_path / "model",
        workspace=tmp_path / "workspace",
    )
    assert (result.strategy, result.world_size, result.lost) == ("parameter-server", 4, ())
    assert [epoch.epoch for epoch in result.epochs] == [1, 2]
    assert (tmp_path / "model").exists()
