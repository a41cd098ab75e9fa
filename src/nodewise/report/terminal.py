"""Comparisons and job results in the terminal. Names are printed as they are: nothing in them is taken for markup."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Sequence

from rich.console import Console
from rich.table import Table
from rich.text import Text

from nodewise.analysis.confusion import worst_classes
from nodewise.analysis.score_words import quality_sentence, speed_sentence
from nodewise.analysis.training_time import TrainingTime, analyse_training
from nodewise.analysis.training_words import straggler_sentences, time_sentence
from nodewise.core.units import format_bytes, format_count, format_duration
from nodewise.report import text
from nodewise.report.console import Column, make_table, print_line, print_path
from nodewise.report.usage_rows import Line, NodeRow, mean, node_rows, thinned
from nodewise.specs.results import (
    ComparisonResult,
    PrepareResult,
    ScenarioResult,
    ScoreResult,
    SkippedImage,
    StageResult,
    TrainResult,
)

__all__ = ["render_comparison", "render_prepare", "render_score", "render_train"]

WIDE = 100
"""Columns from which on the table has room for all it can show."""
SHORT_NAME = 12
"""Letters of a stage's name up to which it heads a column."""
SKIPPED_SHOWN = 10
WORST_SHOWN = 3
EPOCHS_SHOWN = 10
"""The last ones; the report has all."""
LOST_SHOWN = 10
SPARKS = " \u2581\u2582\u2583\u2584\u2585\u2586\u2587\u2588"
PLAIN_SPARKS = " .:-=+*#@"
SPARK_COLUMNS = 60


def render_comparison(comparison: ComparisonResult, console: Console) -> None:
    """Print the scenarios, their stages, the verdict and the path of the report; reads well from 80 columns on."""
    print_line(console, f"{comparison.name}: {_headline(comparison)}", style="bold")
    console.print()
    if comparison.scenarios:
        console.print(_scenario_table(comparison, wide=console.width >= WIDE))
        for note in _cost_notes(comparison):
            print_line(console, note)
        console.print()
        console.print(_stage_table(comparison))
        console.print()
    for scenario in comparison.scenarios:
        _where_the_time_went(scenario, console)
    for name, reason in comparison.left_out.items():
        print_line(console, f"left out: {name}: {reason}")
    if comparison.left_out:
        console.print()
    print_line(console, comparison.verdict, style="bold")
    console.print()
    print_path(console, "Report", comparison.report_path)


def render_prepare(result: PrepareResult, console: Console) -> None:
    """Print what ``prepare`` made, how fast, where, and which images it skipped."""
    made = f"{text.plural(result.records, 'image')} of {len(result.classes)} classes"
    print_line(console, f"Prepared {made} {_speed(result.seconds, result.start_up_seconds, result.records_per_s)}")
    size = format_bytes(sum(shard.bytes for shard in result.shards))
    splits = dict.fromkeys(shard.split for shard in result.shards)
    parts = [
        f"{split} {format_count(sum(shard.records for shard in result.shards if shard.split == split))}"
        for split in splits
    ]
    print_line(console, f"{text.plural(len(result.shards), 'shard')}, {size} (images: {', '.join(parts)})")
    print_path(console, "Shards", result.dest)
    _skipped(result.skipped, console)
    _run(result.run_id, result.emulation_tier, console)


def render_train(result: TrainResult, console: Console, *, analysis: TrainingTime | None = None) -> None:
    """Print what ``train`` reached after how many epochs, how fast, what kept it, and where model and report are.

    Args:
        analysis: Of the result; None: made here, without a measured run of one worker.
    """
    workers = f"{text.plural(result.world_size, 'worker')} ({result.strategy})"
    steps = f" ({text.plural(result.steps, 'step')})" if result.steps else ""
    print_line(
        console,
        f"Trained on {text.plural(result.records, 'image')} for {text.plural(len(result.epochs), 'epoch')}{steps} "
        f"with {workers} in {_time(result.seconds, result.start_up_seconds)}",
    )
    if result.epochs:
        table = make_table(
            Column("Epoch"), Column("Loss"), Column("Train accuracy"), Column("Test accuracy"), Column("Time")
        )
        for epoch in result.epochs[-EPOCHS_SHOWN:]:
            table.add_row(
                str(epoch.epoch),
                f"{epoch.loss:.4f}",
                text.percent(epoch.train_accuracy, 1),
                text.percent(epoch.test_accuracy, 1),
                format_duration(epoch.seconds),
            )
        console.print(table)
    for line in _what_kept_training(result, analyse_training(result) if analysis is None else analysis):
        print_line(console, line)
    print_line(console, _accuracy(result.accuracy, "no images were held out"))
    paths = {"Model": result.model_path, "Checkpoints": result.checkpoint_dir, "Report": result.report_path}
    for what, path in paths.items():
        if path:
            print_path(console, what, path)
    _run(result.run_id, result.emulation_tier, console)


