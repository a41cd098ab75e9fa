"""``nodewise datasets``: public data sets that nodewise knows how to get."""

from __future__ import annotations

from typing import Annotated

import typer

from nodewise.cli.options import DebugOption, JsonOption, WorkspaceOption, open_workspace
from nodewise.cli.output import emit, show
from nodewise.core.units import format_bytes

__all__ = ["app"]

app = typer.Typer(help="Public data sets that nodewise knows how to get.")


@app.command("list", epilog="Example: nodewise datasets list")
def list_datasets(
    json_path: JsonOption = None,
    workspace: WorkspaceOption = None,
    _debug: DebugOption = False,
) -> None:
    """List the data sets, and which of them are here."""
    from rich.table import Table

    from nodewise.data import datasets

    found = datasets.list_datasets(open_workspace(workspace).datasets_dir)
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column("NAME", no_wrap=True)
    table.add_column("SIZE", justify="right", no_wrap=True)
    table.add_column("HERE", no_wrap=True)
    table.add_column("WHAT", overflow="fold")
    for info in found:
        size = format_bytes(info.bytes) if info.bytes else "-"
        table.add_row(info.name, size, "yes" if info.present else "no", f"{info.description}\nLicence: {info.licence}")
    show(table, json_path)
    emit("datasets list", {"datasets": found}, json_path)


@app.command("fetch", epilog="Example: nodewise datasets fetch cifar10")
def fetch_dataset(
    name: Annotated[str, typer.Argument(metavar="NAME", help="As `nodewise datasets list` gives it.")],
    json_path: JsonOption = None,
    workspace: WorkspaceOption = None,
    _debug: DebugOption = False,
) -> None:
    """Download a data set into the workspace; a download that was cut off goes on where it stopped."""
    from rich.text import Text

    from nodewise.cli.progress import RichProgress
    from nodewise.data import datasets

    home = open_workspace(workspace)
    home.create()
    with RichProgress() as progress:
        path = datasets.fetch(name, home.datasets_dir, progress)
    show(Text(str(path)), json_path)
    emit("datasets fetch", {"name": name, "path": path}, json_path)
