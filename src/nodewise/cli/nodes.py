"""``nodewise nodes``: the table of node types and their prices."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from nodewise.cli.options import DebugOption, JsonOption, WorkspaceOption
from nodewise.cli.output import emit, say, show

if TYPE_CHECKING:
    from rich.console import RenderableType

    from nodewise.specs.cluster import NodeType

__all__ = ["app"]

app = typer.Typer(help="Node types and their prices.")


@app.command("list", epilog="Example: nodewise nodes list --cloud azure --vcpus 4")
def list_nodes(
    cloud: Annotated[str | None, typer.Option(help="Only this cloud: aws, azure or gcp.", show_default=False)] = None,
    vcpus: Annotated[float | None, typer.Option(help="Only with so many vCPUs.", show_default=False)] = None,
    json_path: JsonOption = None,
    _workspace: WorkspaceOption = None,
    _debug: DebugOption = False,
) -> None:
    """List node types with their list price per hour, cheapest first within a cloud."""
    from nodewise.metering.prices import node_types

    rows = node_types(cloud, vcpus)
    if rows:
        show(_table(rows), json_path)
    else:
        say(f"no node type has {vcpus:g} vCPUs" + (f" in {cloud}" if cloud else ""))
    emit("nodes list", {"node_types": rows}, json_path)


def _table(rows: list[NodeType]) -> RenderableType:
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for name in ("NODE TYPE", "CLOUD", "REGION"):
        table.add_column(name, no_wrap=True)
    for name in ("vCPU", "GiB"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("ACCELERATOR", no_wrap=True)
    table.add_column("USD/h", justify="right", no_wrap=True)
    for row in rows:
        accelerator = f"{row.accelerator_count}x{row.accelerator}" if row.accelerator else ""
        price = "unknown" if row.price_usd_per_hour is None else f"{row.price_usd_per_hour:.4f}"
        table.add_row(row.name, row.cloud, row.region, f"{row.vcpus:g}", f"{row.memory_gib:g}", accelerator, price)
    sources = {(row.cloud, row.region, row.price_date or "no date given", row.price_source): None for row in rows}
    lines = [f"{cloud} {region}: {date}, {source}" for cloud, region, date, source in sources]
    notes = "\n".join(["List prices, Linux, on demand, read from:", *lines])
    return Group(table, Text(), Text(notes, style="dim"))
