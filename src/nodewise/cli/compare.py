"""``nodewise compare`` and ``nodewise demo``."""

from __future__ import annotations

from importlib.resources import as_file, files
from typing import Annotated

import typer

from nodewise.cli.options import DebugOption, JsonOption, WorkspaceOption
from nodewise.cli.output import console, emit, say
from nodewise.cli.progress import RichProgress
from nodewise.core.errors import JobFailedError

__all__ = ["compare", "demo"]

ReportOption = Annotated[
    str | None, typer.Option(metavar="FILE", help="Where to write the HTML report; by default in the workspace.")
]


PreflightOption = Annotated[
    bool, typer.Option("--preflight/--no-preflight", help="Look for what would fail before anything is started.")
]


def compare(
    file: Annotated[str, typer.Argument(help="YAML file with data set, jobs and scenarios; see examples/.")],
    source: Annotated[
        str | None, typer.Option(help="Images to use instead of those that the file names.", show_default=False)
    ] = None,
    repeat: Annotated[
        int | None,
        typer.Option(help="Runs per scenario: median and spread from two on; by default what the file says."),
    ] = None,
    report: ReportOption = None,
    preflight: PreflightOption = True,
    workspace: WorkspaceOption = None,
    json: JsonOption = None,
    _debug: DebugOption = False,
) -> None:
    """Run the same jobs in every scenario of a file.

    Time, cost, speedup and accuracy are put side by side, here and in an HTML report.
    """
    _run(
        "compare",
        file,
        source=source,
        repeat=repeat,
        report=report,
        preflight=preflight,
        workspace=workspace,
        json=json,
    )


def demo(
    repeat: Annotated[int, typer.Option(help="Runs per scenario: median and spread from two on.")] = 1,
    report: ReportOption = None,
    preflight: PreflightOption = True,
    workspace: WorkspaceOption = None,
    json: JsonOption = None,
    _debug: DebugOption = False,
) -> None:
    """Compare one node with five, on Spark and on Ray.

    1,797 handwritten digits are prepared, a small network is trained and the held-out images are scored. All nodes are
    emulated on this machine; neither a network nor an account is needed.
    """
    with as_file(files("nodewise").joinpath("demo.yaml")) as file:
        _run(
            "demo",
            str(file),
            source=None,
            repeat=repeat,
            report=report,
            preflight=preflight,
            workspace=workspace,
            json=json,
        )


def _run(
    command: str,
    file: str,
    *,
    source: str | None,
    repeat: int | None,
    report: str | None,
    preflight: bool,
    workspace: str | None,
    json: str | None,
) -> None:
    import nodewise
    from nodewise.report.terminal import render_comparison

    with RichProgress() as progress:
        result = nodewise.compare(
            file,
            source=source,
            repeat=repeat,
            report=report,
            preflight=preflight,
            workspace=workspace,
            progress=progress,
        )
    render_comparison(result, console(stderr=json == "-"))
    if not result.failed:
        emit(command, result, json)
        return
    names = ", ".join(result.failed)
    error = JobFailedError(f"the report is without what failed: {names}", hint="`nodewise runs list` has the reasons")
    emit(command, result, json, error)
    say(f"error: {error.message}")
    say(f"hint: {error.hint}")
    raise typer.Exit(error.exit_code)
