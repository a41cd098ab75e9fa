"""The ledger of a workspace: who had which node for how long, and at which price."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from sqlalchemy import RowMapping, insert, select, update

from nodewise.specs.ledger import LedgerEntry
from nodewise.workspace.database import LEDGER, Database

__all__ = ["Ledger", "instant_text"]

_IDS_PER_STATEMENT = 500


class Ledger:
    """The table ``ledger``. Entries are added and grow; none is ever changed otherwise, or removed.

    Any number of threads and processes may write at the same time. Prices come back as the decimals that were put in,
    instants in UTC.
    """

    def __init__(self, database: Database, create: Callable[[], None]) -> None:
        """``create`` makes the workspace's folder, before the first entry is written."""
        self._database = database
        self._create = create

    def add(self, entries: Iterable[LedgerEntry]) -> list[int]:
        """Write entries, all or none, and return their ids in order.

        Raises:
            ValueError: An entry ends before it starts, or an instant has no time zone.
        """
        rows = [_to_row(entry) for entry in entries]
        if not rows:
            return []
        self._create()
        with self._database.begin() as connection:
            query = insert(LEDGER).returning(LEDGER.c.entry_id)
            return [int(connection.execute(query, row).scalar_one()) for row in rows]

    def extend(self, entry_ids: Sequence[int], ended_at: datetime) -> None:
        """Move the end of entries on to ``ended_at``; an end that is later already stays."""
        text = instant_text(ended_at)
        with self._database.begin() as connection:
            for start in range(0, len(entry_ids), _IDS_PER_STATEMENT):
                ids = entry_ids[start : start + _IDS_PER_STATEMENT]
                those = LEDGER.c.entry_id.in_(ids) & (LEDGER.c.ended_at < text)
                connection.execute(update(LEDGER).where(those).values(ended_at=text))

    def entries(
        self,
        *,
        since: datetime | None = None,
        until: datetime | None = None,
        cluster_id: str | None = None,
        run_id: str | None = None,
    ) -> list[LedgerEntry]:
        """The entries that overlap the time from ``since`` to ``until``, in the order of their start.

        They come whole: what of an entry lies outside the bounds is for the caller to leave out.
        """
        if not self._database.exists():
            return []
        query = select(LEDGER).order_by(LEDGER.c.started_at, LEDGER.c.entry_id)
        if since is not None:
            query = query.where(LEDGER.c.ended_at > instant_text(since))
        if until is not None:
            query = query.where(LEDGER.c.started_at < instant_text(until))
        if cluster_id is not None:
            query = query.where(LEDGER.c.cluster_id == cluster_id)
        if run_id is not None:
            query = query.where(LEDGER.c.run_id == run_id)
        with self._database.begin() as connection:
            return [_from_row(row) for row in connection.execute(query).mappings()]


def instant_text(instant: datetime) -> str:
    """As it is stored: UTC with microseconds, so that text sorts as time does."""
    if instant.tzinfo is None:
        raise ValueError(f"{instant} has no time zone")
    return instant.astimezone(UTC).isoformat(timespec="microseconds")


def _to_row(entry: LedgerEntry) -> dict[str, Any]:
    if entry.ended_at < entry.started_at:
        raise ValueError(f"an entry of {entry.cluster} ends at {entry.ended_at}, before its start {entry.started_at}")
    price = entry.price_per_hour
    return {
        "cluster_id": entry.cluster_id,
        "cluster": entry.cluster,
        "node": entry.node,
        "node_type": entry.node_type,
        "charge": entry.charge,
        "price_per_hour": None if price is None else format(price, "f"),
        "currency": entry.currency,
        "price_note": entry.price_note,
        "price_date": entry.price_date,
        "emulated": int(entry.emulated),
        "started_at": instant_text(entry.started_at),
        "ended_at": instant_text(entry.ended_at),
        "run_id": entry.run_id,
        "job": entry.job,
        "user": entry.user,
        "tags": dict(entry.tags),
    }


def _from_row(row: RowMapping) -> LedgerEntry:
    price = row["price_per_hour"]
    return LedgerEntry(
        **dict(row)
        | {
            "price_per_hour": None if price is None else Decimal(price),
            "emulated": bool(row["emulated"]),
            "started_at": datetime.fromisoformat(row["started_at"]),
            "ended_at": datetime.fromisoformat(row["ended_at"]),
        }
    )
