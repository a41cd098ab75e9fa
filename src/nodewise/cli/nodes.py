"""``nodewise nodes``: the table of node types and their prices."""

from __future__ import annotations

from decimal import Decimal
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


@app.command("refresh", epilog="Example: nodewise nodes refresh --region westeurope")
def refresh_prices(
    cloud: Annotated[str, typer.Option(help="azure (list and spot prices) or aws (list prices).")] = "azure",
    region: Annotated[
        str | None, typer.Option(help="As the cloud writes it; eastus and us-east-1 by default.", show_default=False)
    ] = None,
    json_path: JsonOption = None,
    _workspace: WorkspaceOption = None,
    _debug: DebugOption = False,
) -> None:
    """Fetch current prices from a cloud's public price list, to be used from now on.

    They are kept for the user, in NODEWISE_PRICES or the cache folder. Those of another region belong to node types
    written as NAME@REGION.
    """
    from rich.text import Text

    from nodewise.cli.progress import RichProgress
    from nodewise.metering.refresh import refresh_prices as refresh

    with RichProgress() as progress:
        result = refresh(cloud, region, progress=progress)
    for one in result.quarantined:
        say(f"{one.name}: not taken: {one.reason}")
    lines = [
        f"{result.cloud} {result.region}, {result.date}: {result.priced} of the table's node types priced, "
        f"{result.with_spot} at spot too; {result.changed} list prices changed",
        f"kept in {result.path}",
    ]
    if result.missing:
        lines.append(f"not offered, so as before: {', '.join(result.missing)}")
    show(Text("\n".join(lines)), json_path)
    emit("nodes refresh", result, json_path)


def _table(rows: list[NodeType]) -> RenderableType:
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, padding=(0, 1, 0, 0))
    for name in ("NODE TYPE", "CLOUD", "REGION"):
        table.add_column(name, no_wrap=True)
    for name in ("vCPU", "GiB"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("GPU", no_wrap=True)
    for name in ("USD/h", "SPOT"):
        table.add_column(name, justify="right", no_wrap=True)
    for row in rows:
        accelerator = f"{row.accelerator_count}x{row.accelerator}" if row.accelerator else ""
        usd, spot_usd = row.price_usd_per_hour, row.price_usd_per_hour_spot
        prices = ("unknown" if usd is None else _usd(usd), "" if spot_usd is None else _usd(spot_usd))
        size = (f"{row.vcpus:g}", f"{row.memory_gib:g}", accelerator)
        table.add_row(row.name, row.cloud, row.region, *size, *prices)
    lines = ["List prices, Linux, on demand, read from:"]
    lines += dict.fromkeys(_cite(row, row.price_date, row.price_source) for row in rows)
    if any(row.price_usd_per_hour_spot is not None for row in rows):
        lines.append("Spot prices, which change all the time, read from:")
        lines += dict.fromkeys(_cite(row, row.spot_date, row.spot_source) for row in rows if row.spot_source)
    return Group(table, Text(), Text("\n".join(lines), style="dim"))


def _usd(price: Decimal) -> str:
    return f"{price:.4f}" if price < 10 else f"{price:.3f}"


def _cite(row: NodeType, date: str, source: str) -> str:
    return f"{row.cloud} {row.region}: {date or 'no date given'}, {source}"
