"""Lines of real bills that were imported into a workspace."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import date
from decimal import Decimal

from sqlalchemy import RowMapping, select
from sqlalchemy.dialects.sqlite import insert

from nodewise.specs.costs import BillRow
from nodewise.workspace.database import BILLS, Database

__all__ = ["BillStore"]


class BillStore:
    """The table ``bills``."""

    def __init__(self, database: Database, create: Callable[[], None]) -> None:
        """``create`` makes the workspace's folder, before the first line is written."""
        self._database = database
        self._create = create

    def add(self, rows: Iterable[BillRow]) -> list[BillRow]:
        """Write lines, all or none, and return those that were new: one whose key is there already is passed over."""
        self._create()
        with self._database.begin() as connection:
            statement = insert(BILLS).on_conflict_do_nothing(index_elements=["row_key"])
            return [row for row in rows if connection.execute(statement, _to_row(row)).rowcount]

    def rows(self, *, since: date | None = None, until: date | None = None) -> list[BillRow]:
        """The lines of the days from ``since`` to before ``until``, by day."""
        if not self._database.exists():
            return []
        query = select(BILLS).order_by(BILLS.c.day, BILLS.c.bill_row_id)
        if since is not None:
            query = query.where(BILLS.c.day >= since.isoformat())
        if until is not None:
            query = query.where(BILLS.c.day < until.isoformat())
        with self._database.begin() as connection:
            return [_from_row(row) for row in connection.execute(query).mappings()]


def _to_row(row: BillRow) -> dict[str, object]:
    return {
        "source": row.source,
        "row_key": row.row_key,
        "day": row.day.isoformat(),
        "service": row.service,
        "resource": row.resource,
        # The column takes no NULL: an unknown cost is empty text, which no number is.
        "cost": "" if row.cost is None else format(row.cost, "f"),
        "currency": row.currency,
        "quantity": None if row.quantity is None else format(row.quantity, "f"),
        "unit": row.unit,
        "tags": dict(row.tags),
    }


def _from_row(row: RowMapping) -> BillRow:
    return BillRow(
        source=row["source"],
        row_key=row["row_key"],
        day=date.fromisoformat(row["day"]),
        service=row["service"],
        resource=row["resource"],
        cost=Decimal(row["cost"]) if row["cost"] else None,
        currency=row["currency"],
        quantity=None if row["quantity"] is None else Decimal(row["quantity"]),
        unit=row["unit"] or "",
        tags=row["tags"],
    )
