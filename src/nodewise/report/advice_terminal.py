"""Advice for the terminal."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING

from rich.table import Table
from rich.text import Text

from nodewise.core.units import format_duration, format_usd
from nodewise.report.text import percent
from nodewise.specs.advice import Advice, AdviceStep, RankedConfiguration

if TYPE_CHECKING:
    from rich.console import Console

__all__ = ["render_advice"]

RANKED_SHOWN = 10


def render_advice(advice: Advice, console: Console) -> None:
    """The sentence, the ranking, how the search went, what to run next and what would change the answer."""
    console.print(Text(advice.sentence))
    console.print()
    if advice.ranked:
        console.print(_ranking(advice))
    left = len(advice.ranked) - RANKED_SHOWN
    if left > 0:
        console.print(Text(f"and {left} more"))
    if advice.ranked:
        console.print()
    if advice.steps:
        console.print(_steps(advice))
        console.print()
    if advice.proposal is not None:
        proposal = advice.proposal
        name = f"{proposal.configuration.nodes} x {proposal.configuration.instance_type}"
        expected = ""
        if proposal.seconds is not None and proposal.seconds_low is not None and proposal.seconds_high is not None:
            low, high = format_duration(proposal.seconds_low), format_duration(proposal.seconds_high)
            expected = f" Predicted: {format_duration(proposal.seconds)} (90 %: {low} to {high})."
        console.print(Text(f"Run next: {name}: {proposal.why}.{expected}"))
    console.print(Text(f"{'The search is over' if advice.is_settled else 'The search goes on'}: {advice.reason}."))
    for text in (*advice.changes, *advice.notes):
        console.print(Text(text))
    if advice.report_path:
        console.print()
        console.print(Text(f"Report: {advice.report_path}"), soft_wrap=True)


def _ranking(advice: Advice) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column("#", justify="right")
    table.add_column("CLUSTER", overflow="fold")
    for header in ("TIME", "90 %", "COST"):
        table.add_column(header, justify="right", no_wrap=True)
    if any(one.chance_within is not None for one in advice.ranked):
        table.add_column("IN LIMIT", justify="right", no_wrap=True)
    table.add_column("BASIS", overflow="fold")
    for number, one in enumerate(advice.ranked[:RANKED_SHOWN], 1):
        table.add_row(*_cells(number, one))
    return table


def _cells(number: int, one: RankedConfiguration) -> list[str]:
    cells = [
        str(number),
        f"{one.configuration.nodes} x {one.configuration.instance_type}",
        format_duration(one.seconds),
        f"{format_duration(one.seconds_low)} - {format_duration(one.seconds_high)}",
        _usd(one.cost_usd),
    ]
    if one.chance_within is not None:
        cells.append(percent(one.chance_within))
    return [*cells, f"{one.basis}: {one.why}"]


def _steps(advice: Advice) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column("RUN", justify="right")
    table.add_column("CLUSTER", overflow="fold")
    best = {"cost": "BEST COST", "time": "BEST TIME"}[advice.goal]
    for header in ("TIME", "COST", best):
        table.add_column(header, justify="right", no_wrap=True)
    table.add_column("")
    for number, step in enumerate(advice.steps, 1):
        table.add_row(
            str(number),
            f"{step.configuration.nodes} x {step.configuration.instance_type}",
            format_duration(step.seconds),
            _usd(step.cost_usd),
            _best(advice, step),
            ("" if step.is_ok else "failed, ") + step.source,
        )
    if advice.search_cost_usd is not None:
        table.add_row("", "all runs", "", _usd(advice.search_cost_usd), "", "")
    return table


def _best(advice: Advice, step: AdviceStep) -> str:
    if step.best is None:
        return ""
    return _usd(step.best) if advice.goal == "cost" else format_duration(step.best)


def _usd(amount: float | None) -> str:
    return format_usd(None if amount is None else Decimal(amount))
