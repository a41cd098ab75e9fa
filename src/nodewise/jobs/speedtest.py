"""Job ``speedtest``: what readers deliver from sources, over batch sizes, batch counts and repetitions.

A task is one cell. A worker keeps a process for every reader between its tasks, so that cells of all readers and
sources can take turns while each reader is opened once.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache
from itertools import islice
from pathlib import Path

from nodewise.core.errors import InputError, MissingDependencyError
from nodewise.data.pagecache import drop, warm
from nodewise.jobs.bench import benches_of
from nodewise.jobs.measure import Measured
from nodewise.metering.meter import TaskMeter
from nodewise.readers.base import ReaderFaultError, ReaderOptions, ReadSource
from nodewise.readers.ceilings import decode_rate, read_rate
from nodewise.readers.registry import OWN_READER, find_readers
from nodewise.readers.sources import RecordPlaces, open_read_sources
from nodewise.specs.job import SpeedtestSpec
from nodewise.specs.results import SpeedtestCell

__all__ = [
    "CeilingOutcome",
    "CeilingPlan",
    "CellOutcome",
    "CellPlan",
    "SpeedtestJob",
    "SpeedtestOutcome",
    "SpeedtestTask",
]

MAX_CEILING_RECORDS = 512


@dataclass(frozen=True, slots=True, kw_only=True)
class CellPlan:
    """One measurement of a reader at a source, by their names."""

    source: str
    reader: str
    batch_size: int
    batch_count: int
    repeat: int


@dataclass(frozen=True, slots=True, kw_only=True)
class CeilingPlan:
    """One measurement of what no reader of a source can exceed, with so many records."""

    source: str
    records: int


@dataclass(frozen=True, slots=True, kw_only=True)
class CellOutcome:
    """A cell and what importing its reader took; or why the reader could not be measured at this source."""

    source: str
    reader: str
    cell: SpeedtestCell | None = None
    imports_s: float | None = None
    fault: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class CeilingOutcome:
    """Records per second of a source."""

    source: str
    decode: float
    read: float


@dataclass(frozen=True, slots=True, kw_only=True)
class SpeedtestOutcome:
    """What all tasks came to; the fields are those of :class:`~nodewise.specs.results.SpeedtestResult`."""

    cells: tuple[SpeedtestCell, ...]
    left_out: dict[str, str]
    imports_s: dict[str, float | None]
    ceilings: dict[str, dict[str, float]]


class SpeedtestJob:
    """One task per cell, and one per source and repetition for the ceilings.

    Args:
        folders: Of image files or of shards.

    Raises:
        InputError: A folder holds nothing that can be read, there is no such reader, none can read any of the sources,
            or the page cache cannot be dropped although ``spec.cold`` asks for it.
        MissingDependencyError: A reader that was named is not installed.
    """

    name = "speedtest"
    modules = (__name__,)

    def __init__(self, folders: Sequence[Path], spec: SpeedtestSpec) -> None:
        self.spec = spec
        most = max(spec.batch_sizes) * max(spec.batch_counts)
        self.sources = open_read_sources(folders, size=spec.size, max_records=most, seed=spec.seed)
        self._pairs, self._left_out = _pair(self.sources, spec.readers)
        if spec.cold:
            for source in self.sources:
                drop(source.paths)

    def task(self, threads: int, scratch: Path) -> SpeedtestTask:
        """The task; its readers use so many threads or worker processes, and the folder for temporary files."""
        return SpeedtestTask(
            sources={source.name: source for source in self.sources},
            options=ReaderOptions(threads=threads, scratch=scratch),
            cold=self.spec.cold,
        )

    def plan(self) -> list[CellPlan | CeilingPlan]:
        """The tasks, repetition after repetition, each shuffled: drift of the machine hits all readers alike."""
        spec = self.spec
        most = min(max(spec.batch_sizes) * max(spec.batch_counts), MAX_CEILING_RECORDS)
        chance = random.Random(spec.seed)  # noqa: S311 - an order, not a secret
        plans: list[CellPlan | CeilingPlan] = []
        for repeat in range(spec.repeat):
            round_: list[CellPlan | CeilingPlan] = [
                CellPlan(source=source, reader=reader, batch_size=size, batch_count=count, repeat=repeat)
                for source, reader in self._pairs
                for size in spec.batch_sizes
                for count in spec.batch_counts
            ]
            round_ += [CeilingPlan(source=source.name, records=most) for source in self.sources]
            chance.shuffle(round_)
            plans += round_
        return plans

    def combine(self, outcomes: Sequence[CellOutcome | CeilingOutcome], nodes: Sequence[str]) -> SpeedtestOutcome:
        """Put the cells in order of their settings. A reader that failed at a source has no cells of it.

        Args:
            outcomes: Of all tasks.
            nodes: Where each of them ran.

        Raises:
            ReaderFaultError: All readers failed at all sources.
        """
        measured = [one for one in outcomes if isinstance(one, CellOutcome)]
        faults = {(one.source, one.reader): one.fault for one in measured if one.fault}
        left_out = self._left_out | {_place(reader, source): fault for (source, reader), fault in faults.items()}
        kept = [
            replace(one.cell, node=node)
            for one, node in zip(outcomes, nodes, strict=True)
            if isinstance(one, CellOutcome) and one.cell and (one.source, one.reader) not in faults
        ]
        if not kept:
            raise ReaderFaultError(f"no reader could be measured: {'; '.join(map(': '.join, left_out.items()))}")
        ceilings: dict[str, dict[str, float]] = {}
        for one in outcomes:
            if isinstance(one, CeilingOutcome):
                best = ceilings.setdefault(one.source, {"decode": 0.0, "read": 0.0})
                best |= {"decode": max(best["decode"], one.decode), "read": max(best["read"], one.read)}
        return SpeedtestOutcome(
            cells=tuple(
                sorted(
                    kept,
                    key=lambda cell: (
                        self._pairs.index((cell.source, cell.reader)),
                        cell.batch_size,
                        cell.batch_count,
                        cell.repeat,
                    ),
                )
            ),
            left_out=left_out,
            imports_s={one.reader: one.imports_s for one in measured if one.imports_s is not None},
            ceilings=ceilings,
        )


def _pair(sources: Sequence[ReadSource], names: tuple[str, ...] | None) -> tuple[list[tuple[str, str]], dict[str, str]]:
    """Which sources are read by which readers, and why not by the others."""
    readers, left_out = [], {}
    for reader in find_readers(names):
        reason = reader.missing()
        if reason is None:
            readers.append(reader)
            continue
        if names is not None:
            raise MissingDependencyError(f"reader {reader.name!r}: {reason}", hint="leave it out, or install it")
        left_out[reader.name] = reason
    pairs = []
    for source in sources:
        for reader in readers:
            reason = reader.unfit(source)
            if reason is None:
                pairs.append((source.name, reader.name))
            else:
                left_out[_place(reader.name, source.name)] = reason
    if not pairs:
        raise InputError(
            f"no reader for {', '.join(source.name for source in sources)}", hint="; ".join(left_out.values())
        )
    return pairs, left_out


def _place(reader: str, source: str) -> str:
    return f"{reader}, {source}"


@dataclass(frozen=True, slots=True, kw_only=True)
class SpeedtestTask:
    """What a task does: measure one cell, or the ceilings of one source.

    Attributes:
        sources: By name.
        cold: See :class:`~nodewise.specs.job.SpeedtestSpec`.
    """

    sources: dict[str, ReadSource]
    options: ReaderOptions
    cold: bool | None

    def __call__(self, plan: CellPlan | CeilingPlan, meter: TaskMeter) -> CellOutcome | CeilingOutcome:
        """Measure.

        Raises:
            InputError: The page cache cannot be dropped although ``cold`` asks for it.
            ReaderFaultError: Our own reader did not deliver what it should. Of others that becomes the outcome.
            CorruptFileError: The data is damaged.
        """
        source = self.sources[plan.source]
        if self.cold is False:
            _warm_once(source)
        if isinstance(plan, CeilingPlan):
            return self._measure_ceilings(source, plan.records)
        benches = benches_of(self.options)
        try:
            measured, start_seconds = benches.measure(
                plan.reader, source, plan.batch_size, plan.batch_count, cold=bool(self.cold)
            )
        except ReaderFaultError as error:
            if plan.reader == OWN_READER:
                raise
            return CellOutcome(source=plan.source, reader=plan.reader, fault=error.message)
        meter.count(records=measured.records, read_bytes=measured.bytes)
        return CellOutcome(
            source=plan.source,
            reader=plan.reader,
            cell=_cell(plan, measured, start_seconds),
            imports_s=benches.imports_s[plan.reader],
        )

    def _measure_ceilings(self, source: ReadSource, records: int) -> CeilingOutcome:
        places = RecordPlaces(source)
        examples = list(islice(places.stored(), records))
        extents = places.extents(example.key for example in examples)
        if self.cold:
            drop(source.paths)
        read = read_rate(extents)
        return CeilingOutcome(source=source.name, decode=decode_rate(source, examples, self.options.threads), read=read)


@cache
def _warm_once(source: ReadSource) -> None:
    warm(source.paths)


def _cell(plan: CellPlan, measured: Measured, start_seconds: float) -> SpeedtestCell:
    short = measured.records < plan.batch_size * plan.batch_count
    return SpeedtestCell(
        source=plan.source,
        reader=plan.reader,
        batch_size=plan.batch_size,
        batch_count=plan.batch_count,
        repeat=plan.repeat,
        records=measured.records,
        short=short,
        seconds=measured.seconds,
        records_per_s=None if short else measured.records / measured.seconds,
        from_cache=measured.from_cache,
        bytes=measured.bytes,
        pixel_bytes=measured.pixel_bytes,
        device_bytes=measured.device_bytes,
        ids_sha256=measured.ids_sha256,
        start_seconds=start_seconds + measured.setup_seconds,
    )
