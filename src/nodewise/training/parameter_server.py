"""Strategy ``parameter-server``: workers compute gradients, servers hold the weights and take the steps.

Li et al. 2014 (OSDI). Synchronous: a step is taken when the gradients of all workers are there, and is the one that a
single worker takes. Asynchronous: each gradient is applied when it comes, by a server that handles one after the other,
and no worker is more than so many steps ahead of the slowest (Ho et al. 2013, NeurIPS). At the end of an epoch workers
wait for each other in both cases, so that what is evaluated is one set of weights.

Vectors of more than 100 kB go through Ray's object store by themselves: a worker leaves its gradient in that of its
node, from which the server's node fetches it; weights come back the same way.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from nodewise.core.errors import WorkerLostError
from nodewise.metering.meter import TaskMeter
from nodewise.shards.order import epoch_order, is_owned
from nodewise.specs.crew import CrewContext
from nodewise.specs.training import WorkerEpoch
from nodewise.training.checkpoint import Checkpoint, save_checkpoint
from nodewise.training.clock import EpochClock
from nodewise.training.coordinator import Entry, Meeting, Phase, Told
from nodewise.training.epoch_log import add_epoch
from nodewise.training.flat import flatten, pack, unflatten, unpack
from nodewise.training.learner import Learner, LossWatch, Totals
from nodewise.training.parameter_parts import ServerPayload
from nodewise.training.parameter_store import StoreState
from nodewise.training.plan import TrainOutcome

__all__ = ["float_buffers", "join_states", "train_with_servers"]


def train_with_servers(payload: ServerPayload, meter: TaskMeter, member: CrewContext) -> TrainOutcome:
    """The member of the crew: pull weights, push gradients, evaluate.

    Returns:
        What this process did; the rest is known to the coordinator.

    Raises:
        NodewiseError: What is wrong with the model or the records, or that the loss diverged.
        WorkerLostError: A server is gone.
    """
    from ray.exceptions import RayActorError

    try:
        link = _Link(payload, member)
        learner = Learner(payload.plan, meter, rank=member.rank, world_size=member.world_size, threads=member.threads)
        return _Worker(learner, link).run()
    except RayActorError as error:
        raise WorkerLostError(
            f"rank {member.rank} lost a parameter server: {str(error).splitlines()[0]}",
            hint="train again with --resume, which goes on from the last checkpoint",
        ) from error


class _LeftBehind(Exception):  # noqa: N818 - no error
    """The others have gone on without this worker."""


class _Link:
    """One worker's way to the servers and the coordinator."""

    def __init__(self, payload: ServerPayload, member: CrewContext) -> None:
        self._servers, self._coordinator = payload.servers, payload.coordinator
        self._rank, self._who = member.rank, (member.rank, member.attempt)
        self.parts = payload.parts
        self._ask("begin")

    def _ask(self, method: str, *told: Any) -> Any:
        import ray

        return ray.get(getattr(self._coordinator, method).remote(*self._who, *told))

    def _ask_servers(self, method: str, told: Sequence[Sequence[Any]]) -> list[Any]:
        import ray

        answers: list[Any] = ray.get(
            [getattr(server, method).remote(*one) for server, one in zip(self._servers, told, strict=True)]
        )
        return answers

    def enter(self) -> Entry | None:
        entry: Entry | None = self._ask("enter")
        return entry

    def meet(self, step: int, phase: int, told: Told) -> tuple[Meeting, float]:
        met: tuple[Meeting, float] | None = self._ask("meet", step, phase, told)
        if met is None:
            raise _LeftBehind
        return met

    def go_ahead(self, step: int) -> float:
        waited: float | None = self._ask("go_ahead", step)
        if waited is None:
            raise _LeftBehind
        return waited

    def push(self, step: int, gradients: Sequence[Any], records: int, batch_records: int) -> None:
        self._ask_servers("push", [(self._rank, step, gradient, records, batch_records) for gradient in gradients])

    def pull(self, step: int, ranks: Sequence[int]) -> list[Any]:
        return self._ask_servers("pull", [(step, ranks)] * len(self._servers))

    def weights(self) -> list[Any]:
        return self._ask_servers("weights", [()] * len(self._servers))

    def apply(self, gradients: Sequence[Any], step: int) -> list[Any]:
        return self._ask_servers("apply", [(gradient, step) for gradient in gradients])

    def states(self) -> list[StoreState]:
        return self._ask_servers("state", [()] * len(self._servers))


