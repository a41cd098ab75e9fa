"""The confusion matrix as a heat map."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import PowerNorm
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from nodewise.analysis.confusion import Matrix, mixups
from nodewise.core.units import format_count
from nodewise.report.charts import WIDTH_IN, Chart
from nodewise.report.svg import chart_style, to_svg
from nodewise.report.text import NOTHING, percent, printable

__all__ = ["confusion_chart"]

NUMBERED_CLASSES = 20
"""Up to so many classes the counts are written into the squares; there is no room for those of more."""
NAMED_CLASSES = 50
"""Up to so many classes each has its name beside the matrix."""
NAME_LETTERS = 16
PAIRS_SHOWN = 100


def confusion_chart(classes: tuple[str, ...], matrix: Matrix) -> Chart:
    """A row per label, a column per predicted class; the colour is the share of the row."""
    names = [printable(name) for name in classes]
    counts = np.array(matrix, float).reshape(len(classes), len(classes))
    totals = counts.sum(axis=1, keepdims=True)
    shares = np.divide(counts, totals, out=np.zeros_like(counts), where=totals > 0)
    errors = mixups(names, matrix, 3)
    title = "What is taken for what"
    told = [f"{one.label} for {one.predicted} ({format_count(one.records)})" for one in errors]
    summary = f"Most frequent errors: {', '.join(told)}" if errors else "No image was taken for another class"
    size = len(classes)
    with chart_style():
        figure = Figure(figsize=(WIDTH_IN, _height_in(size)), dpi=72, layout="constrained")
        axes = figure.add_subplot()
        # The root makes small shares visible: they are the errors that one looks for.
        drawn = axes.imshow(shares, cmap="Blues", norm=PowerNorm(0.5, 0, 1), interpolation="none", aspect="auto")
        axes.grid(visible=False)
        axes.spines[:].set_visible(False)
        axes.set_xlabel("predicted")
        axes.set_ylabel("label")
        _name_classes(axes, names)
        if size <= NUMBERED_CLASSES:
            _write_counts(axes, counts, shares)
        bar = figure.colorbar(drawn, ax=axes, fraction=0.03, pad=0.02, ticks=[0, 0.01, 0.1, 0.25, 0.5, 1])
        bar.ax.yaxis.set_major_formatter(PercentFormatter(xmax=1, decimals=0, symbol=" %"))
        bar.outline.set_visible(False)
        bar.set_label("of the images with this label")
        svg = to_svg(figure, key="confusion", title=title, summary=summary)
    columns, rows = _matrix_table(names, matrix) if size <= NUMBERED_CLASSES else _pair_table(names, matrix)
    return Chart(title=title, summary=summary, svg=svg, columns=columns, rows=rows)


def _height_in(size: int) -> float:
    return min(max(2.2 + 0.42 * size, 3.0), WIDTH_IN)


def _name_classes(axes: Axes, names: list[str]) -> None:
    size = len(names)
    step = -(-size // NAMED_CLASSES)
    places = range(0, size, step)
    shown = [name if len(name) <= NAME_LETTERS else f"{name[: NAME_LETTERS - 1]}\u2026" for name in names[::step]]
    font = 12 if size <= NUMBERED_CLASSES else 9
    upright = size > 8 or max(map(len, shown)) > 8
    axes.set_xticks(places, shown, fontsize=font, rotation=90 if upright else 0)
    axes.set_yticks(places, shown, fontsize=font)
    axes.tick_params(length=0)


def _write_counts(axes: Axes, counts: np.ndarray, shares: np.ndarray) -> None:
    for label, predicted in zip(*np.nonzero(counts), strict=True):
        axes.text(
            predicted,
            label,
            format_count(counts[label, predicted]),
            ha="center",
            va="center",
            fontsize=11 if len(counts) <= 12 else 8,
            color="white" if shares[label, predicted] > 0.3 else "black",
        )


def _matrix_table(names: list[str], matrix: Matrix) -> tuple[tuple[str, ...], tuple[tuple[str, ...], ...]]:
    rows = tuple(
        (name, *(format_count(count) if count else NOTHING for count in row))
        for name, row in zip(names, matrix, strict=True)
    )
    return ("Label", *names), rows


def _pair_table(names: list[str], matrix: Matrix) -> tuple[tuple[str, ...], tuple[tuple[str, ...], ...]]:
    rows = tuple(
        (one.label, one.predicted, format_count(one.records), percent(one.share, 1))
        for one in mixups(names, matrix, PAIRS_SHOWN)
    )
    return ("Label", "Predicted", "Images", "Of the label"), rows
