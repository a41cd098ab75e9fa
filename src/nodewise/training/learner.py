"""One worker's model and its records: what every strategy does with them."""

from __future__ import annotations

import math
import os
import socket
from collections import deque
from collections.abc import Iterable, Iterator
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from nodewise.core.errors import JobFailedError
from nodewise.metering.meter import TaskMeter
from nodewise.shards.manifest import split_shards
from nodewise.shards.order import is_owned
from nodewise.specs.job import Split
from nodewise.specs.place import NODE_VARIABLE
from nodewise.specs.results import EpochResult
from nodewise.specs.training import WorkerEpoch
from nodewise.training.augment import augment
from nodewise.training.clock import EpochClock
from nodewise.training.images import TrainingImages
from nodewise.training.model_file import ModelInfo, save_model
from nodewise.training.models import build_model
from nodewise.training.optimizers import build_optimizer, learning_rates
from nodewise.training.plan import TrainPlan
from nodewise.training.precision import autocast, prepare_process, resolve_precision, training_device
from nodewise.training.recipe import recipe_of
from nodewise.training.records import image_shape_of, to_input

__all__ = ["Learner", "LossWatch", "Totals", "node_name"]

EVALUATION_BATCH = 512


class Totals(NamedTuple):
    """Sums over records: of the losses, and of the right answers."""

    losses: float
    right: float

    def __add__(self, other: object) -> Totals:
        if not isinstance(other, Totals):
            return NotImplemented
        return Totals(self.losses + other.losses, self.right + other.right)


