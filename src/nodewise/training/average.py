"""Strategy ``average``: each worker trains alone on its records, and now and then all go on from their mean.

Local SGD (McMahan et al. 2017, arXiv:1602.05629; Stich 2019, arXiv:1805.09767). The workers together take the steps
that one would take: a worker's batch is its part of the global one. Each has an optimiser of its own, whose state is
not averaged. Who takes the mean is :mod:`nodewise.training.averager`.
"""

from __future__ import annotations

import json

import numpy as np
import torch
import torch.distributed as dist
from numpy.typing import NDArray

from nodewise.core.errors import WorkerLostError
from nodewise.metering.meter import TaskMeter
from nodewise.shards.order import epoch_order, is_owned
from nodewise.specs.crew import CrewContext
from nodewise.specs.training import WorkerEpoch
from nodewise.training.average_rounds import AveragePayload, TensorStore, round_ends
from nodewise.training.clock import EpochClock
from nodewise.training.flat import flatten, float_tensors, pack, packed_bytes, unflatten, unpack
from nodewise.training.learner import Learner, LossWatch, Totals
from nodewise.training.plan import TrainOutcome

__all__ = ["Link", "train_and_average"]


def train_and_average(payload: AveragePayload, meter: TaskMeter, member: CrewContext) -> TrainOutcome:
    """The member of the crew: train, hand in the weights, go on from the mean, evaluate.

    Returns:
        What this process did; the rest is known to the averager.

    Raises:
        NodewiseError: What is wrong with the model or the records, or that the loss diverged.
        WorkerLostError: The averager is gone or gave up; its own error tells why.
    """
    try:
        link = Link(payload, member)
        learner = Learner(payload.plan, meter, rank=member.rank, world_size=member.world_size, threads=member.threads)
        return _Worker(learner, link).run()
    except dist.DistNetworkError as error:
        raise WorkerLostError(f"rank {member.rank} lost the driver: {str(error).splitlines()[0]}") from error


class _LeftBehind(Exception):  # noqa: N818 - no error
    """The others have gone on without this worker."""


class Link:
    """One worker's way to the averager. The averager notices the process, and the end of the one before, at once."""

    def __init__(self, payload: AveragePayload, member: CrewContext) -> None:
        self._store = TensorStore.connect(payload.host, payload.port)
        self._rank, self._who = member.rank, f"{member.rank}/{member.attempt}"
        self._attempt, self._asked = member.attempt, 0
        self._compression = payload.plan.spec.compression
        self._begin()

    def _begin(self) -> None:
        self._store.put(f"here/{self._rank}", f"{self._attempt} {self._asked}")

    def enter(self, num_values: int) -> tuple[int, torch.Tensor] | None:
        """Ask to be let in: the round that is open and the weights it began with; None: training is over."""
        while True:
            self._asked += 1
            self._begin()
            answer = self._store.await_message(f"in/{self._who}/{self._asked}")
            if answer == "over":
                return None
            _require(answer)
            weights = self._store.vector(f"weights/{answer}", num_values)
            if weights is not None:
                return int(answer), unpack(weights)

    def hand_in(self, number: int, moved: torch.Tensor, records: int) -> None:
        """How far the weights have come in a round, on so many records."""
        key = f"round/{self._who}/{number}"
        self._store.put_vector(key, pack(moved, self._compression))
        self._store.put(key, json.dumps({"records": records, "vector": key}))

    def await_round(self, number: int, num_values: int) -> None:
        """Wait until the mean of a round is there.

        Raises:
            _LeftBehind: The round was closed without this worker.
        """
        answer = self._store.await_message(f"reply/{self._who}/{number}")
        _require(answer)
        if answer == "out":
            key = f"round/{self._who}/{number}"
            self._store.take(key)
            self._store.remove_vector(key, num_values, self._compression)
            raise _LeftBehind

    def change(self, number: int, num_values: int) -> torch.Tensor:
        """How far the mean has come in a round.

        Raises:
            _LeftBehind: It is there no more.
        """
        change = self._store.vector(f"change/{number}", num_values, self._compression)
        if change is None:
            raise _LeftBehind
        return unpack(change)

    def tell_epoch(self, epoch: int, totals: Totals, records: int, right_test: float, tested: int) -> None:
        """What an epoch came to on this worker's records."""
        told = {
            "losses": totals.losses,
            "right": totals.right,
            "records": records,
            "right_test": right_test,
            "tested": tested,
        }
        self._store.put(f"epoch/{self._who}/{epoch}", json.dumps(told))


