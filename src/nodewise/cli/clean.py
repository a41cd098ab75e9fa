"""``nodewise clean``: what nobody needs any more."""

from __future__ import annotations

import sys
from datetime import timedelta
from typing import TYPE_CHECKING, Annotated

import typer

from nodewise.cli.options import DebugOption, JsonOption, WorkspaceOption, open_workspace
from nodewise.cli.output import emit, say, show
from nodewise.core.errors import InputError, NodewiseError
from nodewise.core.units import format_bytes, parse_duration

if TYPE_CHECKING:
    from rich.console import RenderableType

    from nodewise.clusters.clean import RestItem
    from nodewise.workspace import Workspace

__all__ = ["clean"]

DEFAULT_AGE = "30d"


def clean(
    clusters: Annotated[
        bool, typer.Option("--clusters", help="Clusters that are up and idle, and what is left of any that are gone.")
    ] = False,
    data: Annotated[bool, typer.Option("--data", help="Files that were not written or fetched to their end.")] = False,
    runs: Annotated[bool, typer.Option("--runs", help="Old runs, with their files.")] = False,
    older_than: Annotated[
        str | None,
        typer.Option(metavar="TIME", help=f"With --runs: that began so long ago; {DEFAULT_AGE}.", show_default=False),
    ] = None,
    yes: Annotated[bool, typer.Option("-y", "--yes", help="Do not ask.")] = False,
    json_path: JsonOption = None,
    workspace: WorkspaceOption = None,
    _debug: DebugOption = False,
) -> None:
    """List what is left of clusters and jobs, then remove it; without options --clusters and --data.

    What is in use is never touched.
    """
    if older_than is not None and not runs:
        raise InputError("--older-than is for runs", hint="add --runs; nothing was removed")
    home = open_workspace(workspace)
    neither = not (clusters or data or runs)
    age = _age(older_than or DEFAULT_AGE) if runs else None
    found = _find(home, clusters=clusters or neither, data=data or neither, runs_older_than=age)
    if found:
        show(_table(found), json_path)
    else:
        say("nothing to clean")
    if found and not yes and not sys.stdin.isatty():
        raise InputError("cleaning needs a yes, and there is no terminal to ask on", hint="add -y")
    agreed = found if yes or (found and typer.confirm("Remove all of it?", err=True)) else []
    removed, freed_bytes = _remove(home, agreed)
    failed = len(agreed) - len(removed)
    problem = NodewiseError(f"{failed} could not be removed", hint="the lines above say why") if failed else None
    emit("clean", {"found": found, "removed": removed, "freed_bytes": freed_bytes}, json_path, problem)
    if problem is not None:
        raise typer.Exit(1)


def _find(home: Workspace, *, clusters: bool, data: bool, runs_older_than: timedelta | None) -> list[RestItem]:
    from nodewise.clusters.clean import find_cluster_rests, find_data_rests, find_old_runs

    found = find_cluster_rests(home) if clusters else []
    found += find_data_rests(home) if data else []
    return found + (find_old_runs(home, runs_older_than) if runs_older_than is not None else [])


def _remove(home: Workspace, items: list[RestItem]) -> tuple[list[RestItem], int]:
    """What could be removed, and how many bytes that freed."""
    from nodewise.clusters.clean import remove_rest

    removed, freed_bytes = [], 0
    for item in items:
        try:
            freed_bytes += remove_rest(home, item)
            removed.append(item)
        except NodewiseError as error:
            say(f"left {item.kind} {item.name}: {error.message}")
    if items:
        say(f"removed {len(removed)} of {len(items)}, {format_bytes(freed_bytes)}")
    return removed, freed_bytes


def _age(text: str) -> timedelta:
    try:
        return timedelta(seconds=parse_duration(text))
    except ValueError as error:
        raise InputError(f"--older-than: {error}", hint="such as 30d; nothing was removed") from None


def _table(found: list[RestItem]) -> RenderableType:
    from rich.table import Table

    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column("WHAT", no_wrap=True)
    table.add_column("NAME", overflow="fold")
    table.add_column("SIZE", justify="right", no_wrap=True)
    table.add_column("", overflow="fold")
    for item in found:
        table.add_row(item.kind, item.name, format_bytes(item.bytes) if item.bytes else "", item.detail)
    return table
