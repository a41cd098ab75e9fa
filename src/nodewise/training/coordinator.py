"""Strategy ``parameter-server``: where the workers wait for each other. It holds no weights, and needs no PyTorch."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from statistics import median
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from nodewise.specs.results import EpochResult
from nodewise.specs.training import LostWorker
from nodewise.training.roll import MIN_WAIT_S, PATIENCE, Roll

__all__ = ["Coordinator", "Entry", "Meeting", "Phase", "Report", "Told"]

LOOK_S = 0.25
_HISTORY = 20


class Phase:
    """Where workers meet after a step, in this order; all but the first only at an epoch's end."""

    GRADIENT, EPOCH, EVALUATED, SAVED, NUMBER = 0, 1, 2, 3, 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """What a worker brings to a meeting: sums over its records, and the float tensors that no server holds, flat."""

    losses: float = 0.0
    right: float = 0.0
    records: int = 0
    right_test: float = 0.0
    tested: int = 0
    buffers: NDArray[np.float32] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """Where a worker goes on: ``step`` steps are done, ``epoch`` is not, ``ranks`` took the last step.

    ``buffers``: None: they are as in the beginning.
    """

    step: int
    epoch: int
    ranks: tuple[int, ...]
    buffers: NDArray[np.float32] | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Meeting:
    """Who was there, and what it came to.

    Attributes:
        epochs: What they came to so far; after an evaluation with the epoch that it belongs to.
        buffers: The mean of all at the end of the newest epoch.
    """

    place: int
    ranks: tuple[int, ...]
    epochs: tuple[EpochResult, ...] = ()
    buffers: NDArray[np.float32] | None = None


class Report(NamedTuple):
    """What the coordinator knows in the end; staleness in steps, None if nobody went on by himself."""

    epochs: tuple[EpochResult, ...]
    lost: tuple[LostWorker, ...]
    buffers: NDArray[np.float32] | None
    mean_staleness: float | None
    max_staleness: int | None


