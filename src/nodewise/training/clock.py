"""Where a worker's time goes, kind by kind and epoch by epoch."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Literal

from nodewise.metering.meter import TaskMeter
from nodewise.specs.training import WorkerEpoch

__all__ = ["EpochClock", "Kind"]

Kind = Literal["data", "compute", "communicate", "wait", "checkpoint", "evaluate"]


class EpochClock:
    """Adds up the seconds of one epoch; kinds must not be nested. The task's meter is told what it has a name for."""

    def __init__(self, epoch: int, meter: TaskMeter) -> None:
        self.epoch = epoch
        self.steps = self.records = self.sent_bytes = 0
        self.seconds: dict[Kind, float] = dict.fromkeys(
            ("data", "compute", "communicate", "wait", "checkpoint", "evaluate"), 0.0
        )
        self._meter = meter
        self._started = time.perf_counter()

    @contextmanager
    def timing(self, kind: Kind) -> Iterator[None]:
        """Add the block's time to a kind, whatever ends it."""
        started = time.perf_counter()
        with ExitStack() as metered:
            if kind == "data":
                metered.enter_context(self._meter.reading())
            elif kind == "checkpoint":
                metered.enter_context(self._meter.writing())
            elif kind in ("communicate", "wait"):
                metered.enter_context(self._meter.communicating())
            try:
                yield
            finally:
                self.seconds[kind] += time.perf_counter() - started

    def move(self, seconds: float, source: Kind, target: Kind) -> None:
        """Call so much of one kind's time another kind."""
        self.seconds[source] -= seconds
        self.seconds[target] += seconds

    def step(self, records: int) -> None:
        """One optimiser step is over, to which this worker brought so many records."""
        self.steps += 1
        self.records += records
        self._meter.count(records=records)

    def close(self, rank: int, node: str) -> WorkerEpoch:
        """The epoch is over."""
        seconds = self.seconds
        return WorkerEpoch(
            rank=rank,
            node=node,
            epoch=self.epoch,
            steps=self.steps,
            records=self.records,
            seconds=time.perf_counter() - self._started,
            data_s=seconds["data"],
            compute_s=seconds["compute"],
            communicate_s=seconds["communicate"],
            wait_s=seconds["wait"],
            checkpoint_s=seconds["checkpoint"],
            evaluate_s=seconds["evaluate"],
            sent_bytes=self.sent_bytes,
        )
