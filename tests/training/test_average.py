"""Strategy ``average``, its workers as threads of this process: rounds, equalities, the averager's memory, lateness."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.torch
import torch

from nodewise.core.errors import InputError, JobFailedError, WorkerLostError
from nodewise.jobs.train import TrainJob
from nodewise.metering.meter import TaskMeter
from nodewise.shards.manifest import read_manifest
from nodewise.specs.cluster import ClusterSpec
from nodewise.specs.crew import CrewContext
from nodewise.specs.job import TrainSpec
from nodewise.training import roll
from nodewise.training.average import Link, train_and_average
from nodewise.training.average_rounds import AveragePayload, TensorStore, milestones, round_after, round_ends
from nodewise.training.averager import Averager
from nodewise.training.checkpoint import parse_checkpoint
from nodewise.training.plan import TrainOutcome, TrainPlan
from nodewise.training.synchronous import train_together

SGD = TrainSpec(
    strategy="average",
    optimizer="sgd",
    schedule="constant",
    warmup=0.0,
    precision="float32",
    batch_size=32,
    average_every=1,
    epochs=2,
)
"""158 records: five steps per epoch, the last one of 30."""


class Alone:
    """A gang of one, in this process."""

    rank, world_size, threads, host = 0, 1, 1, "127.0.0.1"

    def all_gather(self, message: str) -> list[str]:
        return [message]


Plan = Callable[..., TrainPlan]


@pytest.fixture
def plan(small_shards: Path, tmp_path: Path) -> Plan:
    """The plan of a training of the small shards; files are named after ``name``."""

    def make(spec: TrainSpec, name: str = "average") -> TrainPlan:
        cluster = ClusterSpec(engine="local", nodes=3)
        job = TrainJob(small_shards, read_manifest(small_shards), spec, cluster)
        return job.plan(tmp_path / f"{name}.safetensors", tmp_path / f"{name}.jsonl", tmp_path / f"{name}-checkpoints")

    return make


def member(payload: AveragePayload, rank: int, world_size: int, attempt: int = 0) -> TrainOutcome:
    context = CrewContext(rank=rank, world_size=world_size, threads=1, host="127.0.0.1", attempt=attempt)
    with TaskMeter() as meter:
        return train_and_average(payload, meter, context)


def together(calls: Sequence[Callable[[], Any]]) -> list[Any]:
    """What these calls return, each in a thread of its own; or what the first of them raised."""
    results: list[Any] = [None] * len(calls)

    def run(number: int) -> None:
        try:
            results[number] = calls[number]()
        except Exception as error:
            results[number] = error

    threads = [threading.Thread(target=run, args=(number,), daemon=True) for number in range(len(calls))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for result in results:
        if isinstance(result, Exception):
            raise result
    return results


def train(plan: TrainPlan, world_size: int = 3) -> list[TrainOutcome]:
    with Averager(plan, "127.0.0.1", world_size) as driver:
        outcomes = together([lambda rank=rank: member(driver.payload, rank, world_size) for rank in range(world_size)])
        return driver.complete(outcomes)


def train_alone(plan: TrainPlan) -> TrainOutcome:
    with TaskMeter() as meter:
        return train_together(plan, meter, Alone())


def largest_difference(first: Path, second: Path) -> float:
    one, other = (safetensors.torch.load_file(path) for path in (first, second))
    assert one.keys() == other.keys()
    return max(float((one[name] - other[name]).abs().max()) for name in one)


@pytest.mark.parametrize(
    ("average_every", "expected"),
    [
        (1, list(range(1, 11))),
        (2, [2, 4, 5, 6, 8, 10]),
        (5, [5, 10]),
        (7, [7, 10]),
        (None, [10]),
        (1000, [10]),
    ],
)
def test_rounds_end_as_often_as_asked_and_with_each_epoch_they_fit_into(
    plan: Plan, average_every: int | None, expected: list[int]
) -> None:
    made = plan(replace(SGD, average_every=average_every))
    assert made.steps_per_epoch == 5
    assert round_ends(made) == expected


def test_what_is_told_is_in_order_and_an_epoch_follows_its_last_round(plan: Plan) -> None:
    told = [(one.kind, one.number, one.round, one.step) for one in milestones(plan(replace(SGD, average_every=3)))]
    assert told == [
        ("round", 0, 0, 3),
        ("round", 1, 1, 5),
        ("epoch", 1, 1, 5),
        ("round", 2, 2, 6),
        ("round", 3, 3, 9),
        ("round", 4, 4, 10),
        ("epoch", 2, 4, 10),
    ]
    told = [(one.kind, one.number, one.round, one.step) for one in milestones(plan(replace(SGD, average_every=None)))]
    assert told == [("epoch", 1, 0, 5), ("round", 0, 0, 10), ("epoch", 2, 0, 10)]
    assert [round_after([3, 5, 10], done) for done in (0, 2, 3, 5, 9, 10)] == [0, 0, 1, 2, 2, 3]


def test_vectors_longer_than_the_store_takes_go_through_it() -> None:
    server, port = TensorStore.serve("127.0.0.1")
    client = TensorStore.connect("127.0.0.1", port)
    values = np.arange(3_000_000, dtype=np.float32)  # 12 MB
    client.put_vector("v", values)
    client.put("m", "hello")
    assert server.await_message("m") == "hello"
    received = server.vector("v", len(values))
    assert received is not None
    assert np.array_equal(received, values)
    before = server.num_keys
    server.remove_vector("v", len(values))
    assert before - server.num_keys == 3
    assert client.vector("v", len(values)) is None
    assert (server.take("m"), server.look("m")) == (None, None)


def test_with_plain_sgd_an_average_at_every_step_is_the_step_of_the_whole_batch(plan: Plan) -> None:
    made, reference = plan(SGD), plan(SGD, "alone")
    alone = train_alone(reference)
    outcomes = train(made)
    for outcome in outcomes:
        assert [epoch.loss for epoch in outcome.epochs] == pytest.approx([one.loss for one in alone.epochs], abs=1e-4)
        assert [epoch.test_accuracy for epoch in outcome.epochs] == [one.test_accuracy for one in alone.epochs]
        assert (outcome.world_size, outcome.steps, outcome.lost) == (3, 10, ())
    assert largest_difference(made.model_path, reference.model_path) < 1e-5
    assert len(made.epoch_log.read_text().splitlines()) == 2
    workers = [worker for outcome in outcomes for worker in outcome.workers]
    assert sum(worker.records for worker in workers) == 2 * 158
    assert {worker.steps for worker in workers} == {5}
    # Five times 122,570 numbers of four bytes each.
    assert {worker.sent_bytes for worker in workers} == {5 * 122_570 * 4}


def test_parts_of_a_batch_may_be_empty(plan: Plan) -> None:
    spec = replace(SGD, batch_size=4, epochs=1)
    made, reference = plan(spec), plan(spec, "alone")
    train_alone(reference)
    train(made)
    assert largest_difference(made.model_path, reference.model_path) < 1e-4


def test_shortened_to_bfloat16_half_the_bytes_lead_nearly_to_the_same(plan: Plan) -> None:
    made, reference = plan(replace(SGD, compression="bf16")), plan(SGD, "alone")
    alone = train_alone(reference)
    outcome = train(made)[0]
    assert [epoch.loss for epoch in outcome.epochs] == pytest.approx([one.loss for one in alone.epochs], abs=5e-3)
    assert 0 < largest_difference(made.model_path, reference.model_path) < 1e-3
    assert outcome.workers[0].sent_bytes == 5 * 122_570 * 2


def test_averaged_once_workers_are_evaluated_once(plan: Plan) -> None:
    outcome = train(plan(replace(SGD, average_every=None, optimizer="adam", epochs=3)))[0]
    assert [epoch.test_accuracy is None for epoch in outcome.epochs] == [True, True, False]
    assert [epoch.epoch for epoch in outcome.epochs] == [1, 2, 3]
    assert outcome.epochs[-1].loss < outcome.epochs[0].loss
    assert [worker.sent_bytes > 0 for worker in outcome.workers] == [False, False, True]


def test_the_averager_keeps_no_more_after_many_rounds(plan: Plan) -> None:
    kept = []
    for epochs in (1, 4):
        with Averager(plan(replace(SGD, epochs=epochs)), "127.0.0.1", 2) as driver:
            driver.complete(together([lambda rank=rank, to=driver: member(to.payload, rank, 2) for rank in range(2)]))
            kept.append(driver.num_kept)
    assert kept[0] == kept[1]


def test_a_training_goes_on_from_its_last_average(plan: Plan) -> None:
    # With plain SGD an optimiser that begins anew changes nothing.
    spec = replace(SGD, epochs=3, average_every=2, checkpoint_every=3)
    whole, halved = plan(spec, "whole"), plan(spec, "halved")
    expected = train(whole)[0]
    assert halved.checkpoint_dir is not None
    assert whole.checkpoint_dir is not None
    # Every three steps, at the first average after: 4, 6, 10, 12 of 15.
    assert [path.name for path in sorted(whole.checkpoint_dir.iterdir())] == [
        "step-000000010.safetensors",
        "step-000000012.safetensors",
    ]
    whole.checkpoint_dir.rename(halved.checkpoint_dir)
    newest = halved.checkpoint_dir / "step-000000012.safetensors"
    assert parse_checkpoint(newest.read_bytes(), "it").epochs == expected.epochs[:2]
    outcome = train(halved)[0]
    assert outcome.resumed_at_step == 12
    assert outcome.epochs[:2] == expected.epochs[:2]
    assert outcome.epochs[2].test_accuracy == expected.epochs[2].test_accuracy
    assert largest_difference(whole.model_path, halved.model_path) < 1e-6
    with pytest.raises(InputError, match="other settings"):
        train(replace(halved, spec=replace(spec, seed=1)))


def test_weights_that_are_not_finite_end_it_for_all_with_their_reason(plan: Plan) -> None:
    made = plan(SGD)

    def hand_in(rank: int, value: float) -> None:
        link = Link(driver.payload, CrewContext(rank=rank, world_size=2, threads=1, host="127.0.0.1", attempt=0))
        entered = link.enter(122_570)
        assert entered is not None
        link.hand_in(0, torch.full((122_570,), value), records=16)
        link.await_round(0, 122_570)

    with Averager(made, "127.0.0.1", 2) as driver:
        with pytest.raises(WorkerLostError, match="the driver gave up averaging"):
            together([lambda: hand_in(0, 0.0), lambda: hand_in(1, float("inf"))])
        with pytest.raises(JobFailedError, match="not finite after step 1: training diverged"):
            driver.complete([])
    assert not made.model_path.exists()


def test_a_checkpoint_that_cannot_be_written_ends_it_for_all_with_its_reason(plan: Plan) -> None:
    made = plan(SGD)
    assert made.checkpoint_dir is not None
    made.checkpoint_dir.write_text("where the folder should be")
    driver = Averager(replace(made, checkpoint_dir=made.checkpoint_dir / "below"), "127.0.0.1", 2)
    with driver:
        with pytest.raises(WorkerLostError, match="the driver gave up averaging"):
            together([lambda rank=rank: member(driver.payload, rank, 2) for rank in range(2)])
        assert driver.error is not None
        assert "averaging failed: NotADirectoryError" in driver.error.message


def test_when_the_driver_is_gone_a_worker_ends(plan: Plan) -> None:
    driver = Averager(plan(SGD), "127.0.0.1", 2)

    def leave() -> None:
        # Rank 1 never comes, so that rank 0 waits.
        while driver.num_kept < 1:
            time.sleep(0.01)
        driver.__exit__()

    driver.__enter__()
    with pytest.raises(WorkerLostError, match="rank 0 lost the driver"):
        together([lambda: member(driver.payload, 0, 2), leave])


def test_a_worker_that_is_late_is_left_behind_and_goes_on_with_the_others(
    plan: Plan, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(roll, "MIN_WAIT_S", 1.0)
    monkeypatch.setattr(roll, "PATIENCE", 2.0)
    closed, waited = threading.Event(), threading.Event()
    close_round = Averager._close_round

    def noticing(self: Averager) -> None:
        close_round(self)
        if self._milestone.number == 2:
            closed.set()

    monkeypatch.setattr(Averager, "_close_round", noticing)
    made = plan(replace(SGD, epochs=3))

    class Slow(TaskMeter):
        """Of a worker that stops at its third step until the others have gone on without it."""

        def count(self, **counted: int) -> None:
            super().count(**counted)
            if counted.get("records") and self.records > 40 and not waited.is_set():
                waited.set()
                assert closed.wait(60)

    def late() -> TrainOutcome:
        context = CrewContext(rank=1, world_size=2, threads=1, host="127.0.0.1", attempt=0)
        with Slow() as meter:
            return train_and_average(driver.payload, meter, context)

    with Averager(made, "127.0.0.1", 2) as driver:
        outcomes = driver.complete(together([lambda: member(driver.payload, 0, 2), late]))
    (loss,) = outcomes[0].lost
    assert (loss.rank, loss.epoch, loss.step, loss.came_back) == (1, 1, 3, True)
    assert [epoch.epoch for epoch in outcomes[0].epochs] == [1, 2, 3]
    assert outcomes[0].epochs[-1].test_accuracy is not None
    assert made.model_path.exists()


def test_one_that_comes_when_all_is_over_is_told_so(plan: Plan) -> None:
    with Averager(plan(replace(SGD, epochs=1)), "127.0.0.1", 1) as driver:
        first = member(driver.payload, 0, 1)
        # Its process died before it could return, and another one takes its place.
        second = member(driver.payload, 0, 1, attempt=1)
        outcomes = driver.complete([second])
    assert (len(first.workers), second.workers, outcomes[0].lost) == (1, (), ())
    assert len(outcomes[0].epochs) == 1
