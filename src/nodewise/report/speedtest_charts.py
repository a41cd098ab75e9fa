"""The charts of a speed test, two for each source: the rates with their lines, and how well two formulas meet them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, PercentFormatter

from nodewise.analysis.speedtest_fits import LINES, TIME_FORMULA, residuals
from nodewise.analysis.speedtest_words import format_rate, format_share, format_short_time
from nodewise.report.charts import LINE_COLOURS, LINE_STYLES, MARKERS, WIDTH_IN, Chart
from nodewise.report.svg import chart_style, to_svg
from nodewise.report.text import NOTHING
from nodewise.specs.results import SpeedtestFit, SpeedtestMean, SpeedtestResult

__all__ = ["fit_chart", "rate_chart"]

NARROW = 10
"""Times that span a smaller factor get more labels than one for each power of ten."""
PARAMETER_NAMES = {
    "batch_size": "batch size",
    "batch_count": "batches",
    "records": "batch size x batches",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class _Point:
    """A setting, all its repetitions together: means of what was measured and what the formula says."""

    batch_size: int
    batch_count: int
    measured: float
    predicted: float
    rate_error: float


def rate_chart(result: SpeedtestResult, source: str, *, key: str) -> Chart | None:
    """Mean rates against each parameter, with their standard deviations and fitted lines; None without a rate.

    Args:
        key: Prefix of the ids, distinct for each chart of a page.
    """
    means = [mean for mean in result.means if mean.source == source]
    if not means:
        return None
    fits = {(one.reader, one.formula): one for one in result.fits if one.source == source}
    looks = _looks(result)
    readers = list(dict.fromkeys(mean.reader for mean in means))
    overall = {mean.reader: mean.records_per_s for mean in means if mean.parameter == "all"}
    title = f"Images per second from {source}"
    summary = "Means over all settings: " + ", ".join(
        f"{reader} {format_rate(overall[reader])} images/s" for reader in readers
    )
    with chart_style():
        figure = Figure(figsize=(WIDTH_IN, 3.9), dpi=72, layout="constrained")
        panels: Sequence[Axes] = figure.subplots(1, len(LINES), sharey=True)
        for axes, (parameter, formula) in zip(panels, LINES.items(), strict=True):
            for reader in readers:
                points = [mean for mean in means if (mean.reader, mean.parameter) == (reader, parameter)]
                _draw_means(axes, points, fits.get((reader, formula)), looks[reader])
            axes.set_xlabel(PARAMETER_NAMES[parameter])
            axes.set_xlim(left=0)
            axes.xaxis.set_major_locator(MaxNLocator(nbins=5, integer=True))
        panels[0].set_ylim(bottom=0)
        panels[0].set_ylabel("images/s, mean ± sd")
        panels[0].yaxis.set_major_formatter(FuncFormatter(lambda rate, _: f"{rate:,.0f}"))
        _name_readers(figure, panels[0])
        svg = to_svg(figure, key=key, title=title, summary=summary)
    return Chart(
        title=title,
        summary=f"{summary}. Straight lines: the fitted formulas",
        svg=svg,
        columns=("Reader", "Parameter", "Value", "Images/s", "sd", "Cells"),
        rows=tuple(
            (
                mean.reader,
                PARAMETER_NAMES.get(mean.parameter, mean.parameter),
                NOTHING if mean.parameter == "all" else str(mean.value),
                format_rate(mean.records_per_s),
                NOTHING if mean.records_per_s_sd is None else format_rate(mean.records_per_s_sd),
                str(mean.n),
            )
            for mean in means
        ),
    )


def fit_chart(result: SpeedtestResult, source: str, *, key: str) -> Chart | None:
    """Measured time against the formula of time, and its errors beside those of the line; None without that formula."""
    fits = {(one.reader, one.formula): one for one in result.fits if one.source == source}
    of_time = {reader: one for (reader, formula), one in fits.items() if formula == TIME_FORMULA}
    of_line = {reader: one for (reader, formula), one in fits.items() if formula == LINES["records"]}
    if not of_time:
        return None
    looks = _looks(result)
    times = {reader: _points(result, one) for reader, one in of_time.items()}
    lines = {reader: _points(result, one) for reader, one in of_line.items()}
    title = f"How well formulas meet {source}"
    summary = "Root mean square error of the rate on settings left out: " + ", ".join(
        f"{reader} {format_share(one.cv_error)} by the formula of time"
        + (f" and {format_share(of_line[reader].cv_error)} by the line" if reader in of_line else "")
        for reader, one in of_time.items()
    )
    with chart_style():
        figure = Figure(figsize=(WIDTH_IN, 3.9), dpi=72, layout="constrained")
        measured, line_errors, time_errors = figure.subplots(1, 3)
        _draw_measured(measured, times, looks)
        time_errors.sharey(line_errors)
        for axes, points, name in (
            (line_errors, lines, "a + b * (size x batches)"),
            (time_errors, times, "start + images + batches"),
        ):
            axes.axhline(0, color="#666666", linewidth=1)
            _draw(axes, points, looks, x=lambda one: one.batch_size * one.batch_count, y=lambda one: one.rate_error)
            axes.set_title(name, fontsize=11, loc="left")
            axes.set_xlabel(PARAMETER_NAMES["records"])
            axes.set_xlim(left=0)
            axes.yaxis.set_major_formatter(PercentFormatter(xmax=1, decimals=0, symbol=" %"))
        line_errors.set_ylabel("predicted / measured rate - 1")
        _name_readers(figure, measured)
        svg = to_svg(figure, key=key, title=title, summary=summary)
    return Chart(
        title=title,
        summary=f"{summary}. Each point is the mean of a setting's repetitions",
        svg=svg,
        columns=("Reader", "Batch size", "Batches", "Measured", "Formula of time", "Error of its rate", "Of the line"),
        rows=tuple(_fit_rows(times, lines)),
    )


def _draw_means(axes: Axes, means: Sequence[SpeedtestMean], fit: SpeedtestFit | None, look: Mapping[str, Any]) -> None:
    axes.errorbar(
        [mean.value for mean in means],
        [mean.records_per_s for mean in means],
        yerr=[mean.records_per_s_sd or 0.0 for mean in means],
        label=means[0].reader,
        linestyle="none",
        elinewidth=0.8,
        marker=look["marker"],
        color=look["color"],
        markersize=6,
    )
    if fit is not None:
        ends = (min(mean.value for mean in means), max(mean.value for mean in means))
        rates = [fit.coefficients["a"] + fit.coefficients["b"] * end for end in ends]
        axes.plot(ends, rates, color=look["color"], linestyle=look["linestyle"], linewidth=1.5)


def _draw_measured(axes: Axes, times: Mapping[str, Sequence[_Point]], looks: Mapping[str, Mapping[str, Any]]) -> None:
    seconds = [second for points in times.values() for one in points for second in (one.measured, one.predicted)]
    ends = (min(seconds), max(seconds))
    axes.plot(ends, ends, color="#666666", linewidth=1)
    axes.set_xscale("log")
    axes.set_yscale("log")
    _draw(axes, times, looks, x=lambda one: one.predicted, y=lambda one: one.measured)
    axes.set_xlabel("formula of time, s")
    axes.set_ylabel("measured, s")
    axes.set_title("time of a cell", fontsize=11, loc="left")
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_locator(LogLocator(subs=(1, 2, 5) if ends[1] < NARROW * ends[0] else (1,)))
        axis.set_major_formatter(FuncFormatter(lambda seconds, _: f"{seconds:g}"))
        axis.set_minor_formatter(FuncFormatter(lambda *_: ""))


def _draw(
    axes: Axes,
    points: Mapping[str, Sequence[_Point]],
    looks: Mapping[str, Mapping[str, Any]],
    *,
    x: Callable[[_Point], float],
    y: Callable[[_Point], float],
) -> None:
    for reader, group in points.items():
        axes.plot(
            [x(one) for one in group],
            [y(one) for one in group],
            label=reader,
            linestyle="none",
            marker=looks[reader]["marker"],
            color=looks[reader]["color"],
            markersize=5,
        )


def _name_readers(figure: Figure, axes: Axes) -> None:
    handles, names = axes.get_legend_handles_labels()
    figure.legend(handles, names, loc="outside upper left", ncols=6)


def _looks(result: SpeedtestResult) -> dict[str, dict[str, Any]]:
    """A reader looks the same in all charts."""
    return {
        reader: {
            "color": LINE_COLOURS[index % len(LINE_COLOURS)],
            "linestyle": LINE_STYLES[index % len(LINE_STYLES)],
            "marker": MARKERS[index % len(MARKERS)],
        }
        for index, reader in enumerate(dict.fromkeys(cell.reader for cell in result.cells))
    }


def _points(result: SpeedtestResult, fit: SpeedtestFit) -> list[_Point]:
    settings: dict[tuple[int, int], list[Any]] = {}
    for one in residuals(result.cells, fit):
        settings.setdefault((one.cell.batch_size, one.cell.batch_count), []).append(one)
    return [
        _Point(
            batch_size=size,
            batch_count=count,
            measured=fmean(one.measured for one in group),
            predicted=fmean(one.predicted for one in group),
            rate_error=fmean(one.rate_error for one in group),
        )
        for (size, count), group in sorted(settings.items())
    ]


def _fit_rows(
    times: Mapping[str, Sequence[_Point]], lines: Mapping[str, Sequence[_Point]]
) -> Iterable[tuple[str, ...]]:
    for reader, points in times.items():
        of_line = {(one.batch_size, one.batch_count): one.rate_error for one in lines.get(reader, [])}
        for one in points:
            line_error = of_line.get((one.batch_size, one.batch_count))
            yield (
                reader,
                str(one.batch_size),
                str(one.batch_count),
                format_short_time(one.measured),
                format_short_time(one.predicted),
                _signed(one.rate_error),
                NOTHING if line_error is None else _signed(line_error),
            )


def _signed(share: float) -> str:
    return f"{share * 100:+.0f} %"
