"""What every worker is given, and what it returns, whatever the strategy."""

from __future__ import annotations

import hashlib
import json
import math
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from nodewise.shards.manifest import Manifest, split_shards
from nodewise.specs.job import TrainSpec
from nodewise.specs.results import EpochResult
from nodewise.specs.training import LostWorker, WorkerEpoch

__all__ = ["TrainOutcome", "TrainPlan"]


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainPlan:
    """One training.

    Attributes:
        folder, manifest: Of the shards.
        model_path: Where rank 0, or whoever ends it, writes the model.
        epoch_log: A line of JSON per epoch, for whoever watches.
        checkpoint_dir: Where checkpoints are written, and training goes on from the newest; None: none are.
        search_path: Folder to look for the user's model in.
        memory_bytes: That a worker may use; None: what its machine has left.
        workers_here: Workers that share one machine.
    """

    folder: Path
    manifest: Manifest
    spec: TrainSpec
    model_path: Path
    epoch_log: Path
    checkpoint_dir: Path | None
    search_path: str
    memory_bytes: int | None = None
    workers_here: int = 1

    @property
    def num_train(self) -> int:
        return sum(shard.records for shard in split_shards(self.manifest, "train"))

    @property
    def num_test(self) -> int:
        return sum(shard.records for shard in split_shards(self.manifest, "test"))

    @property
    def steps_per_epoch(self) -> int:
        return math.ceil(self.num_train / self.spec.batch_size)

    @property
    def num_steps(self) -> int:
        return self.steps_per_epoch * self.spec.epochs

    def fingerprint(self) -> str:
        """Of the records and of all settings that the weights depend on: the same, the same training."""
        free = replace(self.spec, checkpoint_every=None, max_restarts=0)
        digests = [shard.sha256 for shard in self.manifest.shards]
        return hashlib.sha256(json.dumps([asdict(free), digests]).encode()).hexdigest()[:16]


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainOutcome:
    """What a worker returns.

    Attributes:
        epochs: The same from all workers.
        workers: Its own times.
        steps: Optimiser steps since the beginning of the training.
        resumed_at_step: Of the checkpoint that it went on from; None: from the beginning.
        lost: Workers that it, as the one that keeps account, knows to have been lost.
        mean_staleness, max_staleness: How many steps workers were ahead of the slowest when they took one; None where
            they wait for each other at every step.
    """

    epochs: tuple[EpochResult, ...]
    world_size: int
    precision: str
    steps: int
    workers: tuple[WorkerEpoch, ...]
    resumed_at_step: int | None = None
    lost: tuple[LostWorker, ...] = ()
    mean_staleness: float | None = None
    max_staleness: int | None = None