def _what_kept_training(result: TrainResult, time: TrainingTime) -> Iterator[str]:
    """Where the time went, who was slow, who was lost."""
    if sentence := time_sentence(time):
        yield sentence
    for straggler in straggler_sentences(time):
        yield f"Straggler: {straggler}"
    if result.resumed_at_step is not None:
        yield f"Resumed: at step {format_count(result.resumed_at_step)}, from an earlier run's checkpoint"
    if result.restarts:
        yield f"Restarts: {result.restarts}, each of all workers from the last checkpoint, since one was lost"
    if result.lost:
        lost = Counter(f"worker {one.rank}{' (came back)' if one.came_back else ''}" for one in result.lost)
        names = [name if times == 1 else f"{name} {times} times" for name, times in lost.items()]
        more = f" and {len(names) - LOST_SHOWN} more" if len(names) > LOST_SHOWN else ""
        yield f"Lost while the others went on: {', '.join(names[:LOST_SHOWN])}{more}"


def render_score(result: ScoreResult, console: Console) -> None:
    """Print how many images were right, which classes were not, how fast it was, and where predictions and page are."""
    what = f"{text.plural(result.records, 'image')} ({result.split})"
    print_line(console, f"Scored {what} {_speed(result.seconds, result.start_up_seconds, result.records_per_s)}")
    if result.forward_records_per_s:
        print_line(console, speed_sentence(result))
    print_line(console, _accuracy(result.accuracy, "the images have no labels"))
    worst = worst_classes(result.classes, WORST_SHOWN)
    if len(result.classes) > 1 and worst:
        table = make_table(
            Column("Recognised least", "left", folds=True), Column("Images"), Column("Recall"), Column("Precision")
        )
        for one in worst:
            name = Text(text.printable(one.name))
            shares = (text.percent(one.recall, 1), text.percent(one.precision, 1))
            table.add_row(name, format_count(one.records), *shares)
        console.print(table)
        print_line(console, quality_sentence(result))
    print_path(console, "Predictions", result.predictions_path)
    if result.report_path:
        print_path(console, "Report", result.report_path)
    _run(result.run_id, result.emulation_tier, console)


def _headline(comparison: ComparisonResult) -> str:
    if not comparison.scenarios:
        return "no scenario ran"
    if not any(scenario.emulated for scenario in comparison.scenarios):
        return text.plural(len(comparison.scenarios), "scenario")
    some = "nodes" if all(scenario.emulated for scenario in comparison.scenarios) else "some nodes"
    cores = text.plural(comparison.machine_cores, "core")
    return f"{text.plural(len(comparison.scenarios), 'scenario')}, {some} emulated on this machine ({cores})"


def _scenario_table(comparison: ComparisonResult, *, wide: bool) -> Table:
    start_up, cost = (["Start-up"], ["Cost", "Cost ratio"]) if wide else ([], ["Cost\n(ratio)"])
    # Nothing was trained where a program was run.
    has_accuracy = any(scenario.accuracy is not None for scenario in comparison.scenarios)
    headers = ["Nodes", "Time", *start_up, "Speedup", "Efficiency", *cost, *(["Accuracy"] if has_accuracy else [])]
    table = make_table(Column("Scenario", "left", folds=True), *map(Column, headers))
    for scenario in comparison.scenarios:
        table.add_row(
            Text(_name(scenario, comparison)),
            str(scenario.nodes),
            _time_cell(scenario),
            *([format_duration(scenario.start_up_seconds)] if wide else []),
            text.ratio(comparison.speedup.get(scenario.name)),
            text.percent(comparison.efficiency.get(scenario.name)),
            *_cost_cells(scenario, comparison, wide=wide),
            *([text.percent(scenario.accuracy, 1)] if has_accuracy else []),
            style="bold" if scenario.name == comparison.baseline else None,
        )
    return table


def _name(scenario: ScenarioResult, comparison: ComparisonResult) -> str:
    remarks = ["baseline"] if scenario.name == comparison.baseline else []
    # Where all are, the first line says so.
    if scenario.emulated and not all(one.emulated for one in comparison.scenarios):
        remarks.append("emulated")
    name = text.printable(scenario.name)
    return f"{name}\n({', '.join(remarks)})" if remarks else name


def _time_cell(scenario: ScenarioResult) -> str:
    median = format_duration(scenario.seconds)
    if scenario.repeats == 1:
        return median
    return f"{median}\n{text.seconds_range(scenario.seconds_min, scenario.seconds_max)}"


def _cost_cells(scenario: ScenarioResult, comparison: ComparisonResult, *, wide: bool) -> list[str]:
    cost, ratio = text.usd(scenario.cost_usd), comparison.cost_ratio.get(scenario.name)
    if wide:
        return [cost, text.ratio(ratio)]
    return [cost if ratio is None else f"{cost}\n({text.ratio(ratio)})"]


def _cost_notes(comparison: ComparisonResult) -> list[str]:
    conditions = dict.fromkeys(text.condition(scenario) for scenario in comparison.scenarios)
    return [f"Cost of emulated scenarios: {condition}, not a bill." for condition in conditions if condition]


