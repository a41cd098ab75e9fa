"""Strategies ``single`` and ``all-reduce``: every step is that of the whole global batch.

Every worker computes the gradient of its part of each global batch; the parts are averaged over the workers (PyTorch's
DistributedDataParallel, Li et al. 2020, arXiv:2006.15704), so that the step is the one that a single worker takes.
"""

from __future__ import annotations

import time
from contextlib import ExitStack
from typing import Any

import torch
import torch.distributed as dist

from nodewise.core.errors import JobFailedError, WorkerLostError
from nodewise.metering.meter import TaskMeter
from nodewise.shards.order import NUM_LANES, epoch_order, is_owned
from nodewise.specs.gang import GangContext
from nodewise.specs.results import EpochResult
from nodewise.specs.training import WorkerEpoch
from nodewise.training.checkpoint import Checkpoint, newest_checkpoint_bytes, parse_checkpoint, save_checkpoint
from nodewise.training.clock import EpochClock
from nodewise.training.epoch_log import add_epoch, begin_epoch_log
from nodewise.training.learner import Learner, LossWatch, Totals
from nodewise.training.optimizers import restore_optimizer
from nodewise.training.plan import TrainOutcome, TrainPlan
from nodewise.training.process_group import process_group

__all__ = ["train_together"]


def train_together(plan: TrainPlan, meter: TaskMeter, gang: GangContext) -> TrainOutcome:
    """The member of the gang: load the share, join the others, train, evaluate.

    Raises:
        NodewiseError: What is wrong with the model or the records, or that the loss diverged.
    """
    if gang.world_size > NUM_LANES:
        raise JobFailedError(f"{gang.world_size} workers are more than training supports ({NUM_LANES})")
    try:
        learner = Learner(plan, meter, rank=gang.rank, world_size=gang.world_size, threads=gang.threads)
    except Exception:
        # The others wait for this message, and must not wait for a worker that will not come.
        gang.all_gather("failed")
        raise
    if "failed" in gang.all_gather("ready"):
        # As with a worker that is lost later, its own error tells why.
        raise WorkerLostError("another worker failed while it was getting ready")
    with process_group(gang, learner.device):
        return _Training(learner).run()


