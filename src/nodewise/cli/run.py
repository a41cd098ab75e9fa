"""``nodewise run``."""

from __future__ import annotations

import sys
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any

import typer

from nodewise.cli.options import DebugOption, JsonOption, WorkspaceOption
from nodewise.cli.output import console, emit, one_line, say
from nodewise.cli.place import placed
from nodewise.cli.progress import RichProgress
from nodewise.core.errors import ProgramFailedError
from nodewise.core.units import format_duration

if TYPE_CHECKING:
    from nodewise.specs.results import CommandResult

__all__ = ["run"]


class KindChoice(StrEnum):
    """Kinds of programs."""

    AUTO = "auto"
    SPARK = "spark"
    RAY = "ray"
    NOTEBOOK = "notebook"
    PROGRAM = "program"


@placed
def run(
    command: Annotated[list[str], typer.Argument(metavar="COMMAND", help="The program and its arguments.")],
    kind: Annotated[
        KindChoice, typer.Option(help="What kind of program it is; auto looks at what the script imports.")
    ] = KindChoice.AUTO,
    output: Annotated[
        str | None,
        typer.Option(
            "--output",
            "-o",
            metavar="FOLDER",
            help="For logs, event log and executed notebook, and $NODEWISE_OUTPUT; by default the run's folder.",
        ),
    ] = None,
    *,
    place: dict[str, Any],
    workspace: WorkspaceOption = None,
    json: JsonOption = None,
    _debug: DebugOption = False,
) -> None:
    """Run any program on a cluster, under the meter.

    A PySpark script goes through spark-submit, a Ray script to Ray's job server, a notebook is executed cell by cell;
    all else runs on the first node. Put -- before the program: options after it are the program's.
    """
    import nodewise

    try:
        with RichProgress() as progress:
            result = nodewise.run(
                command,
                kind=kind.value,
                output=output,
                stdout=sys.stderr.buffer if json == "-" else sys.stdout.buffer,
                stderr=sys.stderr.buffer,
                workspace=workspace,
                progress=progress,
                **place,
            )
    except ProgramFailedError as error:
        emit("run", error.result, json, error)
        say(f"error: {error.message}")
        say(f"hint: {error.hint}")
        raise typer.Exit(error.exit_code) from None
    _tell(result)
    emit("run", result, json)


def _tell(result: CommandResult) -> None:
    """What became of it, on standard error: standard output is the program's."""
    output = console(stderr=True)
    took = f"{format_duration(result.seconds)}, after {format_duration(result.start_up_seconds)} of start-up"
    counts = f"{result.stages} stages, {result.tasks} tasks" + (
        f", {result.failed_tasks} failed" if result.failed_tasks else ""
    )
    output.print(f"{result.kind}: {took}; {counts}", soft_wrap=True)
    for note in result.notes:
        output.print(f"note: {one_line(note)}", soft_wrap=True)
    output.print(f"Run: {result.run_id}; its output: {result.stdout_path}", soft_wrap=True)
