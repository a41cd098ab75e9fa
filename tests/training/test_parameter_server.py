"""Strategy ``parameter-server`` without actors: parts, what a server computes, where workers wait for each other."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from nodewise.jobs.train import TrainJob
from nodewise.shards.manifest import read_manifest
from nodewise.specs.cluster import ClusterSpec
from nodewise.specs.job import TrainSpec
from nodewise.specs.results import EpochResult
from nodewise.specs.training import LostWorker
from nodewise.training import coordinator as coordinator_module
from nodewise.training import roll
from nodewise.training.checkpoint import Checkpoint, save_checkpoint
from nodewise.training.coordinator import Coordinator, Phase, Told
from nodewise.training.flat import flatten, unflatten
from nodewise.training.network import initial_network
from nodewise.training.optimizers import build_optimizer, learning_rates
from nodewise.training.parameter_parts import split_sizes
from nodewise.training.parameter_server import float_buffers, join_states
from nodewise.training.parameter_store import ParameterStore
from nodewise.training.plan import TrainPlan

SPEC = TrainSpec(strategy="parameter-server", epochs=2, batch_size=32, precision="float32")


@pytest.fixture
def plan(small_shards: Path, tmp_path: Path) -> Callable[[TrainSpec], TrainPlan]:
    def make(spec: TrainSpec) -> TrainPlan:
        job = TrainJob(small_shards, read_manifest(small_shards), spec, ClusterSpec(engine="ray", nodes=3))
        return job.plan(tmp_path / "model.safetensors", tmp_path / "epochs.jsonl", tmp_path / "checkpoints")

    return make


def parts_of(network: torch.nn.Module, num_servers: int) -> list[list[str]]:
    parameters = list(network.named_parameters())
    split = split_sizes([weights.numel() for _, weights in parameters], num_servers)
    return [[parameters[place][0] for place in part] for part in split]


def gradient_of(network: torch.nn.Module, part: list[str], seed: int) -> Any:
    """Random numbers, the same for a parameter whatever the part it is in."""
    values = []
    for place, (name, weights) in enumerate(network.named_parameters()):
        if name in part:
            values.append(torch.randn(weights.numel(), generator=torch.Generator().manual_seed(100 * seed + place)))
    return torch.cat(values).numpy()


def reference(plan: TrainPlan, steps: int) -> torch.nn.Module:
    """The network after so many steps with these gradients, all in one place."""
    network = initial_network(plan)
    optimizer, rate_of = build_optimizer(plan.spec, network), learning_rates(plan.spec, plan.num_steps)
    names = [name for name, _ in network.named_parameters()]
    for step in range(steps):
        for weights in network.parameters():
            weights.grad = torch.zeros_like(weights)
        grads = [weights.grad for weights in network.parameters() if weights.grad is not None]
        unflatten(torch.tensor(gradient_of(network, names, step)), grads)
        for group in optimizer.param_groups:
            group["lr"] = rate_of(step)
        optimizer.step()
    return network


@pytest.mark.parametrize(
    ("sizes", "num_parts", "expected"),
    [
        ([5, 1, 4, 2], 2, [[0, 1], [2, 3]]),
        ([1, 1, 1], 3, [[0], [1], [2]]),
        ([3, 9], 5, [[1], [0]]),
        ([7, 8], 1, [[0, 1]]),
    ],
)
def test_parts_are_about_as_large_and_none_is_empty(
    sizes: list[int], num_parts: int, expected: list[list[int]]
) -> None:
    assert split_sizes(sizes, num_parts) == expected


@pytest.mark.parametrize("optimizer", ["sgd", "adam", "muon"])
def test_three_servers_take_the_steps_of_one_optimizer(
    plan: Callable[[TrainSpec], TrainPlan], optimizer: Any, tmp_path: Path
) -> None:
    made = plan(replace(SPEC, optimizer=optimizer))
    expected = dict(reference(made, 4).named_parameters())
    network = initial_network(made)
    parts = parts_of(network, 3)
    servers = [ParameterStore(made, part, 2, None) for part in parts]
    for step in (1, 2, 3, 4):
        for server, part in zip(servers, parts, strict=True):
            whole = gradient_of(network, part, step - 1)
            server.push(0, step, 0.25 * whole, 8, 32)
            server.push(1, step, 0.75 * whole, 24, 32)
            server.pull(step, (0, 1))
        if step == 2:
            # From here on they are others, which know no more than what was saved.
            weights, state = join_states([server.state() for server in servers])
            data = save_checkpoint(tmp_path, checkpoint(2, {**network.state_dict(), **weights}, state)).read_bytes()
            servers = [ParameterStore(made, part, 2, data) for part in parts]
    for server, part in zip(servers, parts, strict=True):
        assert server.state().step == 4
        values = torch.tensor(server.weights())
        assert torch.allclose(values, flatten(expected[name] for name in part), atol=1e-5)
        # Asked again, it is not taken again.
        assert np.array_equal(server.pull(4, (0, 1)), server.weights())
    weights, _ = join_states([server.state() for server in servers])
    assert weights.keys() == expected.keys()


def checkpoint(step: int, model: dict[str, torch.Tensor], optimizer: dict[str, Any]) -> Checkpoint:
    return Checkpoint(
        step=step,
        epoch=1,
        epoch_step=step,
        losses=0.0,
        right=0.0,
        epochs=(),
        fingerprint="",
        model=model,
        optimizer=optimizer,
        random=torch.get_rng_state(),
    )


def test_a_gradient_that_is_missing_is_made_up_for_by_the_others(plan: Callable[[TrainSpec], TrainPlan]) -> None:
    spec = replace(SPEC, optimizer="sgd", schedule="constant", warmup=0.0, learning_rate=1.0, scale_lr="none")
    made = plan(spec)
    part = parts_of(initial_network(made), 1)[0]
    server = ParameterStore(made, part, 2, None)
    before = server.weights()
    # A quarter of the batch has the gradient of sums 1, of whose mean it is 4 times.
    server.push(0, 1, np.full_like(before, 0.25), 8, 32)
    server.push(1, 1, np.full_like(before, 100.0), 24, 32)
    after = server.pull(1, (0,))
    assert np.allclose(before - after, 1.0, atol=1e-5)
    # Nobody has brought any record.
    assert np.array_equal(server.pull(2, ()), after)


def test_without_waiting_each_gradient_is_a_step_with_the_rate_of_its_records(
    plan: Callable[[TrainSpec], TrainPlan],
) -> None:
    spec = replace(
        SPEC, optimizer="sgd", schedule="constant", warmup=0.0, learning_rate=1.0, scale_lr="linear", is_async=True
    )
    made = plan(spec)
    server = ParameterStore(made, parts_of(initial_network(made), 1)[0], 4, None)
    before = server.weights()
    # 32 records shared by 4 workers are 8, a sixteenth of 128.
    after = server.apply(np.ones_like(before), 0)
    assert np.allclose(before - after, 1 / 16, atol=1e-6)


def test_shortened_weights_are_sent_with_half_the_bytes_and_kept_whole(plan: Callable[[TrainSpec], TrainPlan]) -> None:
    made = plan(replace(SPEC, compression="bf16"))
    network = initial_network(made)
    (part,) = parts_of(network, 1)
    server = ParameterStore(made, part, 1, None)
    assert server.weights().nbytes == 2 * sum(weights.numel() for weights in network.parameters())
    kept = server.state().weights
    assert all(torch.equal(kept[name], weights) for name, weights in network.named_parameters())


def test_what_no_server_holds_are_the_statistics() -> None:
    model = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.BatchNorm1d(4))
    assert [tensor.numel() for tensor in float_buffers(model)] == [4, 4]


def make(world_size: int, *, num_epochs: int = 2, max_staleness: int = 2) -> Coordinator:
    return Coordinator(world_size, num_epochs=num_epochs, max_staleness=max_staleness)


async def enter_all(coordinator: Coordinator, world_size: int) -> None:
    for rank in range(world_size):
        await coordinator.begin(rank, 0)
    entries = await asyncio.gather(*(coordinator.enter(rank, 0) for rank in range(world_size)))
    assert all(entry is not None and (entry.step, entry.epoch) == (0, 1) for entry in entries)


def test_workers_begin_together_and_meet() -> None:
    async def play() -> None:
        coordinator = make(2)
        await coordinator.begin(0, 0)
        await coordinator.begin(1, 0)
        early = asyncio.create_task(coordinator.enter(0, 0))
        await asyncio.sleep(0.01)
        assert not early.done()
        await coordinator.enter(1, 0)
        assert await early is not None
        first = asyncio.create_task(coordinator.meet(0, 0, 1, Phase.GRADIENT, Told()))
        await asyncio.sleep(0.05)
        assert not first.done()
        second = await coordinator.meet(1, 0, 1, Phase.GRADIENT, Told())
        met = await first
        assert met is not None
        assert second is not None
        assert met[0].ranks == second[0].ranks == (0, 1)
        assert met[1] > second[1]

    asyncio.run(play())


def test_an_epoch_is_the_sum_of_what_was_told_and_statistics_are_averaged() -> None:
    async def meet(coordinator: Coordinator, step: int, phase: int, told: list[Told]) -> Any:
        met = await asyncio.gather(*(coordinator.meet(rank, 0, step, phase, one) for rank, one in enumerate(told)))
        return met[0][0]

    async def play() -> None:
        coordinator = make(2, num_epochs=1)
        await enter_all(coordinator, 2)
        buffers = [np.array([1.0, 2.0], np.float32), np.array([3.0, 2.0], np.float32)]
        told = [Told(losses=6.0, right=1, records=2, buffers=buffers[0])]
        told += [Told(losses=2.0, right=2, records=2, buffers=buffers[1])]
        meeting = await meet(coordinator, 5, Phase.EPOCH, told)
        assert meeting.buffers.tolist() == [2, 2]
        assert meeting.epochs == ()
        meeting = await meet(
            coordinator, 5, Phase.EVALUATED, [Told(right_test=3, tested=5), Told(right_test=1, tested=5)]
        )
        (epoch,) = meeting.epochs
        assert replace(epoch, seconds=0.0) == EpochResult(
            epoch=1, loss=2.0, train_accuracy=0.75, test_accuracy=0.4, seconds=0.0
        )
        assert (await coordinator.report()).epochs == ()
        await meet(coordinator, 5, Phase.SAVED, [Told(), Told()])
        report = await coordinator.report()
        assert (report.epochs, report.lost, report.mean_staleness) == ((epoch,), (), None)
        # It is over for whoever comes now.
        await coordinator.begin(1, 1)
        assert await coordinator.enter(1, 1) is None

    asyncio.run(play())


def test_a_successor_frees_those_that_wait_and_goes_on_with_them() -> None:
    async def play() -> None:
        coordinator = make(3)
        await enter_all(coordinator, 3)
        waiting = [asyncio.create_task(coordinator.meet(rank, 0, 1, Phase.GRADIENT, Told())) for rank in (0, 2)]
        await asyncio.sleep(0.01)
        await coordinator.begin(1, 1)
        met = await asyncio.gather(*waiting)
        assert [one is not None and one[0].ranks for one in met] == [(0, 2)] * 2
        entry = await coordinator.enter(1, 1)
        assert entry is not None
        assert (entry.step, entry.epoch, entry.ranks) == (1, 1, (0, 2))
        # It is awaited from now on, and the process before it has no say.
        assert await coordinator.meet(1, 0, 2, Phase.GRADIENT, Told()) is None
        met = await asyncio.gather(*(coordinator.meet(r, int(r == 1), 2, Phase.GRADIENT, Told()) for r in range(3)))
        assert [one is not None and one[0].ranks for one in met] == [(0, 1, 2)] * 3
        assert (await coordinator.report()).lost == (LostWorker(rank=1, epoch=1, step=0, came_back=True),)

    asyncio.run(play())


def test_who_enters_at_the_end_of_an_epoch_takes_part_in_what_is_left_of_it() -> None:
    async def play() -> None:
        coordinator = make(2, num_epochs=1)
        await enter_all(coordinator, 2)
        await asyncio.gather(*(coordinator.meet(rank, 0, 5, Phase.EPOCH, Told(records=1)) for rank in range(2)))
        # Rank 1 dies while it evaluates; at the very end it is waited for.
        alone = asyncio.create_task(coordinator.meet(0, 0, 5, Phase.EVALUATED, Told(right_test=2, tested=2)))
        await coordinator.begin(1, 1)
        await asyncio.sleep(0.01)
        assert not alone.done()
        entry = await coordinator.enter(1, 1)
        assert entry is not None
        assert (entry.step, entry.epoch) == (5, 1)
        assert await coordinator.meet(1, 1, 5, Phase.EPOCH, Told()) is not None
        await coordinator.meet(1, 1, 5, Phase.EVALUATED, Told(right_test=0, tested=2))
        met = await alone
        assert met is not None
        assert met[0].epochs[0].test_accuracy == 0.5

    asyncio.run(play())


def test_a_worker_that_does_not_come_is_left_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(roll, "MIN_WAIT_S", 0.2)
    monkeypatch.setattr(coordinator_module, "LOOK_S", 0.02)

    async def play() -> None:
        coordinator = make(2)
        await enter_all(coordinator, 2)
        met = await coordinator.meet(0, 0, 1, Phase.GRADIENT, Told())
        assert met is not None
        assert met[0].ranks == (0,)
        assert await coordinator.meet(1, 0, 1, Phase.GRADIENT, Told()) is None
        assert await coordinator.enter(1, 0) is not None
        assert (await coordinator.report()).lost == (LostWorker(rank=1, epoch=1, step=0, came_back=True),)

    asyncio.run(play())


def test_nobody_is_more_steps_ahead_than_allowed() -> None:
    async def play() -> None:
        coordinator = make(2, max_staleness=2)
        await enter_all(coordinator, 2)
        for step in range(3):
            assert await coordinator.go_ahead(0, 0, step) is not None
        fast = asyncio.create_task(coordinator.go_ahead(0, 0, 3))
        await asyncio.sleep(0.05)
        assert not fast.done()
        await coordinator.go_ahead(1, 0, 0)
        assert not fast.done()
        await coordinator.go_ahead(1, 0, 1)
        waited = await fast
        assert waited is not None
        assert waited >= 0.04
        report = await coordinator.report()
        # 0, 1, 2 of the fast one; 0 of the slow one, twice; then 3 - 1.
        assert (report.mean_staleness, report.max_staleness) == (pytest.approx(5 / 6), 2)

    asyncio.run(play())


def test_who_waits_for_a_dead_one_goes_on_when_its_successor_begins_or_time_is_up(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(coordinator_module, "LOOK_S", 0.02)

    async def play() -> None:
        coordinator = make(2, max_staleness=0)
        await enter_all(coordinator, 2)
        await coordinator.go_ahead(0, 0, 0)
        fast = asyncio.create_task(coordinator.go_ahead(0, 0, 1))
        await asyncio.sleep(0.01)
        assert not fast.done()
        await coordinator.begin(1, 1)
        assert await fast is not None
        entry = await coordinator.enter(1, 1)
        assert entry is not None
        assert entry.step == 1
        monkeypatch.setattr(coordinator_module, "MIN_WAIT_S", 0.2)
        assert await coordinator.go_ahead(0, 0, 2) is not None
        assert [loss.came_back for loss in (await coordinator.report()).lost] == [True, False]

    asyncio.run(play())
