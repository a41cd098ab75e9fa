"""``nodewise speedtest``."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from nodewise.cli.options import DebugOption, JsonOption, WorkspaceOption
from nodewise.cli.output import console, emit
from nodewise.cli.place import placed
from nodewise.cli.progress import RichProgress

__all__ = ["speedtest"]


@placed
def speedtest(
    data: Annotated[
        list[str], typer.Argument(help="Folders of image files or shards, archives, or names of data sets.")
    ],
    batch_sizes: Annotated[str, typer.Option(metavar="LIST", help="Images per batch.")] = "2,4,6,8",
    batch_counts: Annotated[str, typer.Option(metavar="LIST", help="Batches per measurement.")] = "3,6,12,18",
    repeat: Annotated[int, typer.Option(help="Measurements of each combination.")] = 3,
    reader: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME",
            help="nodewise, tf.data, torch, webdataset or ray.data; repeatable; by default all that are installed.",
        ),
    ] = None,
    size: Annotated[int, typer.Option(help="Side of the square that image files are brought to, in pixels.")] = 192,
    cold: Annotated[
        bool | None,
        typer.Option(
            "--cold/--warm",
            help="Drop the files from the page cache before each measurement, or read them once before the first; "
            "by default the cache is taken as it is.",
            show_default=False,
        ),
    ] = None,
    cache: Annotated[
        bool, typer.Option("--cache/--no-cache", help="On Spark, keep the measurements for the averages.")
    ] = True,
    seed: Annotated[int, typer.Option(help="Of the order in which the measurements are made.")] = 0,
    output: Annotated[
        str | None,
        typer.Option("--output", "-o", metavar="FILE", help="For the HTML report; by default in the workspace."),
    ] = None,
    *,
    place: dict[str, Any],
    workspace: WorkspaceOption = None,
    json: JsonOption = None,
    _debug: DebugOption = False,
) -> None:
    """Measure how fast readers deliver images from files and shards.

    Every measurement proves what it read. On one node they run one after another, on several side by side.
    """
    import nodewise
    from nodewise.report.speedtest_terminal import render_speedtest

    with RichProgress() as progress:
        result = nodewise.speedtest(
            *data,
            batch_sizes=_numbers("--batch-sizes", batch_sizes),
            batch_counts=_numbers("--batch-counts", batch_counts),
            repeat=repeat,
            readers=reader or None,
            size=size,
            cold=cold,
            cache=cache,
            seed=seed,
            report=output,
            workspace=workspace,
            progress=progress,
            **place,
        )
    emit("speedtest", result, json)
    render_speedtest(result, console(stderr=json == "-"))


def _numbers(option: str, text: str) -> list[int]:
    """``2,4,6,8``."""
    try:
        return [int(part) for part in text.split(",")]
    except ValueError:
        raise typer.BadParameter(f"{option} {text!r} is not a list of whole numbers such as 2,4,6,8") from None