def _stage_table(comparison: ComparisonResult) -> Table:
    """A row per scenario; of stages whose names are long, as those of programs are, a row per stage."""
    stages = text.long_stages(comparison)
    rest = any(text.other_stages_s(scenario, stages) for scenario in comparison.scenarios)
    parts = ["start-up", *map(text.printable, stages), *([text.OTHER_STAGES] if rest else []), "stop"]
    cells = [_part_cells(scenario, stages, rest=rest) for scenario in comparison.scenarios]
    names = [text.printable(scenario.name) for scenario in comparison.scenarios]
    if max(map(len, parts)) > SHORT_NAME:
        table = make_table(Column("Time", "left", folds=True), *(Column(name, "right", folds=True) for name in names))
        for number, part in enumerate(parts):
            table.add_row(Text(part), *(row[number] for row in cells))
        return table
    table = make_table(Column("Time and records/s", "left", folds=True), *map(Column, parts))
    for name, row in zip(names, cells, strict=True):
        table.add_row(Text(name), *row)
    return table


def _part_cells(scenario: ScenarioResult, stages: Sequence[str], *, rest: bool) -> list[str]:
    """The times of start-up, stages, other stages and stop."""
    measured = {stage.name: stage for stage in scenario.stages}
    return [
        format_duration(scenario.start_up_seconds),
        *(_stage_cell(measured[name]) if name in measured else text.NOTHING for name in stages),
        *([format_duration(text.other_stages_s(scenario, stages))] if rest else []),
        format_duration(scenario.stop_seconds),
    ]


def _stage_cell(stage: StageResult) -> str:
    time = format_duration(stage.seconds)
    # A program counts no records.
    return f"{time}\n{format_count(stage.records_per_s)}/s" if stage.records else time


def _where_the_time_went(scenario: ScenarioResult, console: Console) -> None:
    """One line with the split, one with what limits it, and of each node's CPU a line over time."""
    if not scenario.time_split:
        return
    print_line(console, f"{scenario.name}: {text.split_words(scenario)}", style="bold")
    print_line(console, scenario.limit_sentence)
    usage = scenario.usage
    if usage is not None:
        rows = [(row, _cpu_cores(row)) for row in node_rows(usage)]
        highest = max((value or 0.0 for row, line in rows if not row.apart for value in line), default=0.0)
        label = max(len(row.name) for row, _ in rows)
        first = int(usage.start_up_s / usage.step_s)
        for row, line in rows:
            scale = (usage.cpus or highest) if not row.apart else max(value or 0.0 for value in line)
            columns = min(SPARK_COLUMNS, console.width - label - 28)
            sparks = _sparks(thinned(line, columns), scale, plain=console.options.ascii_only)
            limit = f" of {usage.cpus:g}" if usage.cpus is not None and not row.apart else ""
            print_line(console, f"  {row.name:<{label}} {sparks} {mean(line[first:]) or 0.0:.2f}{limit} cores busy")
    console.print()


def _cpu_cores(row: NodeRow) -> list[float | None]:
    return [mean(values) for values in zip(*(node.cpu_cores for node in row.nodes), strict=True)]


def _sparks(line: Line, scale: float, *, plain: bool) -> str:
    levels = PLAIN_SPARKS if plain else SPARKS
    highest = len(levels) - 1
    return "".join(
        levels[0] if value is None or scale <= 0 else levels[min(highest, math.ceil(value / scale * highest - 0.05))]
        for value in line
    )


def _skipped(skipped: Sequence[SkippedImage], console: Console) -> None:
    if not skipped:
        return
    verb = "was" if len(skipped) == 1 else "were"
    print_line(console, f"{text.plural(len(skipped), 'image')} could not be decoded and {verb} skipped:", style="bold")
    for image in skipped[:SKIPPED_SHOWN]:
        print_line(console, f"  {image.path}: {image.reason}", whole=True)
    if len(skipped) > SKIPPED_SHOWN:
        print_line(console, f"  and {format_count(len(skipped) - SKIPPED_SHOWN)} more")


def _speed(seconds: float, start_up_seconds: float, records_per_s: float) -> str:
    return f"in {_time(seconds, start_up_seconds)}, {format_count(records_per_s)}/s"


def _time(seconds: float, start_up_seconds: float) -> str:
    return f"{format_duration(seconds)} (and {format_duration(start_up_seconds)} to start)"


def _accuracy(accuracy: float | None, why_none: str) -> str:
    return f"Accuracy: {text.percent(accuracy, 1)}" if accuracy is not None else f"Accuracy: not known, {why_none}"


def _run(run_id: str, emulation_tier: str | None, console: Console) -> None:
    if emulation_tier == "processes":
        print_line(console, "Nodes: emulated, not isolated: nothing held one to its share (processes)")
    elif emulation_tier is not None:
        print_line(console, f"Nodes: emulated, each held to its share ({emulation_tier})")
    if run_id:
        print_line(console, f"Run: {run_id}")