class Learner:
    """The model, its optimiser and the worker's share of the records.

    Args:
        rank, world_size: Of the workers that share the records.
        threads: Cores to use.

    Raises:
        MissingDependencyError, InputError, JobFailedError: The user's model cannot be built.
        CorruptFileError: A shard is damaged.
    """

    def __init__(self, plan: TrainPlan, meter: TaskMeter, *, rank: int, world_size: int, threads: int) -> None:
        prepare_process(threads)
        self.plan, self.meter, self.rank, self.world_size = plan, meter, rank, world_size
        self.spec = plan.spec
        self.recipe = recipe_of(self.spec)
        self.device = training_device(rank)
        self.precision = resolve_precision(self.spec.precision)
        self.shape = image_shape_of(plan.manifest, plan.folder)
        torch.manual_seed(self.spec.seed)
        self.model = build_model(
            self.recipe.model,
            num_classes=len(plan.manifest.classes),
            image_shape=self.shape,
            search_path=plan.search_path,
        ).to(self.device)
        self.model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.optimizer = build_optimizer(self.spec, self.model)
        self._rate_of = learning_rates(self.spec, plan.num_steps)
        self._train, self._test = (self._images(split, threads) for split in ("train", "test"))
        self.own_test = self._owned(plan.num_test)

    def _owned(self, total: int) -> NDArray[np.int64]:
        return np.flatnonzero(is_owned(np.arange(total), self.rank, self.world_size))

    def _images(self, split: Split, threads: int) -> TrainingImages:
        shards = split_shards(self.plan.manifest, split)
        return TrainingImages(
            self.plan.folder,
            shards,
            self.shape,
            self._owned(sum(shard.records for shard in shards)),
            threads=threads,
            meter=self.meter,
            memory_bytes=self.plan.memory_bytes,
            workers_here=self.plan.workers_here,
        )

    def batches(
        self, parts: Iterable[NDArray[np.int64]], epoch: int, clock: EpochClock
    ) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        """Network input and labels of each list of training records, as the recipe augments them in this epoch."""
        parts = list(parts)
        source = self._train.batches(parts)
        for numbers in parts:
            with clock.timing("data"):
                images, labels = next(source)
                inputs = to_input(images.to(self.device))
                if self.recipe.is_augmented:
                    inputs = augment(inputs, torch.from_numpy(numbers), epoch=epoch, seed=self.spec.seed)
                labels = labels.to(self.device)
            yield inputs, labels

    def gradient(
        self, inputs: torch.Tensor, labels: torch.Tensor, *, share: float, model: torch.nn.Module | None = None
    ) -> Totals:
        """Put the gradient of ``share`` x the sum of the losses into the parameters' ``grad``.

        Args:
            model: That wraps this one and averages gradients over workers; None: this one.
        """
        for parameter in self.model.parameters():
            parameter.grad = None
        is_empty = not len(labels)
        if is_empty:
            # All workers have to go backward together; this one adds nothing.
            inputs = torch.zeros(1, *self.shape, device=self.device)
            labels, share = torch.zeros(1, dtype=torch.int64, device=self.device), 0.0
        with autocast(self.device, self.precision):
            logits = (model or self.model)(inputs)
        logits = logits.float()
        loss = torch.nn.functional.cross_entropy(
            logits, labels, reduction="sum", label_smoothing=self.recipe.label_smoothing
        )
        (loss * share).backward()  # type: ignore[no-untyped-call]
        if is_empty:
            return Totals(0.0, 0.0)
        return Totals(float(loss.detach()), float((logits.detach().argmax(1) == labels).sum()))

    def apply(self, step: int) -> None:
        """Take the optimiser's step number ``step``, counted from 0, with the gradients that are there."""
        rate = self._rate_of(step)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        self.optimizer.step()

    def evaluate(self, clock: EpochClock) -> float:
        """How many of this worker's held-out records the model gets right."""
        if not self.plan.num_test:
            return 0.0
        self.model.eval()
        numbers = self.own_test
        parts = [numbers[start : start + EVALUATION_BATCH] for start in range(0, len(numbers), EVALUATION_BATCH)]
        right = 0.0
        with clock.timing("evaluate"), torch.inference_mode(), autocast(self.device, self.precision):
            for images, labels in self._test.batches(parts):
                answers = self.model(to_input(images.to(self.device))).argmax(1)
                right += float((answers == labels.to(self.device)).sum())
        self.model.train()
        return right

    def epoch_result(self, epoch: int, totals: Totals, right_test: float, seconds: float) -> EpochResult:
        """What an epoch came to, from the sums over all workers."""
        plan = self.plan
        return EpochResult(
            epoch=epoch,
            loss=totals.losses / plan.num_train,
            train_accuracy=totals.right / plan.num_train,
            test_accuracy=right_test / plan.num_test if plan.num_test else None,
            seconds=seconds,
        )

    def close_epoch(self, clock: EpochClock) -> WorkerEpoch:
        """The worker's times of an epoch."""
        return clock.close(self.rank, node_name())

    def save(self) -> None:
        """Write the model."""
        manifest = self.plan.manifest
        info = ModelInfo(
            model=self.recipe.model, classes=manifest.classes, image_shape=self.shape, transform=manifest.transform
        )
        path = self.plan.model_path
        with self.meter.writing():
            save_model(path, self.model, info)
        self.meter.count(written_bytes=path.stat().st_size)


class LossWatch:
    """Tells when training is beyond hope, before a checkpoint keeps the ruin.

    The loss is not a number, or the mean of the last 20 steps is more than four times that of the first 20.
    """

    WINDOW = 20
    FACTOR = 4.0

    def __init__(self) -> None:
        self._first: list[float] = []
        self._last: deque[float] = deque(maxlen=self.WINDOW)

    def look(self, loss: float, epoch: int) -> None:
        """The mean loss of a step's records.

        Raises:
            JobFailedError: It diverges.
        """
        hint = "try a smaller --learning-rate"
        if not math.isfinite(loss):
            raise JobFailedError(f"the loss is {loss} in epoch {epoch}: training diverged", hint=hint)
        if len(self._first) < self.WINDOW:
            self._first.append(loss)
            return
        self._last.append(loss)
        before, now = sum(self._first) / self.WINDOW, sum(self._last) / self.WINDOW
        if len(self._last) == self.WINDOW and now > self.FACTOR * before:
            raise JobFailedError(
                f"the loss has risen from {before:.3g} to {now:.3g} in epoch {epoch}: training diverges", hint=hint
            )


def node_name() -> str:
    """The node that this process is on, as the task records name it."""
    return os.environ.get(NODE_VARIABLE) or socket.gethostname()
