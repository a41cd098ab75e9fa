"""``nodewise costs``: what was spent, budgets, and real bills beside it."""

from __future__ import annotations

import sys
from datetime import datetime
from decimal import Decimal, InvalidOperation
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperGroup

from nodewise.cli.options import DebugOption, JsonOption, WorkspaceOption, open_workspace
from nodewise.cli.output import emit, one_line, say, show
from nodewise.core.errors import InputError, NodewiseError
from nodewise.core.files import write_atomic
from nodewise.core.units import format_usd

if TYPE_CHECKING:
    from rich.console import RenderableType

    from nodewise.billing.budgets import BudgetState
    from nodewise.specs.costs import CostRow, CostsResult
    from nodewise.workspace import Workspace

__all__ = ["app"]

_SHOW = "show"


class _ShowsByDefault(TyperGroup):
    """A group whose command ``show`` need not be named: ``nodewise costs --by day``."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        if not args or (args[0].startswith("-") and args[0] != "--help"):
            args = [_SHOW, *args]
        return super().parse_args(ctx, args)


app = typer.Typer(
    cls=_ShowsByDefault,
    help="What was spent, and budgets. Its options: `nodewise costs show --help`.",
)
budget_app = typer.Typer(help="What may be spent under a tag.")
app.add_typer(budget_app, name="budget")


class _Format(StrEnum):
    TABLE = "table"
    JSON = "json"
    CSV = "csv"
    FOCUS = "focus"


class _Period(StrEnum):
    MONTH = "month"
    TOTAL = "total"


_DAY = ["%Y-%m-%d"]


@app.command(_SHOW, epilog="Example: nodewise costs --by tag:team --from 2026-11-01 --to 2026-11-30")
def show_costs(
    by: Annotated[str, typer.Option(metavar="WHAT", help="tag:NAME, cluster, job, user or day.")] = "cluster",
    since: Annotated[
        datetime | None, typer.Option("--from", metavar="DATE", formats=_DAY, help="First day (UTC).")
    ] = None,
    until: Annotated[
        datetime | None, typer.Option("--to", metavar="DATE", formats=_DAY, help="Last day (UTC).")
    ] = None,
    output_format: Annotated[_Format, typer.Option("--format", help="focus: one row per node and day, FOCUS 1.2.")] = (
        _Format.TABLE
    ),
    output: Annotated[
        str | None, typer.Option("--output", metavar="FILE", help="Write it there instead of showing it.")
    ] = None,
    json_path: JsonOption = None,
    workspace: WorkspaceOption = None,
    _debug: DebugOption = False,
) -> None:
    """Add up what nodes have cost, and show what imported bills say beside it. ``show`` need not be written."""
    from nodewise.billing.costs import collect_costs

    if json_path == "-" and output is None and output_format is not _Format.TABLE:
        raise InputError(f"--json - and --format {output_format} both go to standard output", hint="add --output FILE")
    home = open_workspace(workspace)
    first, last = (None if day is None else day.date() for day in (since, until))
    result = collect_costs(home, by, since=first, until=last)
    if output_format is _Format.TABLE and output is None:
        if result.rows or result.other_currencies:
            show(_page(result), json_path)
        else:
            say(f"nothing in the ledger of {home.root}" + (" in that time" if since or until else ""))
    else:
        _write(_rendered(home, result, output_format), output)
    emit("costs", result, json_path)


def _rendered(home: Workspace, result: CostsResult, output_format: _Format) -> str:
    """What goes to a file or, as it is, to standard output."""
    import csv
    import io
    import json

    from nodewise.billing.focus import csv_cell, focus_csv
    from nodewise.specs.codec import to_json

    if output_format is _Format.FOCUS:
        entries = home.ledger.entries(since=result.since, until=result.until)
        text, left_out = focus_csv(entries, result.since, result.until)
        if left_out:
            say(f"{float(left_out):.2f} node-hours without a known price are left out: FOCUS has no word for them")
        return text
    if output_format is _Format.JSON:
        return json.dumps(to_json(result), indent=2) + "\n"
    stream = io.StringIO()
    if output_format is _Format.CSV:
        rows = [to_json(row) for row in result.rows]
        names = ("key", "usd", "real_usd", "emulated_usd", "actual_usd", "difference_usd", "node_hours")
        writer = csv.writer(stream)
        writer.writerow((*names, "unpriced_node_hours"))
        for row in rows:
            writer.writerow([csv_cell(row["key"]), *(row[name] for name in (*names[1:], "unpriced_node_hours"))])
        return stream.getvalue()
    from rich.console import Console

    Console(file=stream, width=120, markup=False, emoji=False, highlight=False).print(_page(result))
    return stream.getvalue()


def _write(text: str, output: str | None) -> None:
    if output is None:
        sys.stdout.write(text)
        return
    path = Path(output)
    try:
        write_atomic(path.resolve(), text)
    except OSError as error:
        raise NodewiseError(f"--output {path} cannot be written: {error.strerror}") from None


def _page(result: CostsResult) -> RenderableType:
    from rich.console import Group
    from rich.text import Text

    parts: list[RenderableType] = [_table(result)]
    for other in result.other_currencies:
        parts += [Text(), Text(f"In {other.currency}, not added to the above:"), _other_table(other.rows)]
        parts.append(Text(f"total: estimate {other.total_estimate}, billed {other.total_actual or 'nothing'}"))
    return Group(*parts, Text(), Text("\n".join(_notes(result)), style="dim"))


def _table(result: CostsResult) -> RenderableType:
    from rich.table import Table

    has_bills = result.actual_usd is not None
    has_emulated = Decimal(result.precise_emulated_usd) > 0
    has_real = has_bills or result.precise_usd != result.precise_emulated_usd or not has_emulated
    # Where cents would show nothing, and there is one kind of money to show, it is shown finer.
    is_fine = has_real != has_emulated and Decimal(result.precise_usd) < 1 and not has_bills

    def real(row: CostRow | CostsResult) -> str:
        return _known(row, row.precise_usd if is_fine else row.real_usd)

    def emulated(row: CostRow | CostsResult) -> str:
        return _known(row, row.precise_usd if is_fine else row.emulated_usd)

    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), show_footer=True)
    table.add_column(result.by.upper().removeprefix("TAG:") or "KEY", "total", overflow="fold", min_width=8)

    def number(name: str, total: str) -> None:
        table.add_column(name, total, justify="right", no_wrap=True)

    if has_real:
        number("ESTIMATE $", real(result))
    if has_emulated:
        number("WOULD HAVE COST $", emulated(result))
    if has_bills:
        number("BILLED $", result.actual_usd or "")
        number("DIFFERENCE $", str(Decimal(result.actual_usd or 0) - Decimal(result.real_usd)))
    number("NODE-HOURS", _hours(result, result.node_hours))
    if result.unpriced_node_hours:
        number("UNPRICED", _hours(result, result.unpriced_node_hours))
    for row in result.rows:
        cells = [one_line(row.key)]
        cells += [real(row)] if has_real else []
        cells += [emulated(row)] if has_emulated else []
        cells += [row.actual_usd or "", row.difference_usd or ""] if has_bills else []
        cells.append(_hours(result, row.node_hours))
        cells += [_hours(result, row.unpriced_node_hours)] if result.unpriced_node_hours else []
        table.add_row(*cells)
    return table


def _known(row: CostRow | CostsResult, amount: str) -> str:
    """The amount, unless nothing is known of it: unknown is never shown as zero."""
    return "unknown" if row.unpriced_node_hours and not Decimal(row.precise_usd) else amount


def _hours(result: CostsResult, hours: float) -> str:
    return f"{hours:,.2f}" if result.node_hours >= 1 else f"{hours:.4f}"


def _other_table(rows: tuple[dict[str, str | None], ...]) -> RenderableType:
    from rich.table import Table

    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column("KEY", overflow="fold")
    for name in ("ESTIMATE", "BILLED"):
        table.add_column(name, justify="right", no_wrap=True)
    for row in rows:
        table.add_row(one_line(row["key"] or ""), row["estimate"], row["actual"] or "")
    return table


def _notes(result: CostsResult) -> list[str]:
    notes = []
    if result.price_dates:
        notes.append(f"US dollars; prices read on {', '.join(result.price_dates)}, without discounts and taxes.")
    if Decimal(result.precise_emulated_usd):
        notes.append("Would have cost: nodes emulated on this machine, at the price of their type; nobody billed it.")
    if result.unpriced_node_hours:
        notes.append("Unpriced: node-hours whose price, or platform's fee, is not known; they are in no sum.")
    if result.unpriced_bill_rows:
        notes.append(f"Lines of bills with a quantity but no known price: {result.unpriced_bill_rows}.")
    return notes


@app.command("import", epilog="Example: nodewise costs import cost-export.csv.gz")
def import_bill(
    file: Annotated[
        str, typer.Argument(metavar="FILE", help="An Azure, FOCUS or Databricks export: CSV, JSON or Parquet.")
    ],
    json_path: JsonOption = None,
    workspace: WorkspaceOption = None,
    _debug: DebugOption = False,
) -> None:
    """Read a real bill, so that `nodewise costs` shows it beside the estimate; lines known already are passed over."""
    from rich.text import Text

    from nodewise.billing.bill_files import import_bill as read

    result = read(open_workspace(workspace), Path(file))
    for problem in result.bad:
        say(f"{file}: {problem}")
    if result.bad_rows > len(result.bad):
        say(f"{file}: and {result.bad_rows - len(result.bad)} more lines that cannot be read")
    totals = ", ".join(f"{total} {currency}" for currency, total in result.totals.items()) or "no money"
    lines = [f"{result.kind}: {result.added} of {result.rows} lines added, {totals}"]
    if result.first_day is not None:
        lines[0] += f", {result.first_day} to {result.last_day}"
    lines += [f"lines that were there already: {result.known}"] if result.known else []
    lines += [f"lines with a quantity but no known price: {result.unpriced}"] if result.unpriced else []
    lines += [f"lines that cannot be read: {result.bad_rows}"] if result.bad_rows else []
    show(Text("\n".join(lines)), json_path)
    emit("costs import", result, json_path)


_TagArgument = Annotated[str, typer.Argument(metavar="tag:NAME=VALUE", help="The tag and its value.")]


@budget_app.command("set", epilog="Example: nodewise costs budget set tag:team=vision --warn 5 --stop 10")
def set_budget(
    tag: _TagArgument,
    warn: Annotated[str | None, typer.Option(metavar="USD", help="Warn from here on.", show_default=False)] = None,
    stop: Annotated[str | None, typer.Option(metavar="USD", help="Start nothing from here on.", show_default=False)] = (
        None
    ),
    period: Annotated[_Period, typer.Option(help="month: each calendar month (UTC) anew.")] = _Period.MONTH,
    json_path: JsonOption = None,
    workspace: WorkspaceOption = None,
    _debug: DebugOption = False,
) -> None:
    """Set what may be spent under a tag, in place of what was set before."""
    from nodewise.billing.budgets import budget_states, make_budget

    home = open_workspace(workspace)
    budget = make_budget(tag, warn=_usd(warn), stop=_usd(stop), period=period.value)
    home.budgets.put(budget)
    states = [state for state in budget_states(home) if state.budget.tag == budget.tag]
    show(_budget_table(states), json_path)
    emit("costs budget set", _budget_json(states)[0], json_path)


@budget_app.command("list", epilog="Example: nodewise costs budget list")
def list_budgets(
    json_path: JsonOption = None,
    workspace: WorkspaceOption = None,
    _debug: DebugOption = False,
) -> None:
    """List the budgets and what is spent of them."""
    from nodewise.billing.budgets import budget_states

    home = open_workspace(workspace)
    states = budget_states(home)
    if states:
        show(_budget_table(states), json_path)
    else:
        say(f"no budgets in {home.root}")
    emit("costs budget list", {"budgets": _budget_json(states)}, json_path)


@budget_app.command("remove", epilog="Example: nodewise costs budget remove tag:team=vision")
def remove_budget(
    tag: _TagArgument,
    json_path: JsonOption = None,
    workspace: WorkspaceOption = None,
    _debug: DebugOption = False,
) -> None:
    """Remove a budget; nothing limits the tag any more."""
    name = tag.removeprefix("tag:")
    open_workspace(workspace).budgets.remove(name)
    say(f"removed the budget of {name}")
    emit("costs budget remove", {"removed": name}, json_path)


def _usd(text: str | None) -> Decimal | None:
    if text is None:
        return None
    try:
        return Decimal(text.removeprefix("$"))
    except InvalidOperation:
        raise InputError(f"{text!r} is not an amount of money", hint="give US dollars, such as 10 or 2.50") from None


def _budget_table(states: list[BudgetState]) -> RenderableType:
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column("TAG", overflow="fold")
    for name in ("SPENT", "WARN AT", "STOP AT"):
        table.add_column(name, justify="right", no_wrap=True)
    for name in ("PERIOD", "STATE"):
        table.add_column(name, no_wrap=True)
    for state in states:
        budget = state.budget
        limits = ("" if limit is None else format_usd(limit) for limit in (budget.warn, budget.stop))
        table.add_row(one_line(budget.tag), format_usd(state.spent), *limits, budget.period, state.level() or "ok")
    if not any(state.emulated for state in states):
        return table
    note = "Spent counts emulated nodes too, at what they would have cost."
    return Group(table, Text(), Text(note, style="dim"))


def _budget_json(states: list[BudgetState]) -> list[dict[str, Any]]:
    return [
        {
            "tag": state.budget.tag,
            "currency": state.budget.currency,
            "warn": None if state.budget.warn is None else str(state.budget.warn),
            "stop": None if state.budget.stop is None else str(state.budget.stop),
            "period": state.budget.period,
            "spent": format(state.spent, "f"),
            "emulated": format(state.emulated, "f"),
            "unpriced_node_hours": state.unpriced_node_hours,
            "level": state.level(),
        }
        for state in states
    ]
