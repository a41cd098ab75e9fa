"""Advice for the terminal."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING

from rich.table import Table
from rich.text import Text

from nodewise.core.units import format_duration, format_usd
from nodewise.report.advice_columns import candidates_text, name_of, ranking_columns
from nodewise.specs.advice import Advice, AdviceStep

if TYPE_CHECKING:
    from rich.console import Console

__all__ = ["render_advice"]

RANKED_SHOWN = 10
"""Of the ranking, and the choice wherever it stands."""
LONGEST_WHOLE_NAME = 22
WIDE = 100
"""Letters in a line from which on there is room for what the figures rest on, and for any number of columns."""
MOST_NARROW_COLUMNS = 4


def render_advice(advice: Advice, console: Console) -> None:
    """The sentence, the ranking, how the search went, what to run next and what would change the answer."""
    console.print(Text(advice.sentence))
    console.print()
    console.print(Text(f"{candidates_text(advice)}."))
    console.print()
    if advice.ranked:
        console.print(_ranking(advice, is_wide=console.width >= WIDE))
    left = len(advice.ranked) - RANKED_SHOWN - (advice.choice in advice.ranked[RANKED_SHOWN:])
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
    for limit in advice.limits:
        console.print(Text(f"{limit}."))
    for text in (*advice.changes, *advice.notes):
        console.print(Text(text))
    if advice.report_path:
        console.print()
        console.print(Text(f"Report: {advice.report_path}"), soft_wrap=True)


def _ranking(advice: Advice, *, is_wide: bool) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column("#", justify="right")
    shown = advice.ranked[:RANKED_SHOWN]
    names = [len(name_of(one)) for one in shown]
    table.add_column("CLUSTER", overflow="fold", min_width=min(max(names), LONGEST_WHOLE_NAME))
    columns = ranking_columns(advice)
    if not is_wide and len(columns) > MOST_NARROW_COLUMNS:
        columns.pop("90 %", None)
    for header in columns:
        table.add_column(header.upper(), justify="right", no_wrap=True)
    table.add_column("BASIS", overflow="fold")
    for number, one in enumerate(advice.ranked, 1):
        if one in shown or one == advice.choice:
            basis = f"{one.basis}: {one.why}" if is_wide else one.basis
            table.add_row(str(number), name_of(one), *(cell(one) for cell in columns.values()), basis)
    return table


def _steps(advice: Advice) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column("RUN", justify="right")
    table.add_column("CLUSTER", overflow="fold")
    best = "BEST $/H" if advice.stream else {"cost": "BEST COST", "time": "BEST TIME"}[advice.goal]
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