class _Training:
    def __init__(self, learner: Learner) -> None:
        self._learner, self._plan, self._spec = learner, learner.plan, learner.spec
        self._is_alone = learner.world_size == 1
        self._exchange = _Exchange(self._spec.compression)
        self._epochs: list[EpochResult] = []
        self._workers: list[WorkerEpoch] = []
        self._watch = LossWatch()
        self._wrapped: torch.nn.Module = learner.model
        self._totals = Totals(0.0, 0.0)

    def run(self) -> TrainOutcome:
        plan, learner = self._plan, self._learner
        restored = self._restore()
        first_epoch, first_step = (restored.epoch, restored.epoch_step) if restored else (1, 0)
        if not self._is_alone:
            # What is no weight, such as the statistics of a batch norm, is averaged once per epoch, not at each step.
            self._wrapped = torch.nn.parallel.DistributedDataParallel(learner.model, forward_sync_buffers=False)
            # By a function without annotations: torch refuses those of modules that postpone them, as this one does.
            self._wrapped.register_comm_hook(
                self._exchange,
                lambda exchange, bucket: _average_gradients(exchange, bucket),  # noqa: PLW0108
            )
        if learner.rank == 0:
            begin_epoch_log(plan.epoch_log, self._epochs)
        for epoch in range(first_epoch, self._spec.epochs + 1):
            self._run_epoch(epoch, first_step)
            first_step = 0
        if learner.rank == 0:
            learner.save()
        return TrainOutcome(
            epochs=tuple(self._epochs),
            world_size=learner.world_size,
            precision=learner.precision,
            steps=plan.num_steps,
            workers=tuple(self._workers),
            resumed_at_step=restored.step if restored else None,
        )

    def _run_epoch(self, epoch: int, first_step: int) -> None:
        learner, plan, size = self._learner, self._plan, self._spec.batch_size
        clock = EpochClock(epoch, learner.meter)
        started = time.perf_counter()
        order = epoch_order(plan.num_train, seed=self._spec.seed, epoch=epoch)
        batches = [order[start : start + size] for start in range(0, len(order), size)][first_step:]
        parts = [batch[is_owned(batch, learner.rank, learner.world_size)] for batch in batches]
        learner.model.train()
        self._exchange.begin_epoch(clock)
        arrivals: list[tuple[float, float]] = []
        together = time.perf_counter()
        for number, (inputs, labels) in enumerate(learner.batches(parts, epoch, clock)):
            batch_records = len(batches[number])
            began, exchanged_before = time.perf_counter(), clock.seconds["communicate"]
            # The gradients are averaged over the workers, whose parts of the batch differ in length: sum over all
            # records / batch = mean over workers of (own sum * workers / batch).
            totals = learner.gradient(inputs, labels, share=learner.world_size / batch_records, model=self._wrapped)
            arrivals.append((self._exchange.end() - together, clock.seconds["communicate"] - exchanged_before))
            together = time.perf_counter()
            step = (epoch - 1) * plan.steps_per_epoch + first_step + number
            learner.apply(step)
            clock.seconds["compute"] += time.perf_counter() - began - arrivals[-1][1]
            clock.step(len(labels))
            self._totals += totals
            if len(labels):
                self._watch.look(totals.losses / len(labels), epoch)
            every = self._spec.checkpoint_every
            # The one at an epoch's end is written when the epoch has been evaluated.
            if every and (step + 1) % every == 0 and (step + 1) % plan.steps_per_epoch:
                self._checkpoint(clock, step + 1)
        self._tell_waiting(clock, arrivals)
        self._close_epoch(clock, started)

    def _close_epoch(self, clock: EpochClock, started: float) -> None:
        learner, epoch = self._learner, clock.epoch
        with clock.timing("communicate"):
            self._average_buffers()
        right_test = learner.evaluate(clock)
        with clock.timing("communicate"):
            losses, right, right_test = self._sum_over_workers([*self._totals, right_test])
        self._totals = Totals(0.0, 0.0)
        self._epochs.append(
            learner.epoch_result(epoch, Totals(losses, right), right_test, time.perf_counter() - started)
        )
        if learner.rank == 0:
            add_epoch(self._plan.epoch_log, self._epochs[-1])
        steps_done = epoch * self._plan.steps_per_epoch
        every = self._spec.checkpoint_every
        if epoch < self._spec.epochs and (every is None or (every and steps_done % every == 0)):
            self._checkpoint(clock, steps_done)
        self._workers.append(learner.close_epoch(clock))

    def _average_buffers(self) -> None:
        if self._is_alone:
            return
        weights = {name for name, _ in self._learner.model.named_parameters()}
        for name, buffer in self._learner.model.state_dict().items():
            if name not in weights and buffer.is_floating_point():
                dist.all_reduce(buffer)
                buffer.div_(self._learner.world_size)

    def _sum_over_workers(self, values: list[float]) -> list[float]:
        total = torch.tensor(values, dtype=torch.float64)
        if not self._is_alone:
            dist.all_reduce(total)
        return [float(value) for value in total]

    def _tell_waiting(self, clock: EpochClock, arrivals: list[tuple[float, float]]) -> None:
        """Call the part of the exchanges waiting in which the slowest worker had not handed over its gradients.

        All workers leave an exchange together, so the seconds from there to the next one tell who came first.
        """
        if self._is_alone:
            return
        own = torch.tensor(arrivals, dtype=torch.float64).reshape(-1, 2)
        latest = own[:, 0].clone()
        dist.all_reduce(latest, dist.ReduceOp.MAX)
        waited = torch.minimum(own[:, 1], (latest - own[:, 0]).clamp_min(0))
        clock.move(float(waited.sum()), "communicate", "wait")

    def _checkpoint(self, clock: EpochClock, steps_done: int) -> None:
        folder, learner = self._plan.checkpoint_dir, self._learner
        if folder is None:
            return
        with clock.timing("communicate"):
            losses, right = self._sum_over_workers([*self._totals])
        if learner.rank != 0:
            return
        epoch, epoch_step = divmod(steps_done, self._plan.steps_per_epoch)
        with clock.timing("checkpoint"):
            save_checkpoint(
                folder,
                Checkpoint(
                    step=steps_done,
                    epoch=epoch + 1,
                    epoch_step=epoch_step,
                    losses=losses,
                    right=right,
                    epochs=tuple(self._epochs),
                    fingerprint=self._plan.fingerprint(),
                    model=learner.model.state_dict(),
                    optimizer=learner.optimizer.state_dict(),
                    random=torch.get_rng_state(),
                ),
            )

    def _restore(self) -> Checkpoint | None:
        """Take the state of the newest checkpoint, which rank 0 alone has to be able to read."""
        learner = self._learner
        data = b""
        if learner.rank == 0 and self._plan.checkpoint_dir is not None:
            data = newest_checkpoint_bytes(self._plan.checkpoint_dir, self._plan.fingerprint()) or b""
        if not self._is_alone:
            length = torch.tensor([len(data)])
            dist.broadcast(length, 0)
            content = torch.zeros(int(length), dtype=torch.uint8)
            if learner.rank == 0 and data:
                content = torch.frombuffer(bytearray(data), dtype=torch.uint8)
            if len(content):
                dist.broadcast(content, 0)
            data = content.numpy().tobytes()
        if not data:
            return None
        checkpoint = parse_checkpoint(data, "the checkpoint")
        learner.model.load_state_dict(checkpoint.model)
        restore_optimizer(learner.optimizer, checkpoint.optimizer)
        self._epochs = list(checkpoint.epochs)
        if learner.rank == 0:
            torch.set_rng_state(checkpoint.random)
            self._totals = Totals(checkpoint.losses, checkpoint.right)
        else:
            torch.manual_seed(self._spec.seed + checkpoint.step * learner.world_size + learner.rank)
        return checkpoint


