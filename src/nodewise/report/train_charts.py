"""The charts of a training: its curves, where its workers' time went, and what keeps it from the ideal."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from itertools import count
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, PercentFormatter

from nodewise.analysis.speedtest_words import format_share, format_short_time
from nodewise.analysis.training_time import KINDS, Span, TrainingTime
from nodewise.analysis.training_words import KIND_NAMES, MISSING_NAMES, how_one_is_known, times_text
from nodewise.core.units import format_bytes, format_count, format_duration
from nodewise.report.charts import LINE_COLOURS, WIDTH_IN, Chart, write_on_bar
from nodewise.report.svg import chart_style, to_svg
from nodewise.report.text import NOTHING, percent, plural
from nodewise.specs.results import EpochResult

__all__ = ["epochs_chart", "ideal_chart", "learning_chart", "workers_chart"]

KIND_LOOKS = {
    "compute": ("#0072B2", ""),
    "data": ("#E69F00", "\\\\"),
    "communicate": ("#CC79A7", "++"),
    "wait": ("#F0E442", "//"),
    "checkpoint": ("#009E73", "||"),
    "evaluate": ("#56B4E9", ".."),
    "rest": ("#FFFFFF", ""),
}
IDEAL_LOOK = ("#0072B2", "")
REAL_LOOK = ("#999999", "xx")
MARKED = 30
"""Epochs up to which each has a marker, and columns up to which each stands apart."""
WRITTEN = 8
"""Columns up to which the parts have their seconds written in them."""
TICKS = 32
"""Most columns that have their numbers below them."""
LEAST_COLUMNS = 4
"""So many have room, so that one alone is no block."""


def learning_chart(epochs: Sequence[EpochResult]) -> Chart | None:
    """Loss and accuracies after each epoch; None without one."""
    if not epochs:
        return None
    title = "Learning curves"
    last = epochs[-1]
    held_out = "" if last.test_accuracy is None else f" and {percent(last.test_accuracy, 1)} of the held-out ones"
    right = f"{percent(last.train_accuracy, 1)} of the training images{held_out}"
    summary = f"After epoch {last.epoch} the loss is {last.loss:.3f}; {right} are right"
    numbers = [epoch.epoch for epoch in epochs]
    train_look, test_look = (
        {
            "color": colour,
            "linestyle": style,
            "marker": marker if len(epochs) <= MARKED else "",
            "linewidth": 1.8,
            "markersize": 6,
        }
        for colour, style, marker in ((LINE_COLOURS[0], "-", "o"), (LINE_COLOURS[1], "--", "s"))
    )
    with chart_style():
        figure = Figure(figsize=(WIDTH_IN, 3.8), dpi=72, layout="constrained")
        loss_axes, accuracy_axes = figure.subplots(1, 2)
        loss_axes.plot(numbers, [epoch.loss for epoch in epochs], **train_look)
        loss_axes.set_ylim(bottom=0)
        accuracy_axes.plot(numbers, [epoch.train_accuracy for epoch in epochs], label="training images", **train_look)
        tested = [(epoch.epoch, epoch.test_accuracy) for epoch in epochs if epoch.test_accuracy is not None]
        if tested:
            accuracy_axes.plot(
                [number for number, _ in tested], [share for _, share in tested], label="held-out images", **test_look
            )
        shares = [epoch.train_accuracy for epoch in epochs] + [share for _, share in tested]
        accuracy_axes.set_ylim(math.floor(10 * min(shares)) / 10 - 0.01, math.ceil(10 * max(shares)) / 10 + 0.01)
        accuracy_axes.yaxis.set_major_formatter(PercentFormatter(xmax=1, decimals=0, symbol=" %"))
        figure.legend(loc="outside upper right", ncols=2, handlelength=3)
        for axes, name in ((loss_axes, "training loss"), (accuracy_axes, "accuracy")):
            axes.set_title(name, loc="left", fontsize=12)
            axes.set_xlabel("epoch")
            axes.set_xlim(numbers[0] - 0.5, numbers[-1] + 0.5)
            axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
        svg = to_svg(figure, key="learning", title=title, summary=summary)
    return Chart(
        title=title,
        summary=summary,
        svg=svg,
        columns=("Epoch", "Loss", "Training accuracy", "Test accuracy", "Seconds"),
        rows=tuple(
            (
                str(epoch.epoch),
                f"{epoch.loss:.4f}",
                percent(epoch.train_accuracy, 1),
                percent(epoch.test_accuracy, 1),
                f"{epoch.seconds:.2f}",
            )
            for epoch in epochs
        ),
    )


def workers_chart(time: TrainingTime) -> Chart:
    """A column per worker: what it spent its time on over all epochs; with the speed of stragglers above theirs."""
    workers = time.workers
    title = "Where the workers' time went"
    longest = max(workers, key=lambda worker: worker.total_s)
    summary = f"{plural(len(workers), 'worker')}, the longest {format_duration(longest.total_s)}: " + _shares(
        [worker.seconds for worker in workers]
    )
    with chart_style():
        figure, axes = _columns([worker.seconds for worker in workers], [worker.rank for worker in workers], "worker")
        for column, worker in enumerate(workers):
            if worker.is_straggler:
                speed = f"{1 / (worker.slowness or 1):.2f}x speed"
                axes.text(column, 1.01 * worker.total_s, speed, ha="center", va="bottom", weight="bold", fontsize=11)
        if time.total is not None and len(workers) > 1:
            axes.axhline(time.total.ideal_s, color="#000000", linestyle="--", linewidth=1.4, label="ideal")
        svg = _with_legend(figure, key="workers", title=title, summary=summary)
    return Chart(
        title=title,
        summary=summary,
        svg=svg,
        columns=("Seconds of worker", *KIND_NAMES.values(), "all", "Images", "Compute per image", "vs others", "Sent"),
        rows=tuple(
            (
                f"{worker.rank} on {worker.node}",
                *(f"{worker.seconds[kind]:.2f}" for kind in KINDS),
                f"{worker.total_s:.2f}",
                format_count(worker.records),
                NOTHING if worker.record_s is None else format_short_time(worker.record_s),
                NOTHING if worker.slowness is None else f"{worker.slowness:.2f}x",
                format_bytes(worker.sent_bytes),
            )
            for worker in workers
        ),
    )


def epochs_chart(time: TrainingTime) -> Chart:
    """A column per epoch: what the worker that the others waited for spent its time on."""
    alone = len(time.workers) == 1
    spans = time.epochs
    title = "Where the time went, epoch by epoch"
    of = "" if alone else " of the worker that the others waited for"
    summary = f"{plural(len(spans), 'epoch')}{of}: {_shares([span.real for span in spans.values()])}"
    with chart_style():
        figure, _ = _columns([span.real for span in spans.values()], list(spans), "epoch")
        svg = _with_legend(figure, key="epochs", title=title, summary=summary)
    return Chart(
        title=title,
        summary=summary,
        svg=svg,
        columns=(
            "Seconds of epoch",
            *KIND_NAMES.values(),
            "all",
            *(() if alone else ("ideal", "Speedup", "Awaited worker")),
        ),
        rows=tuple(
            (
                str(epoch),
                *(f"{span.real[kind]:.2f}" for kind in KINDS),
                f"{span.real_s:.2f}",
                *(() if alone else (f"{span.ideal_s:.2f}", times_text(span.speedup), str(span.awaited))),
            )
            for epoch, span in spans.items()
        ),
    )


def ideal_chart(time: TrainingTime, total: Span) -> Chart:
    """From the ideal time to the real one, a step for each kind of time that is missing."""
    title = "Ideal against real"
    known = "measured" if time.is_measured else "estimated"
    missing = total.missing_s
    kinds = [kind for kind in MISSING_NAMES if abs(missing[kind]) >= 0.001 * total.real_s]
    summary = (
        f"{total.workers} workers could take {format_duration(total.ideal_s)} ({known}) and took "
        f"{format_duration(total.real_s)}. {how_one_is_known(time)}"
    ).removesuffix(".")
    names = [f"ideal ({known})", *(MISSING_NAMES[kind] for kind in kinds), "real"]
    starts, ends = [0.0], [total.ideal_s]
    for kind in kinds:
        starts.append(ends[-1])
        ends.append(ends[-1] + missing[kind])
    starts.append(0.0)
    ends.append(total.real_s)
    looks = [IDEAL_LOOK, *(KIND_LOOKS[kind] for kind in kinds), REAL_LOOK]
    room = max(*starts, *ends)
    with chart_style():
        figure = Figure(figsize=(WIDTH_IN, 1.0 + 0.42 * len(names)), dpi=72, layout="constrained")
        axes = figure.add_subplot()
        axes.grid(visible=False, axis="y")
        for row, (start, end, (colour, hatch)) in enumerate(zip(starts, ends, looks, strict=True)):
            axes.barh(
                row, end - start, left=start, height=0.62, color=colour, hatch=hatch, edgecolor="#333333", linewidth=0.6
            )
            sign = ("+" if end > start else "-") if 0 < row < len(names) - 1 else ""
            told = f"{sign}{format_duration(abs(end - start))}"
            axes.text(max(start, end) + 0.01 * room, row, told, va="center", weight="bold")
            if row < len(names) - 1:
                axes.plot([end, end], [row + 0.31, row + 0.69], color="#333333", linewidth=0.8)
        axes.set_yticks(range(len(names)), names)
        axes.tick_params(axis="y", length=0)
        axes.invert_yaxis()
        axes.set_xlim(0, 1.2 * room)
        axes.set_xlabel("seconds, all epochs together")
        svg = to_svg(figure, key="ideal", title=title, summary=summary)
    return Chart(
        title=title,
        summary=summary,
        svg=svg,
        columns=("What", "Seconds", "Of the speedup"),
        rows=(
            ("one worker would take", f"{total.ideal_s * total.workers:.2f}", times_text(1.0)),
            (f"ideal: {total.workers} workers", f"{total.ideal_s:.2f}", times_text(total.workers)),
            *(
                (MISSING_NAMES[kind], f"{missing[kind]:+z.2f}", f"{-total.missing_speedup[kind]:+z.2f}x")
                for kind in KINDS
            ),
            ("real", f"{total.real_s:.2f}", times_text(total.speedup)),
        ),
    )


def _columns(columns: Sequence[Mapping[str, float]], numbers: Sequence[int], what: str) -> tuple[Figure, Axes]:
    """Stacked columns of seconds by kind; those but compute that none has are left out."""
    tallest = max((sum(column.values()) for column in columns), default=0.0) or 1.0
    figure = Figure(figsize=(WIDTH_IN, 4.4), dpi=72, layout="constrained")
    axes = figure.add_subplot()
    axes.grid(visible=False, axis="x")
    bottom = [0.0] * len(columns)
    for kind, (colour, hatch) in KIND_LOOKS.items():
        # Clocks that overlap make a rest a little below zero.
        heights = [max(0.0, column[kind]) for column in columns]
        if kind != "compute" and max(heights) < 0.0005 * tallest:
            continue
        top = [start + height for start, height in zip(bottom, heights, strict=True)]
        look: dict[str, Any] = {"hatch": hatch, "edgecolor": "#333333", "label": KIND_NAMES[kind]}
        if len(columns) <= MARKED:
            axes.bar(range(len(columns)), heights, bottom=bottom, width=0.72, color=colour, linewidth=0.6, **look)
        else:
            # One shape for all columns: with a shape for each the page would be slow to open.
            edges = [column - 0.5 for column in range(len(columns) + 1)]
            axes.stairs(top, edges, baseline=bottom, fill=True, facecolor=colour, linewidth=0.4, **look)
        for column, height in enumerate(heights):
            if height > 0.06 * tallest and len(columns) <= WRITTEN:
                write_on_bar(axes, column, bottom[column] + height / 2, format_duration(height))
        bottom = top
    step = next(size for size in _round_numbers() if len(columns) <= TICKS * size)
    ticks = [column for column, number in enumerate(numbers) if number % step == 0]
    axes.set_xticks(ticks, [str(numbers[column]) for column in ticks])
    axes.tick_params(axis="x", length=0)
    spare = max(0.0, (LEAST_COLUMNS - len(columns)) / 2)
    axes.set_xlim(-0.6 - spare, len(columns) - 0.4 + spare)
    axes.set_ylim(0, 1.08 * tallest)
    axes.set_xlabel(what)
    axes.set_ylabel("seconds")
    return figure, axes


def _round_numbers() -> Iterator[int]:
    """1, 2, 5, 10, 20, 50, ..."""
    return (size * 10**power for power in count() for size in (1, 2, 5))


def _with_legend(figure: Figure, *, key: str, title: str, summary: str) -> str:
    figure.legend(loc="outside upper left", ncols=4, handlelength=1.6, fontsize=11)
    return to_svg(figure, key=key, title=title, summary=summary)


def _shares(columns: Sequence[Mapping[str, float]]) -> str:
    all_s = sum(sum(column.values()) for column in columns)
    shares = {kind: sum(column[kind] for column in columns) / all_s if all_s > 0 else 0.0 for kind in KINDS}
    return ", ".join(f"{KIND_NAMES[kind]} {format_share(share)}" for kind, share in shares.items() if share >= 0.005)
