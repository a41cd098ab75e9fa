"""What may be spent under a tag: budgets are set, and held against the ledger while money is being spent."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from fractions import Fraction
from typing import Literal

from nodewise.billing.amounts import MILLIONTH, allot, clip, hours, money, utc_midnight
from nodewise.core.errors import BudgetExceededError, InputError
from nodewise.specs.costs import Budget, BudgetFinding
from nodewise.workspace import Workspace

__all__ = ["BudgetState", "budget_states", "check_budgets", "enforce_budgets", "make_budget"]


@dataclass(frozen=True, slots=True, kw_only=True)
class BudgetState:
    """A budget and what was spent of it in its present period; money as in :class:`BudgetFinding`."""

    budget: Budget
    spent: Decimal
    emulated: Decimal
    unpriced_node_hours: float

    def level(self, expected: Decimal = Decimal(0)) -> Literal["warn", "stop"] | None:
        """Whether a limit is reached, or would be passed by what is expected; ``stop`` before ``warn``."""
        for level, limit in (("stop", self.budget.stop), ("warn", self.budget.warn)):
            if limit is not None and (self.spent >= limit or self.spent + expected > limit):
                return "stop" if level == "stop" else "warn"
        return None


def make_budget(tag: str, *, warn: Decimal | None, stop: Decimal | None, period: Literal["month", "total"]) -> Budget:
    """A budget in US dollars that makes sense.

    Args:
        tag: ``NAME=VALUE``, or ``tag:NAME=VALUE`` as in ``costs --by``.

    Raises:
        InputError: It does not.
    """
    name, equals, value = tag.removeprefix("tag:").partition("=")
    if not (name and equals and value):
        raise InputError(f"{tag!r} is not a tag with its value", hint="write tag:NAME=VALUE, such as tag:team=vision")
    if warn is None and stop is None:
        raise InputError("a budget needs a limit", hint="give --warn, --stop or both, in US dollars")
    for limit in (warn, stop):
        if limit is not None and not (limit.is_finite() and limit >= 0):
            raise InputError(f"{limit} is not an amount of money", hint="give US dollars, such as 10 or 2.50")
    if warn is not None and stop is not None and warn > stop:
        raise InputError(f"the limit to warn at, {warn}, lies above the limit to stop at, {stop}")
    return Budget(tag=f"{name}={value}", warn=warn, stop=stop, period=period)


def budget_states(
    workspace: Workspace, tags: Mapping[str, str] | None = None, *, now: datetime | None = None
) -> list[BudgetState]:
    """All budgets, or those of the tags given, with what was spent.

    Everything that the ledger has under the tag counts, emulated nodes at what they would have cost: so a budget can be
    tried out before money is at stake.
    """
    month = utc_midnight(now or datetime.now(UTC)).replace(day=1)
    budgets = workspace.budgets.list()
    if tags is not None:
        budgets = [budget for budget in budgets if budget.tag in {f"{name}={value}" for name, value in tags.items()}]
    return [_state(workspace, budget, month if budget.period == "month" else None) for budget in budgets]


def _state(workspace: Workspace, budget: Budget, since: datetime | None) -> BudgetState:
    name, _, value = budget.tag.partition("=")
    real = emulated = unpriced = Fraction(0)
    for entry in workspace.ledger.entries(since=since):
        if entry.tags.get(name) != value or entry.currency != budget.currency:
            continue
        piece = clip(entry, since)
        if entry.price_per_hour is None:
            unpriced += hours(piece)
        elif entry.emulated:
            emulated += money(entry, piece)
        else:
            real += money(entry, piece)
    shown_real, shown_emulated = allot([real, emulated], MILLIONTH)
    return BudgetState(
        budget=budget,
        spent=shown_real + shown_emulated,
        emulated=shown_emulated,
        unpriced_node_hours=round(float(unpriced), 6),
    )


def check_budgets(
    workspace: Workspace,
    tags: Mapping[str, str],
    expected_usd: Decimal | None = None,
    *,
    now: datetime | None = None,
) -> list[BudgetFinding]:
    """The budgets of these tags that are used up, or would be by ``expected_usd`` more; those to stop at first."""
    expected = expected_usd or Decimal(0)
    findings = []
    for state in budget_states(workspace, tags, now=now):
        budget, level = state.budget, state.level(expected)
        limit = budget.stop if level == "stop" else budget.warn
        if level is not None and limit is not None:
            findings.append(
                BudgetFinding(
                    tag=budget.tag,
                    level=level,
                    currency=budget.currency,
                    period=budget.period,
                    spent=state.spent,
                    emulated=state.emulated,
                    expected=expected,
                    limit=limit,
                    unpriced_node_hours=state.unpriced_node_hours,
                )
            )
    return sorted(findings, key=lambda finding: (finding.level != "stop", finding.tag))


def enforce_budgets(
    workspace: Workspace, tags: Mapping[str, str], expected_usd: Decimal | None = None
) -> list[BudgetFinding]:
    """The warnings of :func:`check_budgets`, if nothing is to be stopped.

    Raises:
        BudgetExceededError: A limit to stop at is reached, or would be passed.
    """
    findings = check_budgets(workspace, tags, expected_usd)
    stops = [finding for finding in findings if finding.level == "stop"]
    if stops:
        hint = f"raise it: nodewise costs budget set tag:{stops[0].tag} --stop AMOUNT; or take another tag"
        raise BudgetExceededError(stops[0].message, hint=hint)
    return findings