class _Exchange:
    """Times the exchange of gradients: from when the last of them is ready until all workers' have come.

    What is exchanged before that costs no time, since the network computes meanwhile. Bytes are counted as they are
    handed over.
    """

    def __init__(self, compression: str) -> None:
        self.type = torch.bfloat16 if compression == "bf16" else torch.float32
        self._clock: EpochClock | None = None
        self._running = ExitStack()
        self._ready = 0.0

    def begin_epoch(self, clock: EpochClock) -> None:
        self._clock = clock

    def begin(self, payload: torch.Tensor) -> None:
        """Some gradients are ready."""
        if self._clock is None:
            raise RuntimeError("no epoch has begun")
        self._running.close()
        self._ready = time.perf_counter()
        self._running.enter_context(self._clock.timing("communicate"))
        self._clock.sent_bytes += payload.nbytes

    def end(self) -> float:
        """All have come. Returns when the last of them was ready."""
        self._running.close()
        return self._ready


def _average_gradients(exchange: _Exchange, bucket: Any) -> Any:
    """What DistributedDataParallel does by itself with a bucket of gradients; timed, counted and perhaps shortened."""
    buffer = bucket.buffer()
    payload = buffer.div_(dist.get_world_size()).to(exchange.type)
    exchange.begin(payload)
    summed = dist.all_reduce(payload, async_op=True).get_future()
    if payload.dtype == buffer.dtype:
        return summed.then(lambda done: done.value()[0])
    return summed.then(lambda done: buffer.copy_(done.value()[0]))
