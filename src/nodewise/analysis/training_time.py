"""Where the time of a training goes: what it took against what its work would take if it were spread without loss.

A worker's epoch takes ``seconds``; ``rest`` is what its kinds of time leave of them. Of N workers, in an epoch or over
all of them:

    real     = seconds of the worker that took longest
    awaited  = the worker with the largest seconds - wait: the others wait for it, so that its times make the real time
    one      = seconds that one worker would take for the same records:
               measured:  its seconds in a run of its own, by kind, per record x records
               estimated: compute and evaluate of all workers together. That takes a record to cost one worker as much
               as it cost these, each held-out record to be evaluated once, and one worker to lose no time at all
    ideal    = one / N
    missing  = by kind: the awaited worker's seconds - one / N. The rest takes up what the real time is longer than the
               awaited worker's, so that the kinds add up to real - ideal
    speedup  = one / real = N - N x missing / real

So ``compute`` is missing where the awaited worker computed more than its share (imbalance), and ``wait`` where even
that one waited, since now one worker and now another was late at a step. That a step takes as long as its slowest
worker, and why that gets worse with their number: Dean and Barroso, "The Tail at Scale", CACM 56 (2013). A step's time
as compute and what of the communication does not hide behind it: Li et al., "PyTorch Distributed", PVLDB 13 (2020).

Over all epochs the times of each worker are added up first: workers that do not wait for each other are in different
epochs at the same time. So the epochs add up to the whole only where all workers wait for each other.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from statistics import median, median_low

from nodewise.core.errors import InputError
from nodewise.specs.results import TrainResult
from nodewise.specs.training import WorkerEpoch

__all__ = ["KINDS", "STRAGGLES", "Span", "TrainingTime", "WorkerTime", "analyse_training"]

KINDS = ("compute", "data", "communicate", "wait", "checkpoint", "evaluate", "rest")
"""What a worker's time is split into; see :class:`~nodewise.specs.training.WorkerEpoch`."""
STRAGGLES = 1.5
"""A worker that computes so many times as long for a record as the others is a straggler."""

