"""A speed test as one HTML file that opens from disk: no script, nothing loaded from outside."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from markupsafe import Markup

from nodewise.analysis.speedtest_fits import TIME_FORMULA
from nodewise.analysis.speedtest_summary import ReaderSummary, ceilings, rated, summarize, sustained
from nodewise.analysis.speedtest_words import ceiling_text, format_rate, format_share, format_short_time
from nodewise.core.files import write_atomic
from nodewise.report.charts import Chart
from nodewise.report.page import drawn, page_environment
from nodewise.report.speedtest_charts import fit_chart, rate_chart
from nodewise.specs.results import SpeedtestCell, SpeedtestFit, SpeedtestResult

__all__ = ["write_speedtest_report"]

SOURCES_DRAWN = 4
"""More would make the file slow to open; the tables have all of them."""
ROWS_SHOWN = 100
HEAT_STEPS = 10
HASH_DIGITS = 16


def write_speedtest_report(result: SpeedtestResult, path: Path, *, command: str = "") -> None:
    """Write the report; the file is whole or absent.

    Args:
        command: What was typed, to get the numbers again.
    """
    summaries = summarize(result)
    sources = list(dict.fromkeys(one.source for one in summaries))
    identities = _identities(result.cells)
    short = [cell for cell in result.cells if not rated([cell])]
    environment = page_environment()
    environment.filters.update(rate=format_rate, share=format_share, short_time=format_short_time)
    page = environment.get_template("speedtest.html.jinja").render(
        result=result,
        command=command,
        readers=list(dict.fromkeys(one.reader for one in summaries)),
        sources=[
            {
                "name": source,
                "rows": _reader_rows(source, summaries, result),
                "ceilings": _ceilings(source, summaries, result),
                "grids": _grids([cell for cell in result.cells if cell.source == source]),
                "fits": _fit_rows([one for one in result.fits if one.source == source]),
                "charts": _charts(result, source, number) if number < SOURCES_DRAWN else [],
            }
            for number, source in enumerate(sources)
        ],
        identities=identities[:ROWS_SHOWN],
        num_identities=len(identities),
        num_alike=sum(row["all_readers"] for row in identities),
        short=short[:ROWS_SHOWN],
        num_short=len(short),
        nodes=sorted({cell.node for cell in result.cells} - {""}),
    )
    write_atomic(path, page)


def _charts(result: SpeedtestResult, source: str, number: int) -> list[tuple[Chart, Markup]]:
    charts = (
        rate_chart(result, source, key=f"rate-{number}"),
        fit_chart(result, source, key=f"fit-{number}"),
    )
    return [drawn(chart) for chart in charts if chart is not None]


def _reader_rows(source: str, summaries: Sequence[ReaderSummary], result: SpeedtestResult) -> list[dict[str, Any]]:
    """A row for each reader of the source, the fastest first."""
    own = sorted((one for one in summaries if one.source == source), key=lambda one: -(one.records_per_s or 0.0))
    fastest = max(one.records_per_s or 0.0 for one in summaries)
    times = {one.reader: one for one in result.fits if one.source == source and one.formula == TIME_FORMULA}
    return [
        {
            "summary": one,
            "best": one.records_per_s == fastest,
            "versus": one.records_per_s / fastest if one.records_per_s else None,
            "time": times.get(one.reader),
            "imported": one.reader in result.imports_s,
        }
        for one in own
    ]


def _ceilings(source: str, summaries: Iterable[ReaderSummary], result: SpeedtestResult) -> list[dict[str, Any]]:
    """The ceilings of the source, the lowest first, and the reader that comes nearest to them in its longest cells."""
    rates = {
        one.reader: longest.records_per_s for one in summaries if one.source == source and (longest := sustained(one))
    }
    nearest = max(rates, key=lambda reader: rates[reader], default=None)
    return [
        {
            "of": ceiling_text(name),
            "records_per_s": limit,
            "nearest": nearest,
            "reached": rates[nearest] / limit if nearest else None,
        }
        for name, limit in ceilings(result, source)
    ]


def _grids(cells: Sequence[SpeedtestCell]) -> list[dict[str, Any]]:
    """For each reader the mean rate of every setting; ``heat`` is its share of the source's fastest, in tenths."""
    rates: dict[tuple[str, int, int], list[float]] = defaultdict(list)
    for cell in rated(cells):
        rates[cell.reader, cell.batch_size, cell.batch_count].append(cell.records_per_s or 0.0)
    means = {setting: sum(group) / len(group) for setting, group in rates.items()}
    fastest = max(means.values(), default=0.0)
    asked: dict[tuple[str, int, int], int] = defaultdict(int)
    for cell in cells:
        asked[cell.reader, cell.batch_size, cell.batch_count] += 1
    sizes = sorted({cell.batch_size for cell in cells})
    counts = sorted({cell.batch_count for cell in cells})

    def square(reader: str, size: int, count: int) -> dict[str, Any]:
        mean = means.get((reader, size, count))
        return {
            "records_per_s": mean,
            "heat": 0 if mean is None else round(HEAT_STEPS * mean / fastest),
            "asked": asked[reader, size, count],
            "short": asked[reader, size, count] - len(rates[reader, size, count]),
        }

    return [
        {
            "reader": reader,
            "counts": counts,
            "rows": [(size, [square(reader, size, count) for count in counts]) for size in sizes],
        }
        for reader in dict.fromkeys(cell.reader for cell in cells)
    ]


def _fit_rows(fits: Sequence[SpeedtestFit]) -> dict[str, list[dict[str, Any]]]:
    """The fits by reader, with their coefficients as text."""
    rows: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for one in fits:
        rows[one.reader].append(
            {
                "fit": one,
                "coefficients": [(name, _coefficient(one, name)) for name in one.coefficients],
            }
        )
    return rows


def _coefficient(fit: SpeedtestFit, name: str) -> str:
    value, error = fit.coefficients[name], fit.standard_errors.get(name)
    if error is None:
        return "0 (at its bound)"
    if fit.formula == TIME_FORMULA:
        return f"{format_short_time(value)} ± {format_short_time(error)}"
    return f"{format_rate(value)} ± {format_rate(error)}"


def _identities(cells: Iterable[SpeedtestCell]) -> list[dict[str, Any]]:
    """What each setting of each source delivered, by the hash of the ids, and the readers that agree on it."""
    readers: dict[str, set[str]] = defaultdict(set)
    agreed: dict[tuple[str, int, int, int, str], dict[str, None]] = defaultdict(dict)
    for cell in rated(cells):
        readers[cell.source].add(cell.reader)
        setting = (cell.source, cell.batch_size, cell.batch_count, cell.records, cell.ids_sha256)
        agreed[setting][cell.reader] = None
    return [
        {
            "source": source,
            "setting": f"{size} x {count}",
            "records": records,
            "ids": ids[:HASH_DIGITS],
            "readers": list(same),
            "all_readers": set(same) == readers[source],
        }
        for (source, size, count, records, ids), same in agreed.items()
    ]