class _Worker:
    def __init__(self, learner: Learner, link: _Link) -> None:
        self._learner, self._link = learner, link
        self._plan, self._spec = learner.plan, learner.spec
        named = dict(learner.model.named_parameters())
        self._parts = [[named[name] for name in part] for part in link.parts]
        self._buffers = float_buffers(learner.model)
        self._clock: EpochClock | None = None
        self._workers: list[WorkerEpoch] = []
        self._watch = LossWatch()
        self._totals, self._records = Totals(0.0, 0.0), 0

    def run(self) -> TrainOutcome:
        while (entry := self._link.enter()) is not None:
            try:
                self._train(entry)
                break
            except _LeftBehind:
                continue
        self._close_clock()
        return TrainOutcome(
            epochs=(),
            world_size=self._learner.world_size,
            precision=self._learner.precision,
            steps=self._plan.num_steps,
            workers=tuple(self._workers),
        )

    def _train(self, entry: Entry) -> None:
        plan, step = self._plan, entry.step
        self._take(self._link.weights() if self._spec.is_async else self._link.pull(step, entry.ranks))
        if entry.buffers is not None:
            unflatten(torch.tensor(entry.buffers), self._buffers)
        for epoch in range(entry.epoch, self._spec.epochs + 1):
            clock = self._begin_epoch(epoch)
            order = epoch_order(plan.num_train, seed=self._spec.seed, epoch=epoch)
            starts = range(0, len(order), self._spec.batch_size)[step - (epoch - 1) * plan.steps_per_epoch :]
            batches = [order[start : start + self._spec.batch_size] for start in starts]
            parts = [batch[is_owned(batch, self._learner.rank, self._learner.world_size)] for batch in batches]
            self._learner.model.train()
            take_step = self._step_alone if self._spec.is_async else self._step_together
            for batch, (inputs, labels) in zip(batches, self._learner.batches(parts, epoch, clock), strict=True):
                take_step(inputs, labels, len(batch), step, clock)
                step += 1
                clock.step(len(labels))
            self._end_epoch(step, clock)

    def _step_together(
        self, inputs: torch.Tensor, labels: torch.Tensor, batch_records: int, step: int, clock: EpochClock
    ) -> None:
        if len(labels):
            gradients = self._gradients(inputs, labels, 1 / batch_records, clock)
            with clock.timing("communicate"):
                self._link.push(step + 1, gradients, len(labels), batch_records)
        meeting = self._meet(step + 1, Phase.GRADIENT, Told(), clock)
        with clock.timing("communicate"):
            self._take(self._link.pull(step + 1, meeting.ranks))
        if (step + 1) % self._plan.steps_per_epoch and self._is_first(meeting):
            # The others take no step until this worker's next gradient is there.
            self._maybe_checkpoint(step + 1, meeting, clock)

    def _step_alone(
        self, inputs: torch.Tensor, labels: torch.Tensor, _batch_records: int, step: int, clock: EpochClock
    ) -> None:
        with clock.timing("communicate"):
            waited_s = self._link.go_ahead(step)
        clock.move(waited_s, "communicate", "wait")
        if len(labels):
            gradients = self._gradients(inputs, labels, 1 / len(labels), clock)
            with clock.timing("communicate"):
                self._take(self._link.apply(gradients, step))

    def _gradients(self, inputs: torch.Tensor, labels: torch.Tensor, share: float, clock: EpochClock) -> list[Any]:
        """Of every server's part, as they are sent."""
        with clock.timing("compute"):
            totals = self._learner.gradient(inputs, labels, share=share)
        self._totals += totals
        self._records += len(labels)
        self._watch.look(totals.losses / len(labels), clock.epoch)
        with clock.timing("communicate"):
            gradients = [
                pack(flatten(torch.zeros_like(one) if one.grad is None else one.grad for one in part), compression)
                for compression in [self._spec.compression]
                for part in self._parts
            ]
        clock.sent_bytes += sum(gradient.nbytes for gradient in gradients)
        return gradients

    def _take(self, weights: Sequence[Any]) -> None:
        for values, part in zip(weights, self._parts, strict=True):
            unflatten(unpack(values), part)

    def _meet(self, step: int, phase: int, told: Told, clock: EpochClock) -> Meeting:
        with clock.timing("communicate"):
            meeting, waited_s = self._link.meet(step, phase, told)
        clock.move(waited_s, "communicate", "wait")
        return meeting

    def _is_first(self, meeting: Meeting) -> bool:
        """Whether this is the worker that writes for all."""
        return self._learner.rank == meeting.ranks[0]

    def _begin_epoch(self, epoch: int) -> EpochClock:
        if self._clock is None or self._clock.epoch != epoch:
            self._close_clock()
            self._clock = EpochClock(epoch, self._learner.meter)
            self._totals, self._records = Totals(0.0, 0.0), 0
        return self._clock

    def _end_epoch(self, step: int, clock: EpochClock) -> None:
        learner, plan = self._learner, self._plan
        buffers = flatten(self._buffers).numpy() if self._buffers else None
        told = Told(losses=self._totals.losses, right=self._totals.right, records=self._records, buffers=buffers)
        meeting = self._meet(step, Phase.EPOCH, told, clock)
        if self._spec.is_async:
            with clock.timing("communicate"):
                self._take(self._link.weights())
        if meeting.buffers is not None:
            unflatten(torch.tensor(meeting.buffers), self._buffers)
        right_test = learner.evaluate(clock)
        told = Told(right_test=right_test, tested=len(learner.own_test) if plan.num_test else 0)
        meeting = self._meet(step, Phase.EVALUATED, told, clock)
        if self._is_first(meeting):
            self._maybe_checkpoint(step, meeting, clock)
        meeting = self._meet(step, Phase.SAVED, Told(), clock)
        if self._is_first(meeting):
            add_epoch(plan.epoch_log, meeting.epochs[-1])

    def _maybe_checkpoint(self, step: int, meeting: Meeting, clock: EpochClock) -> None:
        """Save what the servers hold, if it is time to."""
        plan, folder = self._plan, self._plan.checkpoint_dir
        every = plan.steps_per_epoch if self._spec.checkpoint_every is None else self._spec.checkpoint_every
        if not every or folder is None or step == plan.num_steps:
            return
        # Without waiting for each other workers have a step in common only at the end of an epoch.
        since = step - (plan.steps_per_epoch if self._spec.is_async else 1)
        if step // every == since // every:
            return
        with clock.timing("communicate"):
            weights, optimizer = join_states(self._link.states())
        epoch, epoch_step = divmod(step, plan.steps_per_epoch)
        with clock.timing("checkpoint"):
            save_checkpoint(
                folder,
                Checkpoint(
                    step=step,
                    epoch=epoch + 1,
                    epoch_step=epoch_step,
                    losses=0.0,
                    right=0.0,
                    epochs=meeting.epochs,
                    fingerprint=plan.fingerprint(),
                    model={**self._learner.model.state_dict(), **weights},
                    optimizer=optimizer,
                    random=torch.get_rng_state(),
                ),
            )

    def _close_clock(self) -> None:
        if self._clock is not None:
            self._workers.append(self._learner.close_epoch(self._clock))
            self._clock = None


def float_buffers(model: torch.nn.Module) -> list[torch.Tensor]:
    """The model's floating-point state that is no parameter, such as the statistics of a batch norm."""
    parameters = {name for name, _ in model.named_parameters()}
    return [
        tensor for name, tensor in model.state_dict().items() if name not in parameters and tensor.is_floating_point()
    ]


def join_states(states: Sequence[StoreState]) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
    """All servers' weights by name, and the state of the optimiser as if it were one."""
    weights = {name: tensor for state in states for name, tensor in state.weights.items()}
    optimizer = {number: values for state in states for number, values in state.optimizer["state"].items()}
    return weights, {"state": optimizer, "param_groups": states[0].optimizer["param_groups"]}