def _require(answer: str) -> None:
    if answer == "failed":
        raise WorkerLostError("the driver gave up averaging")


class _Worker:
    def __init__(self, learner: Learner, link: Link) -> None:
        self._learner, self._link = learner, link
        self._plan, self._spec = learner.plan, learner.spec
        self._ends = round_ends(self._plan)
        self._tensors = float_tensors(learner.model)
        self._num_values = sum(tensor.numel() for tensor in self._tensors)
        self._began_with = torch.empty(0)
        self._clock: EpochClock | None = None
        self._workers: list[WorkerEpoch] = []
        self._watch = LossWatch()
        self._totals, self._epoch_records, self._round_records = Totals(0.0, 0.0), 0, 0

    def run(self) -> TrainOutcome:
        while True:
            entered = self._link.enter(self._num_values)
            if entered is None:
                break
            number, self._began_with = entered
            unflatten(self._began_with, self._tensors)
            self._round_records = 0
            try:
                self._train(self._ends[number - 1] if number else 0)
            except _LeftBehind:
                continue
            break
        self._close_epoch()
        learner = self._learner
        return TrainOutcome(
            epochs=(),
            world_size=learner.world_size,
            precision=learner.precision,
            steps=self._plan.num_steps,
            workers=tuple(self._workers),
        )

    def _train(self, step: int) -> None:
        """Train from here to the end, or until the others have gone on."""
        plan = self._plan
        if step == plan.num_steps:
            # Only the evaluation at the end is left.
            self._end_epoch(self._begin_epoch(self._spec.epochs), step)
        for epoch in range(step // plan.steps_per_epoch + 1, self._spec.epochs + 1):
            clock = self._begin_epoch(epoch)
            self._learner.model.train()
            for inputs, labels in self._learner.batches(self._parts(epoch, step), epoch, clock):
                self._step(inputs, labels, step, clock)
                step += 1
                if step in self._ends:
                    self._average(step, clock)
            self._end_epoch(clock, step)

    def _parts(self, epoch: int, step: int) -> list[NDArray[np.int64]]:
        """This worker's part of every batch of the epoch, from a step on."""
        plan, learner, size = self._plan, self._learner, self._spec.batch_size
        order = epoch_order(plan.num_train, seed=self._spec.seed, epoch=epoch)
        starts = range(0, len(order), size)[step - (epoch - 1) * plan.steps_per_epoch :]
        batches = (order[start : start + size] for start in starts)
        return [batch[is_owned(batch, learner.rank, learner.world_size)] for batch in batches]

    def _step(self, inputs: torch.Tensor, labels: torch.Tensor, step: int, clock: EpochClock) -> None:
        records = len(labels)
        if records:
            # The mean over its own part, as if there were no others; weights are then averaged by records.
            with clock.timing("compute"):
                totals = self._learner.gradient(inputs, labels, share=1 / records)
                self._learner.apply(step)
            self._totals += totals
            self._epoch_records += records
            self._round_records += records
            self._watch.look(totals.losses / records, clock.epoch)
        clock.step(records)

    def _average(self, step: int, clock: EpochClock) -> None:
        """Hand in how far the weights have come since the round began, and take the mean."""
        number, num_values = self._ends.index(step), self._num_values
        with clock.timing("communicate"):
            self._link.hand_in(number, flatten(self._tensors) - self._began_with, self._round_records)
            clock.sent_bytes += packed_bytes(num_values, self._spec.compression)
        with clock.timing("wait"):
            self._link.await_round(number, num_values)
        with clock.timing("communicate"):
            self._began_with += self._link.change(number, num_values)
            unflatten(self._began_with, self._tensors)
        self._round_records = 0

    def _begin_epoch(self, epoch: int) -> EpochClock:
        if self._clock is None or self._clock.epoch != epoch:
            self._close_epoch()
            self._clock = EpochClock(epoch, self._learner.meter)
            self._totals, self._epoch_records = Totals(0.0, 0.0), 0
        return self._clock

    def _end_epoch(self, clock: EpochClock, step: int) -> None:
        # Between two averages there are no weights that are everybody's.
        is_mean = step in self._ends
        right_test = self._learner.evaluate(clock) if is_mean else 0.0
        tested = len(self._learner.own_test) if is_mean else 0
        with clock.timing("communicate"):
            self._link.tell_epoch(clock.epoch, self._totals, self._epoch_records, right_test, tested)

    def _close_epoch(self) -> None:
        if self._clock is not None:
            self._workers.append(self._learner.close_epoch(self._clock))
            self._clock = None
