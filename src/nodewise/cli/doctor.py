"""``nodewise doctor``."""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer

from nodewise.cli.options import DebugOption, JsonOption, WorkspaceOption, open_workspace
from nodewise.cli.output import emit, say, show
from nodewise.core.errors import MissingDependencyError

if TYPE_CHECKING:
    from rich.console import RenderableType

    from nodewise.preflight.doctor import DoctorReport

__all__ = ["doctor"]

_TIERS = {
    "namespaces": "each node has its own share of CPU and memory, and a network link of its own",
    "cgroups": "each node has its own share of CPU and memory; all share the machine's network",
    "processes": "nodes are not isolated: nothing holds one to its share",
}


def doctor(
    workspace: WorkspaceOption = None,
    json: JsonOption = None,
    _debug: DebugOption = False,
) -> None:
    """Look at what this machine has and lacks, and what to do about it.

    The emulation tier is how far emulated nodes can be kept apart here.
    """
    from nodewise.preflight.doctor import machine_checks

    report = machine_checks(open_workspace(workspace))
    show(_page(report), json)
    result = {"checks": report.checks, "emulation_tier": report.emulation_tier}
    if report.ok:
        emit("doctor", result, json)
        return
    broken = ", ".join(check.name for check in report.checks if check.required and not check.ok)
    error = MissingDependencyError(f"nodewise cannot work here: {broken}", hint="see the remedies above")
    emit("doctor", result, json, error)
    say(f"error: {error.message}")
    raise typer.Exit(error.exit_code)


def _page(report: DoctorReport) -> RenderableType:
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    table = Table.grid(padding=(0, 1))
    table.add_column(no_wrap=True)
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for check in report.checks:
        mark, style = ("ok", "green") if check.ok else ("no", "red" if check.required else "yellow")
        detail = check.detail if check.ok or not check.remedy else f"{check.detail}\n-> {check.remedy}"
        table.add_row(Text(mark, style=style), check.name, detail)
    tier = report.emulation_tier
    return Group(table, Text(), Text(f"emulation tier: {tier} ({_TIERS[tier]})"))
