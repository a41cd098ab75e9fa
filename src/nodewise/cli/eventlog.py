"""``nodewise import-eventlog``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from nodewise.cli.options import DebugOption, JsonOption, WorkspaceOption
from nodewise.cli.output import console, emit, one_line
from nodewise.cli.progress import RichProgress
from nodewise.core.units import format_count, format_duration, format_ratio
from nodewise.report.text import percent, plural

if TYPE_CHECKING:
    from rich.table import Table

    from nodewise.specs.results import EventLogResult

__all__ = ["import_eventlog"]

UNREADABLE_SHOWN = 3


def import_eventlog(
    file: Annotated[
        str, typer.Argument(metavar="FILE", help="Event log of a Spark application, or the folder of a rolling one.")
    ],
    again: Annotated[bool, typer.Option("--again", help="Import it also if the application was before.")] = False,
    workspace: WorkspaceOption = None,
    json: JsonOption = None,
    _debug: DebugOption = False,
) -> None:
    """Bring a Spark application that ran elsewhere into the workspace, as a run.

    Reads logs of Spark 2 to 4 from Databricks, Dataproc, EMR and others; plain, gzip, zstd, LZ4 or Snappy.
    """
    import nodewise

    with RichProgress() as progress:
        result = nodewise.import_eventlog(file, again=again, workspace=workspace, progress=progress)
    output = console(stderr=json == "-")
    output.print(_facts_table(result))
    if result.longest_stages:
        output.print()
        output.print(_stages_table(result))
    output.print()
    if result.imported_before:
        output.print("This application was imported before; --again does it once more.")
    output.print(f"More: nodewise runs show {result.run_id}", soft_wrap=True)
    emit("import-eventlog", result, json)


def _facts_table(result: EventLogResult) -> Table:
    from rich.table import Table

    table = Table.grid(padding=(0, 2, 0, 0))
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for name, value in _facts(result).items():
        table.add_row(name, one_line(value))
    for note in result.notes:
        table.add_row("note", one_line(note))
    for line in result.unreadable[:UNREADABLE_SHOWN]:
        table.add_row("unreadable", one_line(f"{line.file}, line {line.line}: {line.reason}"))
    if (rest := result.unreadable_lines - len(result.unreadable[:UNREADABLE_SHOWN])) > 0:
        table.add_row("unreadable", f"and {plural(rest, 'more line')}")
    return table


def _facts(result: EventLogResult) -> dict[str, str]:
    name = f" ({result.app_name})" if result.app_name else ""
    apart = {"killed": result.killed_tasks, "of them to make lost output again": result.resubmitted_tasks}
    failed = "".join(f", {format_count(count)} {what}" for what, count in apart.items() if count)
    facts = {
        "application": f"{result.app_id or 'unknown'}{name}",
        "Spark": result.spark_version or "unknown",
        "status": result.status.lower() + (f": {result.failure}" if result.failure else ""),
        "stages": format_count(result.stages),
        "tasks": f"{format_count(result.tasks)}, {format_count(result.failed_tasks)} failed{failed}",
        "executors": f"{format_count(result.executors)}, at most {plural(result.cores, 'core')} at a time",
        "time": format_duration(result.seconds),
        "tasks ran": f"{format_duration(result.executor_run_seconds)}, on the CPU "
        f"{format_duration(result.executor_cpu_seconds)}",
    }
    if result.busy_fraction is not None:
        facts["busy"] = f"{percent(result.busy_fraction, 1)} of the time of all cores"
    return facts


def _stages_table(result: EventLogResult) -> Table:
    from rich.table import Table

    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column("LONGEST STAGES", overflow="fold")
    for header in ("TIME", "TASKS", "MEDIAN TASK", "LONGEST", "SKEW"):
        table.add_column(header, justify="right", no_wrap=True)
    for stage in result.longest_stages:
        median_s, max_s = stage.median_task_seconds, stage.max_task_seconds
        table.add_row(
            one_line(stage.name),
            format_duration(stage.seconds),
            format_count(stage.tasks),
            format_duration(median_s),
            format_duration(max_s),
            format_ratio(max_s / median_s) if median_s > 0 else "",
        )
    return table
