"""The options that every command takes, before or after its name."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from nodewise.core.errors import InputError

if TYPE_CHECKING:
    from nodewise.workspace import Workspace

__all__ = ["DebugOption", "JsonOption", "WorkspaceOption", "open_workspace"]


def _given_anywhere(ctx: typer.Context, value: str | None) -> str | None:
    """The option as given after the command's name, else before it."""
    return value or ctx.find_root().params.get("workspace")


def _check_json_path(value: str | None) -> str | None:
    # Found before a long job starts, not when its result is to be written.
    if value in (None, "-"):
        return value
    path = Path(value)
    folder = path.absolute().parent
    while not folder.exists():
        folder = folder.parent
    if path.is_dir():
        raise InputError(f"--json {path} is a folder", hint="give the path of a file, or - for standard output")
    if not folder.is_dir() or not os.access(folder, os.W_OK):
        raise InputError(f"--json {path} cannot be written: {folder} is not a folder that can be written")
    return value


WorkspaceOption = Annotated[
    str | None,
    typer.Option(
        "--workspace",
        metavar="FOLDER",
        callback=_given_anywhere,
        help="Where runs are kept; ./.nodewise unless NODEWISE_WORKSPACE says otherwise.",
        show_default=False,
    ),
]
"""The folder, or None where neither this command nor ``nodewise`` was given one; see :func:`open_workspace`."""

JsonOption = Annotated[
    str | None,
    typer.Option(
        "--json",
        metavar="[FILE]",
        callback=_check_json_path,
        help="Write the result as JSON; without FILE, or with -, to standard output.",
        show_default=False,
    ),
]
"""The file for :func:`nodewise.cli.output.emit`."""

DebugOption = Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")]
"""Read by ``main`` itself; commands take it as ``_debug`` so that it may stand after their name."""


def open_workspace(option: str | None) -> Workspace:
    """The workspace that a command works in.

    Raises:
        InputError: The path is a file.
    """
    from nodewise.workspace import Workspace, find_workspace

    return Workspace(find_workspace(option))
