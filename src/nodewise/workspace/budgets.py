"""The budgets of a workspace, one per tag."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal

from sqlalchemy import delete, insert, select

from nodewise.core.errors import UnknownNameError
from nodewise.specs.costs import Budget
from nodewise.workspace.database import BUDGETS, Database

__all__ = ["BudgetStore"]


class BudgetStore:
    """The table ``budgets``."""

    def __init__(self, database: Database, create: Callable[[], None]) -> None:
        """``create`` makes the workspace's folder, before the first budget is written."""
        self._database = database
        self._create = create

    def put(self, budget: Budget) -> None:
        """Keep the budget, in place of what its tag had."""
        self._create()
        row = {
            "tag": budget.tag,
            "currency": budget.currency,
            "warn": None if budget.warn is None else format(budget.warn, "f"),
            "stop": None if budget.stop is None else format(budget.stop, "f"),
            "period": budget.period,
        }
        with self._database.begin() as connection:
            connection.execute(delete(BUDGETS).where(BUDGETS.c.tag == budget.tag))
            connection.execute(insert(BUDGETS).values(row))

    def list(self) -> list[Budget]:
        """All budgets, by tag."""
        if not self._database.exists():
            return []
        with self._database.begin() as connection:
            rows = connection.execute(select(BUDGETS).order_by(BUDGETS.c.tag)).mappings().all()
        return [
            Budget(
                tag=row["tag"],
                currency=row["currency"],
                warn=None if row["warn"] is None else Decimal(row["warn"]),
                stop=None if row["stop"] is None else Decimal(row["stop"]),
                period=row["period"],
            )
            for row in rows
        ]

    def remove(self, tag: str) -> None:
        """Remove the budget of a tag.

        Raises:
            UnknownNameError: It has none; the hint gives the nearest tags.
        """
        known = [budget.tag for budget in self.list()]
        if tag not in known:
            raise UnknownNameError("budget", tag, known)
        with self._database.begin() as connection:
            connection.execute(delete(BUDGETS).where(BUDGETS.c.tag == tag))
