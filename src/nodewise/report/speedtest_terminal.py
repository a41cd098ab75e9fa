"""A speed test in the terminal."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console
from rich.table import Table
from rich.text import Text

from nodewise.analysis.speedtest_fits import TIME_FORMULA
from nodewise.analysis.speedtest_summary import ReaderSummary, summarize
from nodewise.analysis.speedtest_words import format_rate, format_share, format_short_time
from nodewise.core.units import format_duration
from nodewise.report import text
from nodewise.report.console import Column, make_table, print_line, print_path
from nodewise.specs.results import SpeedtestFit, SpeedtestResult

__all__ = ["render_speedtest"]

WIDE = 120
"""Columns from which on the table has room for all it can show."""
NOTE = "± standard deviation over the cells; Start, Batch: what an iteration and a batch cost, fitted."


def render_speedtest(result: SpeedtestResult, console: Console) -> None:
    """Print the readers of each source, which formula fits best, the sentence and the paths; from 80 columns on."""
    print_line(console, _headline(result), style="bold")
    console.print()
    if result.cells:
        console.print(_table(result, wide=console.width >= WIDE))
        print_line(console, NOTE)
        console.print()
    for line in _best_formulas(result.fits):
        print_line(console, line)
    for name, reason in result.left_out.items():
        print_line(console, f"left out: {name}: {reason}")
    if result.recompute_seconds is not None:
        print_line(console, f"Measured again for the averages: {format_duration(result.recompute_seconds)}")
    if result.fits or result.left_out or result.recompute_seconds is not None:
        console.print()
    print_line(console, result.sentence, style="bold")
    console.print()
    for what, path in (("Report", result.report_path), ("Cells", result.table_path), ("Run", result.run_id)):
        if path:
            print_path(console, what, path)


def _headline(result: SpeedtestResult) -> str:
    sources = dict.fromkeys(cell.source for cell in result.cells)
    readers = dict.fromkeys(cell.reader for cell in result.cells)
    how = "one after another" if result.order == "sequential" else f"in parallel on {text.plural(result.nodes, 'node')}"
    counts = ", ".join(
        text.plural(count, noun)
        for count, noun in ((len(sources), "source"), (len(readers), "reader"), (len(result.cells), "cell"))
    )
    return f"Speed test: {counts}, {how}, cache {result.cache}"


def _table(result: SpeedtestResult, *, wide: bool) -> Table:
    headers = ["Images/s", "Start", "Batch", *(["Image", "Opening", "Cells"] if wide else []), "Cache", "vs fastest"]
    table = make_table(Column("Reader of source", "left", folds=True), *map(Column, headers))
    times = {(one.source, one.reader): one for one in result.fits if one.formula == TIME_FORMULA}
    summaries = summarize(result)
    fastest = max(one.records_per_s or 0.0 for one in summaries)
    source = None
    for one in _in_order(summaries):
        if one.source != source:
            source = one.source
            table.add_row(Text(text.printable(source), style="bold"))
        model = times.get((one.source, one.reader))
        asked = len(one.cells) + one.num_short
        table.add_row(
            Text(f"  {text.printable(one.reader)}"),
            _rate(one),
            _cost(model, "start"),
            _cost(model, "per_batch"),
            *([_cost(model, "per_record"), format_short_time(one.open_s)] if wide else []),
            *([f"{len(one.cells):,} of {asked:,}" if one.num_short else f"{asked:,}"] if wide else []),
            text.NOTHING if one.from_cache is None else format_share(one.from_cache),
            f"{one.records_per_s / fastest:.2g}x" if one.records_per_s else text.NOTHING,
        )
    return table


def _in_order(summaries: Sequence[ReaderSummary]) -> list[ReaderSummary]:
    """Sources as they were given, of each the fastest reader first."""
    sources = list(dict.fromkeys(one.source for one in summaries))
    return sorted(summaries, key=lambda one: (sources.index(one.source), -(one.records_per_s or 0.0)))


def _rate(summary: ReaderSummary) -> str:
    if summary.records_per_s is None:
        return "short"
    spread = "" if summary.records_per_s_sd is None else f" ± {format_rate(summary.records_per_s_sd)}"
    return f"{format_rate(summary.records_per_s)}{spread}"


def _cost(model: SpeedtestFit | None, name: str) -> str:
    return text.NOTHING if model is None else format_short_time(model.coefficients[name])


def _best_formulas(fits: Sequence[SpeedtestFit]) -> list[str]:
    """A line for each formula that is the best somewhere, the most frequent first."""
    best = [one for one in fits if one.best]
    errors: dict[str, list[float]] = {}
    for one in best:
        errors.setdefault(one.formula, []).append(one.cv_error)
    return [
        f"Best fit{'' if len(best) == 1 else f' ({len(found)} of {len(best)})'}: {formula} "
        f"(off by {_error_range(found)} on settings left out)"
        for formula, found in sorted(errors.items(), key=lambda item: -len(item[1]))
    ]


def _error_range(errors: Sequence[float]) -> str:
    low, high = format_share(min(errors)), format_share(max(errors))
    return low if low == high else f"{low} to {high}"
