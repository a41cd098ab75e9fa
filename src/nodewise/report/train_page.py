"""A training as one HTML file that opens from disk: no script, nothing loaded from outside."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

from nodewise.analysis.training_time import TrainingTime
from nodewise.analysis.training_words import straggler_sentences, time_sentence
from nodewise.core.files import write_atomic
from nodewise.core.units import format_duration, format_rate, format_usd
from nodewise.report.charts import Chart
from nodewise.report.page import drawn, page_environment
from nodewise.report.text import percent, plural
from nodewise.report.train_charts import epochs_chart, ideal_chart, learning_chart, workers_chart
from nodewise.specs.job import TrainSpec
from nodewise.specs.results import TrainResult

__all__ = ["write_train_page"]

LOST_SHOWN = 50
SETTINGS = {
    "model": "model",
    "batch_size": "batch size of all workers",
    "learning_rate": "learning rate for 128 images",
    "scale_lr": "its scaling",
    "optimizer": "optimiser",
    "schedule": "schedule",
    "warmup": "warm-up",
    "checkpoint_every": "checkpoint every",
    "seed": "seed",
}
SETTINGS_OF = {
    "all-reduce": {"compression": "compression", "max_restarts": "most restarts"},
    "average": {"compression": "compression", "average_every": "average every"},
    "parameter-server": {
        "compression": "compression",
        "servers": "servers",
        "workers_per_node": "workers per node",
        "is_async": "asynchronous",
        "max_staleness": "most steps ahead",
    },
}
"""Settings that only a strategy has."""
NONE_MEANS = {
    "learning_rate": "the recipe's",
    "checkpoint_every": "epoch",
    "average_every": "once, at the end",
}


def write_train_page(
    path: Path,
    result: TrainResult,
    analysis: TrainingTime,
    *,
    spec: TrainSpec | None = None,
    cluster: str = "",
    cost_usd: Decimal | None = None,
    cost_note: str = "",
    command: str = "",
) -> None:
    """Write the report; the file is whole or absent.

    Args:
        analysis: Of the result; without workers' times the page tells the rest.
        spec: The settings; None: those that the result tells.
        cluster: What it ran on, in words.
        cost_usd: None: not known.
        cost_note: What the cost is, such as ``if run on m5.large at this speed``.
        command: What was typed, to train again.
    """
    page = page_environment()
    page.filters.update(rate=format_rate, money=format_usd)
    write_atomic(
        path,
        page.get_template("train.html.jinja").render(
            result=result,
            time=analysis,
            outcome=_outcome(result),
            sentence=time_sentence(analysis),
            stragglers=straggler_sentences(analysis),
            settings=_settings(spec, result.strategy),
            lost=result.lost[:LOST_SHOWN],
            charts=[drawn(chart) for chart in _charts(result, analysis)],
            cluster=cluster,
            cost_usd=cost_usd,
            cost_note=cost_note,
            command=command,
        ),
    )


def _charts(result: TrainResult, time: TrainingTime) -> list[Chart]:
    charts = [learning_chart(result.epochs)]
    if time.total is not None:
        several = len(time.workers) > 1
        if several:
            charts += [workers_chart(time), ideal_chart(time, time.total)]
        if not several or len(time.epochs) > 1:
            charts.append(epochs_chart(time))
    return [chart for chart in charts if chart is not None]


def _outcome(result: TrainResult) -> str:
    """What the model can do, after what, in a sentence."""
    after = f"after {plural(len(result.epochs), 'epoch')} in {format_duration(result.seconds)}"
    if result.accuracy is not None:
        return f"The model has {percent(result.accuracy, 1)} of the held-out images right {after}."
    if result.epochs:
        right = percent(result.epochs[-1].train_accuracy, 1)
        return f"The model has {right} of the training images right {after}; no images were held out."
    return "No epoch was completed."


def _settings(spec: TrainSpec | None, strategy: str) -> list[tuple[str, str]]:
    """The settings that the result does not tell, as they were asked for."""
    if spec is None:
        return []
    names = SETTINGS | SETTINGS_OF.get(strategy, {})
    return [(words, _value(name, getattr(spec, name))) for name, words in names.items()]


def _value(name: str, value: object) -> str:
    match value:
        case None:
            return NONE_MEANS[name]
        case bool():
            return "yes" if value else "no"
        case 0 if name == "checkpoint_every":
            return "never"
        case int() if name in ("checkpoint_every", "average_every"):
            return plural(value, "step")
        case float():
            return f"{value:g}"
        case _:
            return str(value)
