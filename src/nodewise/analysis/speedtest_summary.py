"""What the cells of a speed test come to: mean rates, one summary for each source and reader, and who is faster."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from statistics import fmean, stdev

from nodewise.specs.results import SpeedtestCell, SpeedtestMean, SpeedtestResult

__all__ = [
    "ReaderSummary",
    "Sustained",
    "average",
    "by_reader",
    "ceilings",
    "is_faster",
    "rated",
    "summarize",
    "sustained",
]

SURE_STANDARD_ERRORS = 3.0
LEAST_PAIRS = 4
PARAMETERS: dict[str, Callable[[SpeedtestCell], int]] = {
    "all": lambda _: 0,
    "batch_size": lambda cell: cell.batch_size,
    "batch_count": lambda cell: cell.batch_count,
    "records": lambda cell: cell.batch_size * cell.batch_count,
    "repeat": lambda cell: cell.repeat,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class ReaderSummary:
    """One reader on one source, over all its cells.

    Attributes:
        cells: Those with a rate.
        num_short: How many more had none.
        records_per_s: Mean of the cells' rates; None if all were short.
        records_per_s_sd: Of one cell, settings and noise together; None below two cells.
        record_s: Seconds for an image, all included: seconds of these cells over their images.
        open_s: Mean of the seconds that opening the reader took, short cells included.
        from_cache: Share of the bytes used that came from the page cache; None where it was not measured.
        device_bytes: Read from the device; None unless it was measured in all cells with a rate.
    """

    source: str
    reader: str
    cells: tuple[SpeedtestCell, ...]
    num_short: int
    records_per_s: float | None
    records_per_s_sd: float | None
    record_s: float | None
    open_s: float
    import_s: float | None
    from_cache: float | None
    records: int
    bytes: int
    device_bytes: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Sustained:
    """Mean rate of the cells with the most images: what comes nearest to a training loop, which does not stop."""

    batch_size: int
    batch_count: int
    records_per_s: float


def rated(cells: Iterable[SpeedtestCell]) -> list[SpeedtestCell]:
    """The cells that have a rate: not short, and with a length of time that can be divided by."""
    return [
        cell
        for cell in cells
        if not cell.short and cell.records_per_s is not None and 0 < cell.records_per_s < math.inf and cell.seconds > 0
    ]


def by_reader(cells: Iterable[SpeedtestCell]) -> dict[tuple[str, str], list[SpeedtestCell]]:
    """The cells of each source and reader, in order of appearance."""
    groups = defaultdict(list)
    for cell in cells:
        groups[cell.source, cell.reader].append(cell)
    return groups


def average(cells: Sequence[SpeedtestCell]) -> tuple[SpeedtestMean, ...]:
    """Mean rates of each source and reader: over all, and at each value of each parameter, values ascending.

    Short cells are left out, and so is what has no others. The standard deviation is that of one cell (n - 1 in the
    denominator); None for a single one.
    """
    return tuple(
        SpeedtestMean(
            source=source,
            reader=reader,
            parameter=parameter,
            value=value,
            records_per_s=fmean(rates),
            n=len(rates),
            records_per_s_sd=_deviation(rates),
        )
        for (source, reader), group in by_reader(rated(cells)).items()
        for parameter, value_of in PARAMETERS.items()
        for value, rates in sorted(_rates_by(group, value_of).items())
    )


def summarize(result: SpeedtestResult) -> tuple[ReaderSummary, ...]:
    """One summary for each source and reader, in the order in which they were measured first."""
    return tuple(
        _summary(source, reader, cells, result.imports_s.get(reader))
        for (source, reader), cells in by_reader(result.cells).items()
    )


def sustained(summary: ReaderSummary) -> Sustained | None:
    """The rate of the longest cells, of equally long ones those with the largest batches; None if all were short."""
    if not summary.cells:
        return None
    settings = {(cell.batch_size, cell.batch_count) for cell in summary.cells}
    longest = max(settings, key=lambda setting: (setting[0] * setting[1], setting[0]))
    rates = [_rate(cell) for cell in summary.cells if (cell.batch_size, cell.batch_count) == longest]
    return Sustained(batch_size=longest[0], batch_count=longest[1], records_per_s=fmean(rates))


def ceilings(result: SpeedtestResult, source: str) -> list[tuple[str, float]]:
    """Names and images per second of the ceilings of a source, the lowest first."""
    known = result.ceilings.get(source, {})
    return sorted(((name, limit) for name, limit in known.items() if limit > 0), key=lambda ceiling: ceiling[1])


def is_faster(one: ReaderSummary, other: ReaderSummary) -> bool:
    """Whether ``one`` has the higher rate beyond the noise.

    Cells with the same setting and repetition are compared in pairs: the mean of ln(rate / rate) must lie three of its
    standard errors above 0. With four pairs, the least that is asked for, that makes 94 % confidence (Student's t,
    two-sided), with more it is higher.
    """
    rates = {_key(cell): _rate(cell) for cell in other.cells}
    logs = [math.log(_rate(cell) / rates[_key(cell)]) for cell in one.cells if _key(cell) in rates]
    return len(logs) >= LEAST_PAIRS and fmean(logs) > SURE_STANDARD_ERRORS * stdev(logs) / math.sqrt(len(logs))


def _summary(source: str, reader: str, cells: list[SpeedtestCell], import_s: float | None) -> ReaderSummary:
    whole = rated(cells)
    rates = [_rate(cell) for cell in whole]
    device_bytes = [cell.device_bytes for cell in whole if cell.device_bytes is not None]
    records = sum(cell.records for cell in whole)
    return ReaderSummary(
        source=source,
        reader=reader,
        cells=tuple(whole),
        num_short=len(cells) - len(whole),
        records_per_s=fmean(rates) if rates else None,
        records_per_s_sd=_deviation(rates),
        record_s=sum(cell.seconds for cell in whole) / records if records else None,
        open_s=fmean(cell.start_seconds for cell in cells),
        import_s=import_s,
        from_cache=_cache_share(whole),
        records=records,
        bytes=sum(cell.bytes for cell in whole),
        device_bytes=sum(device_bytes) if whole and len(device_bytes) == len(whole) else None,
    )


def _cache_share(cells: Iterable[SpeedtestCell]) -> float | None:
    """Weighted with the bytes used, of the cells where it was measured."""
    measured = [(cell.bytes, cell.from_cache) for cell in cells if cell.from_cache is not None]
    total = sum(used for used, _ in measured)
    return sum(used * share for used, share in measured) / total if total else None


def _rates_by(cells: Iterable[SpeedtestCell], value_of: Callable[[SpeedtestCell], int]) -> dict[int, list[float]]:
    rates = defaultdict(list)
    for cell in cells:
        rates[value_of(cell)].append(_rate(cell))
    return rates


def _rate(cell: SpeedtestCell) -> float:
    # Of rated cells, which always have one; the type does not know.
    return cell.records_per_s or math.nan


def _deviation(values: Sequence[float]) -> float | None:
    return stdev(values) if len(values) > 1 else None


def _key(cell: SpeedtestCell) -> tuple[int, int, int]:
    return cell.batch_size, cell.batch_count, cell.repeat