class Coordinator:
    """A Ray actor with the roll of the workers (see :class:`~nodewise.training.roll.Roll`).

    A *place* is a step and a phase. All workers that are there come to the same places in the same order. A place is
    closed when everybody has come that is awaited.

    Args:
        max_staleness: How many steps a worker may be ahead of the slowest; for those that call :meth:`go_ahead`.
        step, epochs, buffers: Of the checkpoint that training goes on from.
    """

    def __init__(
        self,
        world_size: int,
        *,
        num_epochs: int,
        max_staleness: int,
        step: int = 0,
        epochs: Sequence[EpochResult] = (),
        buffers: NDArray[np.float32] | None = None,
    ) -> None:
        self._world_size, self._num_epochs, self._max_staleness = world_size, num_epochs, max_staleness
        self._roll = Roll(world_size)
        self._closed = Meeting(place=step * Phase.NUMBER + Phase.GRADIENT, ranks=())
        self._epochs, self._buffers = list(epochs), buffers
        self._epoch_began = time.perf_counter()
        self._sums: list[Told] = []
        self._evaluated: EpochResult | None = None
        self._open_place, self._told = self._closed.place, dict[int, Told]()
        self._ready: set[int] = set()
        self._has_begun = False
        self._steps = [step] * world_size
        self._moved_at = [0.0] * world_size
        self._intervals: deque[float] = deque(maxlen=_HISTORY)
        self._ahead: list[int] = []
        self._changed = asyncio.Event()

    async def begin(self, rank: int, attempt: int) -> None:
        """A worker's process has begun; if it is another one's successor, nobody waits for that one any more."""
        is_over = self._epoch > self._num_epochs
        if not is_over and self._roll.begins(rank, attempt, epoch=self._epoch, step=self._step):
            self._ready.discard(rank)
            self._close_if_complete()
            self._notify()

    async def enter(self, rank: int, attempt: int) -> Entry | None:
        """A worker is ready. The first ones wait until all are. Returns None if training is over."""
        if attempt != self._roll.attempt(rank) or self._epoch > self._num_epochs:
            return None
        if self._has_begun:
            self._let_in(rank)
        else:
            self._ready.add(rank)
            if len(self._ready) == self._world_size:
                self._has_begun = True
                self._epoch_began = time.perf_counter()
                self._roll.opens(self._epoch_began)
                for member in self._ready:
                    self._let_in(member)
                self._notify()
            while not self._has_begun:
                await self._change()
        return Entry(step=self._steps[rank], epoch=self._epoch, ranks=self._closed.ranks, buffers=self._buffers)

    async def meet(self, rank: int, attempt: int, step: int, phase: int, told: Told) -> tuple[Meeting, float] | None:
        """Come to a place and wait until it is closed.

        Returns:
            What it came to, and the seconds that this worker was kept waiting. If it was closed before this one
            entered, what the newest one came to. None: it was closed without this one, who has to enter again.
        """
        place = step * Phase.NUMBER + phase
        came = time.perf_counter()
        if not self._is_in(rank, attempt):
            return None
        if place > self._closed.place:
            self._open_place, self._told[rank] = place, told
            self._roll.comes(rank, came)
            self._close_if_complete()
        while self._closed.place < place:
            await self._change()
            if not self._is_end:
                for late in self._roll.late(self._closed.place + 1, time.perf_counter()):
                    self._lose(late)
            if not self._is_in(rank, attempt):
                return None
        return self._closed, time.perf_counter() - came

    async def go_ahead(self, rank: int, attempt: int, step: int) -> float | None:
        """Wait until a worker with so many steps done may take the next one.

        Returns:
            The seconds that it was kept waiting; None: it has to enter again.
        """
        came = time.perf_counter()
        if not self._is_in(rank, attempt):
            return None
        if step > self._steps[rank]:
            self._intervals.append(came - self._moved_at[rank])
            self._steps[rank] = step
            self._notify()
        self._moved_at[rank] = came
        while step - self._slowest() > self._max_staleness:
            await self._change()
            self._lose_standing()
            if not self._is_in(rank, attempt):
                return None
        self._ahead.append(step - self._slowest())
        return time.perf_counter() - came

    async def report(self) -> Report:
        """What is known now."""
        ahead = self._ahead
        return Report(
            epochs=tuple(self._epochs),
            lost=self._roll.lost,
            buffers=self._buffers,
            mean_staleness=sum(ahead) / len(ahead) if ahead else None,
            max_staleness=max(ahead, default=None),
        )

    @property
    def _epoch(self) -> int:
        return len(self._epochs) + 1

    @property
    def _step(self) -> int:
        """Where a worker that enters goes on: with the slowest."""
        return max(self._closed.place // Phase.NUMBER, self._slowest())

    def _is_in(self, rank: int, attempt: int) -> bool:
        return attempt == self._roll.attempt(rank) and self._roll.is_in(rank)

    def _slowest(self) -> int:
        inside = [step for rank, step in enumerate(self._steps) if self._roll.is_in(rank)]
        return min(inside, default=0)

    def _let_in(self, rank: int) -> None:
        self._steps[rank], self._moved_at[rank] = self._step, time.perf_counter()
        self._roll.enters(rank, self._closed.place + 1, time.perf_counter())

    def _lose(self, rank: int) -> None:
        self._roll.misses(rank, epoch=self._epoch, step=self._step)
        self._close_if_complete()
        self._notify()

    def _lose_standing(self) -> None:
        """Lose the slowest where they have not moved for long, compared with how long steps take."""
        limit_s = max(MIN_WAIT_S, PATIENCE * median(self._intervals)) if self._intervals else MIN_WAIT_S
        now, slowest = time.perf_counter(), self._slowest()
        for rank, step in enumerate(self._steps):
            if self._roll.is_in(rank) and step == slowest and now - self._moved_at[rank] > limit_s:
                self._lose(rank)

    def _close_if_complete(self) -> None:
        roll = self._roll
        # At the very end whoever is lost is waited for: there is nothing else to do, and its held-out records count.
        is_complete = len(self._told) == self._world_size if self._is_end else roll.is_complete(self._closed.place + 1)
        if self._has_begun and is_complete:
            self._close()

    @property
    def _is_end(self) -> bool:
        return self._open_place % Phase.NUMBER == Phase.EVALUATED and self._epoch == self._num_epochs

    def _close(self) -> None:
        """Everybody has come. Those who were lost since have done their part here all the same."""
        now, phase = time.perf_counter(), self._open_place % Phase.NUMBER
        told = list(self._told.values())
        if phase == Phase.EPOCH:
            self._sums = told
            buffers = [one.buffers for one in told if one.buffers is not None]
            self._buffers = np.mean(buffers, axis=0, dtype=np.float32) if buffers else None
        elif phase == Phase.EVALUATED:
            self._evaluated = self._result(told, now - self._epoch_began)
        elif phase == Phase.SAVED and self._evaluated is not None:
            self._epochs.append(self._evaluated)
            self._evaluated, self._epoch_began = None, now
        unfinished = [] if self._evaluated is None else [self._evaluated]
        self._closed = Meeting(
            place=self._open_place,
            ranks=tuple(sorted(self._told)),
            epochs=(*self._epochs, *unfinished),
            buffers=self._buffers,
        )
        self._told.clear()
        self._roll.opens(now)
        self._notify()

    def _result(self, evaluated: Sequence[Told], seconds: float) -> EpochResult:
        """What the epoch came to, from those records that were counted."""
        records, tested = sum(one.records for one in self._sums), sum(one.tested for one in evaluated)
        return EpochResult(
            epoch=self._epoch,
            loss=sum(one.losses for one in self._sums) / max(1, records),
            train_accuracy=sum(one.right for one in self._sums) / max(1, records),
            test_accuracy=sum(one.right_test for one in evaluated) / tested if tested else None,
            seconds=seconds,
        )

    def _notify(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()

    async def _change(self) -> None:
        """Wait until something has changed, or a moment."""
        with suppress(TimeoutError):
            await asyncio.wait_for(self._changed.wait(), LOOK_S)
