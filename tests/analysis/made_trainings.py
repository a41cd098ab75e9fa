"""Trainings put together from what their workers did."""

from __future__ import annotations

import random
from collections.abc import Iterable

from nodewise.specs.results import EpochResult, TrainResult
from nodewise.specs.training import WorkerEpoch


def a_row(rank: int = 0, epoch: int = 1, **values: object) -> WorkerEpoch:
    """An epoch of a worker in which no time passed, but for what is given; ``seconds`` follow from that."""
    kinds = ("data_s", "compute_s", "communicate_s", "wait_s", "checkpoint_s", "evaluate_s")
    facts = {"node": f"node-{rank}", "steps": 10, "records": 100, "sent_bytes": 0} | dict.fromkeys(kinds, 0.0) | values
    facts.setdefault("seconds", sum(facts[kind] for kind in kinds))  # type: ignore[misc]
    return WorkerEpoch(rank=rank, epoch=epoch, **facts)  # type: ignore[arg-type]


def a_training(rows: Iterable[WorkerEpoch] = (), **values: object) -> TrainResult:
    """A training of as many workers as the rows tell of."""
    rows = tuple(rows)
    workers = len({row.rank for row in rows}) or 1
    numbers = sorted({row.epoch for row in rows})
    facts = {
        "model_path": "/models/model.safetensors",
        "accuracy": 0.91,
        "epochs": tuple(
            EpochResult(
                epoch=number,
                loss=2.0 / number,
                train_accuracy=1 - 0.6 / number,
                test_accuracy=0.93 - 0.5 / number,
                seconds=max(row.seconds for row in rows if row.epoch == number),
            )
            for number in numbers
        ),
        "seconds": sum(max(row.seconds for row in rows if row.epoch == number) for number in numbers),
        "start_up_seconds": 2.5,
        "world_size": workers,
        "strategy": "all-reduce" if workers > 1 else "single",
        "records": 10_000,
        "steps": sum(row.steps for row in rows if row.rank == 0),
        "workers": rows,
    }
    return TrainResult(**(facts | values))  # type: ignore[arg-type]


def simulate(
    workers: int,
    epochs: int = 5,
    *,
    slow: dict[int, float] | None = None,
    noise: float = 0.1,
    compute_s: float = 8.0,
    data_s: float = 0.3,
    communicate_s: float = 0.5,
    seed: int = 0,
    **values: object,
) -> TrainResult:
    """Workers that share ``compute_s`` of each epoch and wait for the last of them.

    Args:
        slow: How many times as long workers compute, by rank.
        noise: Most by which an epoch's compute is off, as a share.
    """
    draw = random.Random(seed)
    rows = []
    for epoch in range(1, epochs + 1):
        own = [
            compute_s / workers * (slow or {}).get(rank, 1.0) * draw.uniform(1 - noise, 1 + noise)
            for rank in range(workers)
        ]
        late = 0.02 * compute_s / workers if workers > 1 else 0.0
        rows += [
            a_row(
                rank,
                epoch,
                steps=40,
                records=10_000 // workers,
                data_s=data_s,
                compute_s=own[rank],
                communicate_s=communicate_s if workers > 1 else 0.0,
                wait_s=max(own) - own[rank] + late,
                checkpoint_s=0.1 if rank == 0 else 0.0,
                evaluate_s=0.8 / workers,
                seconds=data_s + max(own) + late + (communicate_s if workers > 1 else 0.0) + 0.8 / workers + 0.15,
                sent_bytes=40 * 2_500_000 if workers > 1 else 0,
            )
            for rank in range(workers)
        ]
    return a_training(rows, **values)