_ByRank = Mapping[int, Sequence[WorkerEpoch]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """An epoch, or all of them, of so many workers.

    Attributes:
        one: Seconds by kind that one worker would take.
        real: Seconds by kind of the awaited worker, and in the rest what the others took longer.
        awaited: Rank of the worker that the others waited for.
    """

    workers: int
    one: Mapping[str, float]
    real: Mapping[str, float]
    awaited: int

    @property
    def ideal_s(self) -> float:
        return math.fsum(self.one.values()) / self.workers

    @property
    def real_s(self) -> float:
        return math.fsum(self.real.values())

    @property
    def missing_s(self) -> dict[str, float]:
        """Seconds by kind that add up to ``real_s - ideal_s``; negative where one worker would lose more."""
        return {kind: self.real[kind] - self.one[kind] / self.workers for kind in KINDS}

    @property
    def speedup(self) -> float:
        """How many times as fast as one worker; 0 where no time passed."""
        return self.workers * self.ideal_s / self.real_s if self.real_s > 0 else 0.0

    @property
    def missing_speedup(self) -> dict[str, float]:
        """What each kind takes of the speedup: these add up to ``workers - speedup``, where any time passed."""
        scale = self.workers / self.real_s if self.real_s > 0 else 0.0
        return {kind: missing_s * scale for kind, missing_s in self.missing_s.items()}


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerTime:
    """One worker over all its epochs.

    Attributes:
        node: Its last one.
        seconds: By kind.
        record_s: Compute seconds for a record, in its median epoch; None: it computed none.
        slowness: Those over the median of the other workers' in the same epoch, in the median epoch: of an even number
            the lower of the two, so that one slow epoch of two makes no straggler. None without others.
    """

    rank: int
    node: str
    records: int
    steps: int
    sent_bytes: int
    seconds: Mapping[str, float]
    record_s: float | None
    slowness: float | None

    @property
    def total_s(self) -> float:
        return math.fsum(self.seconds.values())

    @property
    def is_straggler(self) -> bool:
        return self.slowness is not None and self.slowness >= STRAGGLES


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingTime:
    """Where the time of a training went.

    Attributes:
        is_measured: Whether one worker's time was measured; else it is estimated.
        total: All epochs; None where the workers' times are not known, and then all else is empty.
        epochs: By their number.
        workers: In the order of their ranks.
        around_s: What the stage took beside the epochs: starting workers, loading images, restarts, the model file.
        sent_bytes_per_step: By a worker.
        link_bits_per_s: What a worker's link must carry for that at the steps per second that were reached, evaluation
            and checkpoints apart. At least: an all-reduce in a ring sends 2 (N - 1) / N times the bytes it is given
            (Patarasuk and Yuan, JPDC 69, 2009).
    """

    is_measured: bool = False
    total: Span | None = None
    epochs: Mapping[int, Span]
    workers: tuple[WorkerTime, ...] = ()
    around_s: float = 0.0
    sent_bytes_per_step: float = 0.0
    link_bits_per_s: float = 0.0

    @property
    def stragglers(self) -> tuple[WorkerTime, ...]:
        """The slowest first."""
        slow = [worker for worker in self.workers if worker.is_straggler]
        return tuple(sorted(slow, key=lambda worker: -(worker.slowness or 0.0)))

    @property
    def waited_share(self) -> float:
        """Share of their time that the workers wait which are no stragglers, 0 to 1."""
        others = [worker for worker in self.workers if not worker.is_straggler]
        all_s = math.fsum(worker.total_s for worker in others)
        return math.fsum(worker.seconds["wait"] for worker in others) / all_s if all_s > 0 else 0.0


def analyse_training(result: TrainResult, *, single: TrainResult | None = None) -> TrainingTime:
    """Split the time of a training by the formulae above.

    Args:
        single: One worker's run with the same model, images and settings, to measure against. One that does not tell
            where its time went is as good as none.

    Raises:
        InputError: ``single`` had several workers.
    """
    if single is not None and single.world_size != 1:
        raise InputError(
            f"run {single.run_id or 'to compare with'} has {single.world_size} workers",
            hint="compare with a run of one worker",
        )
    if not result.workers:
        return TrainingTime(epochs={})
    record_s = None if single is None else _per_record(single.workers)
    rows = sorted(result.workers, key=lambda row: (row.epoch, row.rank))
    epochs = {epoch: _by_rank(group) for epoch, group in groupby(rows, key=lambda row: row.epoch)}
    ranks = _by_rank(rows)
    total = _span(ranks, result.world_size, record_s)
    steps = sum(row.steps for row in result.workers)
    sent_bytes = sum(row.sent_bytes for row in result.workers)
    stepping_s = math.fsum(row.seconds - row.evaluate_s - row.checkpoint_s for row in result.workers)
    return TrainingTime(
        is_measured=record_s is not None,
        total=total,
        epochs={epoch: _span(group, result.world_size, record_s) for epoch, group in epochs.items()},
        workers=_workers(ranks, epochs.values()),
        around_s=max(0.0, result.seconds - total.real_s),
        sent_bytes_per_step=sent_bytes / steps if steps else 0.0,
        link_bits_per_s=8 * sent_bytes / stepping_s if stepping_s > 0 else 0.0,
    )


def _by_rank(rows: Iterable[WorkerEpoch]) -> dict[int, list[WorkerEpoch]]:
    ranks: dict[int, list[WorkerEpoch]] = {}
    for row in rows:
        ranks.setdefault(row.rank, []).append(row)
    return dict(sorted(ranks.items()))


def _by_kind(rows: Iterable[WorkerEpoch]) -> dict[str, float]:
    rows = list(rows)
    told = {kind: math.fsum(getattr(row, f"{kind}_s") for row in rows) for kind in KINDS if kind != "rest"}
    return told | {"rest": math.fsum(row.seconds for row in rows) - math.fsum(told.values())}


def _per_record(rows: Sequence[WorkerEpoch]) -> dict[str, float] | None:
    records = sum(row.records for row in rows)
    return {kind: spent_s / records for kind, spent_s in _by_kind(rows).items()} if records else None


def _span(ranks: _ByRank, workers: int, record_s: Mapping[str, float] | None) -> Span:
    everyone = [row for rows in ranks.values() for row in rows]
    if record_s is None:
        spent_s = _by_kind(everyone)
        one = {kind: spent_s[kind] if kind in ("compute", "evaluate") else 0.0 for kind in KINDS}
    else:
        one = {kind: record_s[kind] * sum(row.records for row in everyone) for kind in KINDS}
    lengths = {rank: math.fsum(row.seconds for row in rows) for rank, rows in ranks.items()}
    busy = {rank: lengths[rank] - math.fsum(row.wait_s for row in rows) for rank, rows in ranks.items()}
    awaited = max(busy, key=lambda rank: busy[rank])
    real = _by_kind(ranks[awaited])
    real["rest"] += max(lengths.values()) - lengths[awaited]
    return Span(workers=workers, one=one, real=real, awaited=awaited)


def _workers(ranks: _ByRank, epochs: Iterable[_ByRank]) -> tuple[WorkerTime, ...]:
    costs: dict[int, list[float]] = {rank: [] for rank in ranks}
    ratios: dict[int, list[float]] = {rank: [] for rank in ranks}
    for epoch in epochs:
        cost = {rank: compute_s for rank, rows in epoch.items() if (compute_s := _record_s(rows)) is not None}
        for rank, own_s in cost.items():
            costs[rank].append(own_s)
            others_s = median(other_s for other, other_s in cost.items() if other != rank) if len(cost) > 1 else 0.0
            if others_s > 0:
                ratios[rank].append(own_s / others_s)
    return tuple(
        WorkerTime(
            rank=rank,
            node=rows[-1].node,
            records=sum(row.records for row in rows),
            steps=sum(row.steps for row in rows),
            sent_bytes=sum(row.sent_bytes for row in rows),
            seconds=_by_kind(rows),
            record_s=median(costs[rank]) if costs[rank] else None,
            slowness=median_low(ratios[rank]) if ratios[rank] else None,
        )
        for rank, rows in ranks.items()
    )


def _record_s(rows: Iterable[WorkerEpoch]) -> float | None:
    """Compute seconds for a record; None without records."""
    rows = list(rows)
    records = sum(row.records for row in rows)
    return math.fsum(row.compute_s for row in rows) / records if records else None
