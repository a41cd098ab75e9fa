"""Strategy ``average``, the driver's side: it takes the workers' weights and gives back their mean."""

from __future__ import annotations

import json
import threading
import time
import traceback
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch

from nodewise.core.errors import JobFailedError, NodewiseError
from nodewise.shards.order import NUM_LANES
from nodewise.specs.results import EpochResult
from nodewise.specs.training import LostWorker
from nodewise.training.average_rounds import AveragePayload, Milestone, TensorStore, milestones, round_after, round_ends
from nodewise.training.checkpoint import Checkpoint, newest_checkpoint_bytes, parse_checkpoint, save_checkpoint
from nodewise.training.epoch_log import add_epoch, begin_epoch_log
from nodewise.training.flat import flatten, float_tensors, pack, unflatten, unpack
from nodewise.training.network import initial_network, save_trained
from nodewise.training.plan import TrainOutcome, TrainPlan
from nodewise.training.roll import Roll

__all__ = ["Averager"]

LOOK_S = 0.25
_SHORTEST_PAUSE_S, _LONGEST_PAUSE_S = 0.0005, 0.01


class Averager:
    """Runs in a thread of its own while the workers train; leave the block when they have ended.

    It is also the one who writes the epoch log, the checkpoints and the model, since it has the mean and any worker may
    die. The weights of a round are weighted by the records that they were trained on, so that with plain SGD and a
    round of one step the mean is where the gradient of the whole batch would have led. Workers send how far they went
    from where the round began, which loses nothing that matters if it is shortened to bfloat16; weights would.

    A worker that is lost (see :class:`~nodewise.training.roll.Roll`) is not waited for: the round is closed without it.
    When it comes back it gets the newest mean and does the round that is open. A checkpoint holds no optimiser, since
    each worker has its own: after a resumption they begin anew.

    Args:
        host: The address of this machine that the workers reach.
    """

    def __init__(self, plan: TrainPlan, host: str, world_size: int) -> None:
        if world_size > NUM_LANES:
            raise JobFailedError(f"{world_size} workers are more than training supports ({NUM_LANES})")
        self._plan, self._world_size = plan, world_size
        self._network = initial_network(plan)
        self._tensors = float_tensors(self._network)
        self._epochs: list[EpochResult] = []
        self._ends = round_ends(plan)
        self._resumed_at_step = self._restore()
        self._checkpoint_step = self._resumed_at_step or 0
        self._mean = flatten(self._tensors)
        self._round = round_after(self._ends, self._checkpoint_step)
        self._milestone = Milestone("round", self._round, self._round, self._checkpoint_step)
        self._messages: dict[int, dict[str, Any]] = {}
        self._has_weights = False
        self._roll = Roll(world_size)
        self._asked, self._answered = [0] * world_size, [0] * world_size
        self._error: NodewiseError | None = None
        self._lost: tuple[LostWorker, ...] = ()
        self._is_over = False
        self._stop = threading.Event()
        self._store, port = TensorStore.serve(host)
        self.payload = AveragePayload(plan=plan, host=host, port=port)
        self._thread = threading.Thread(target=self._run, name="averager", daemon=True)

    def __enter__(self) -> Averager:
        begin_epoch_log(self._plan.epoch_log, self._epochs)
        self._thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._stop.set()
        self._thread.join()
        self._store.close()

    @property
    def error(self) -> NodewiseError | None:
        """Why it gave up, and the workers with it."""
        return self._error

    @property
    def num_kept(self) -> int:
        """Messages and pieces of vectors that it keeps, a measure of its memory."""
        return self._store.num_keys

    def complete(self, outcomes: Sequence[TrainOutcome]) -> list[TrainOutcome]:
        """What all workers returned, with what the averager knows. To be called within the block.

        Raises:
            NodewiseError: Why it gave up.
        """
        # They all have told everything, so the rest is a moment's work.
        while not self._is_over and self._error is None:
            time.sleep(_LONGEST_PAUSE_S)
        if self._error is not None:
            raise self._error
        return [
            replace(outcome, epochs=tuple(self._epochs), lost=self._lost, resumed_at_step=self._resumed_at_step)
            for outcome in outcomes
        ]

    def _run(self) -> None:
        try:
            self._train()
            # Nobody misses a worker that is lost later.
            self._lost = self._roll.lost
            self._is_over = True
        except _Stopped:
            return
        except Exception as error:
            self._error = error if isinstance(error, NodewiseError) else _failure(error)
            for rank in range(self._world_size):
                # Some may have been told already how the round went, and wait for the next one.
                self._reply(rank, "failed", self._round)
                self._reply(rank, "failed", self._round + 1)
        # A worker may die when it has told everything but returned nothing; another process takes its place.
        while not self._stop.wait(LOOK_S):
            self._look()
            self._admit()

    def _train(self) -> None:
        while not all(asked > answered for asked, answered in zip(self._asked, self._answered, strict=True)):
            self._look()
            self._pause(_LONGEST_PAUSE_S)
        self._admit()
        steps_per_epoch = self._plan.steps_per_epoch
        began = time.perf_counter()
        for milestone in milestones(self._plan):
            if milestone.step <= (self._resumed_at_step or 0):
                continue
            self._milestone = milestone
            self._collect()
            if milestone.kind == "round":
                self._close_round()
            else:
                ended = time.perf_counter()
                self._close_epoch(ended - began)
                began = ended
            # What an epoch came to belongs to the checkpoint at its end.
            if milestone.step in self._ends and (milestone.kind == "epoch" or milestone.step % steps_per_epoch):
                self._maybe_checkpoint()

    def _collect(self) -> None:
        """Get every worker's message at this milestone, but for those of workers that were lost before."""
        milestone, roll = self._milestone, self._roll
        # At the very end whoever is lost is waited for: there is nothing else to do, and its held-out records count.
        is_last = milestone.kind == "epoch" and milestone.step == self._plan.num_steps
        place = milestone.round + is_last
        self._messages = {}
        roll.opens(time.perf_counter())
        looked, pause_s = time.perf_counter(), _SHORTEST_PAUSE_S
        while True:
            for rank in roll.awaited(place) - roll.came:
                message = self._store.take(self._key(rank))
                if message is not None:
                    self._messages[rank] = json.loads(message)
                    roll.comes(rank, time.perf_counter())
                    pause_s = _SHORTEST_PAUSE_S
            if len(self._messages) == self._world_size if is_last else roll.is_complete(place):
                return
            now = time.perf_counter()
            if now - looked > LOOK_S:
                looked = now
                self._look()
                self._admit()
                if not is_last:
                    for rank in roll.late(place, now):
                        self._lose(rank)
            self._pause(pause_s)
            pause_s = min(1.5 * pause_s, _LONGEST_PAUSE_S)

    def _close_round(self) -> None:
        messages = self._messages
        compression, num_values = self._plan.spec.compression, len(self._mean)
        change = torch.zeros_like(self._mean)
        all_records = sum(message["records"] for message in messages.values())
        for _, message in sorted(messages.items()):
            key = message["vector"]
            moved = self._store.vector(key, num_values, compression)
            self._store.remove_vector(key, num_values, compression)
            if moved is not None and message["records"]:
                change.add_(unpack(moved), alpha=message["records"] / all_records)
        sent = pack(change, compression)
        self._mean.add_(unpack(sent))
        if not torch.isfinite(self._mean).all():
            raise JobFailedError(
                f"the weights are not finite after step {self._milestone.step}: training diverged",
                hint="try a smaller --learning-rate",
            )
        self._store.put_vector(f"change/{self._round}", sent)
        for rank in messages:
            if self._roll.is_in(rank):
                self._reply(rank, "on", self._round)
        # Whoever is still there has read what is older.
        self._store.remove_vector(f"change/{self._round - 1}", num_values, compression)
        if self._has_weights:
            self._store.remove_vector(f"weights/{self._round}", num_values)
            self._has_weights = False
        self._round += 1
        unflatten(self._mean, self._tensors)
        self._messages = {}
        if self._milestone.step == self._plan.num_steps:
            save_trained(self._plan, self._network)

    def _close_epoch(self, seconds: float) -> None:
        told = self._messages.values()
        losses, right, records, right_test, tested = (
            sum(one[name] for one in told) for name in ("losses", "right", "records", "right_test", "tested")
        )
        self._epochs.append(
            EpochResult(
                epoch=self._milestone.number,
                loss=losses / max(1, records),
                train_accuracy=right / max(1, records),
                test_accuracy=right_test / tested if tested else None,
                seconds=seconds,
            )
        )
        add_epoch(self._plan.epoch_log, self._epochs[-1])

    def _look(self) -> None:
        """See which workers' processes have begun, and which of them ask to be let in."""
        for rank in range(self._world_size):
            told = self._store.look(f"here/{rank}")
            if told is None:
                continue
            attempt, asked = map(int, told.split())
            came, before = rank in self._roll.came, self._key(rank)
            if self._roll.begins(rank, attempt, epoch=self._epoch, step=self._milestone.step):
                self._asked[rank] = self._answered[rank] = 0
                if not came and self._milestone.kind == "round":
                    # Of the process that died, which may not have come to the end of telling.
                    self._store.take(before)
                    self._store.remove_vector(before, len(self._mean), self._plan.spec.compression)
            if attempt == self._roll.attempt(rank):
                self._asked[rank] = max(asked, self._asked[rank])

    def _admit(self) -> None:
        """Let in who asks: to the round that is open, with the weights that it began with."""
        for rank in range(self._world_size):
            if self._asked[rank] == self._answered[rank]:
                continue
            if self._milestone.kind == "round" and rank in self._messages:
                # The process before it has done this round, and was lost only then.
                continue
            self._answered[rank] = self._asked[rank]
            if self._error is not None:
                answer = "failed"
            elif self._is_over:
                answer = "over"
            else:
                answer = str(self._round)
                if not self._has_weights:
                    self._store.put_vector(f"weights/{self._round}", self._mean.numpy())
                    self._has_weights = True
                self._roll.enters(rank, self._round, time.perf_counter())
            self._store.put(f"in/{rank}/{self._roll.attempt(rank)}/{self._asked[rank]}", answer)

    def _lose(self, rank: int) -> None:
        self._roll.misses(rank, epoch=self._epoch, step=self._milestone.step)
        self._reply(rank, "out", self._round)

    def _reply(self, rank: int, word: str, number: int) -> None:
        self._store.put(f"reply/{rank}/{self._roll.attempt(rank)}/{number}", word)

    def _key(self, rank: int) -> str:
        """Of a worker's message at the milestone."""
        return f"{self._milestone.kind}/{rank}/{self._roll.attempt(rank)}/{self._milestone.number}"

    @property
    def _epoch(self) -> int:
        return max(0, self._milestone.step - 1) // self._plan.steps_per_epoch + 1

    def _pause(self, seconds: float) -> None:
        if self._stop.wait(seconds):
            raise _Stopped

    def _maybe_checkpoint(self) -> None:
        plan, step = self._plan, self._milestone.step
        every = plan.steps_per_epoch if plan.spec.checkpoint_every is None else plan.spec.checkpoint_every
        if not every or plan.checkpoint_dir is None or step == plan.num_steps:
            return
        if step // every == self._checkpoint_step // every:
            return
        epoch, epoch_step = divmod(step, plan.steps_per_epoch)
        checkpoint = Checkpoint(
            step=step,
            epoch=epoch + 1,
            epoch_step=epoch_step,
            losses=0.0,
            right=0.0,
            epochs=tuple(self._epochs),
            fingerprint=plan.fingerprint(),
            model=self._network.state_dict(),
            optimizer={"state": {}, "param_groups": []},
            random=torch.get_rng_state(),
        )
        save_checkpoint(plan.checkpoint_dir, checkpoint)
        self._checkpoint_step = step

    def _restore(self) -> int | None:
        """Take the weights of the newest checkpoint; returns its step."""
        plan = self._plan
        data = newest_checkpoint_bytes(plan.checkpoint_dir, plan.fingerprint()) if plan.checkpoint_dir else None
        if data is None:
            return None
        checkpoint = parse_checkpoint(data, "the checkpoint")
        self._network.load_state_dict(checkpoint.model)
        self._epochs = list(checkpoint.epochs)
        return checkpoint.step


class _Stopped(Exception):  # noqa: N818 - no error
    """Nobody wants the mean any more."""


def _failure(error: Exception) -> JobFailedError:
    return JobFailedError(
        f"averaging failed: {type(error).__name__}: {error}", detail="".join(traceback.format_exception(error))
    )
