"""A workspace with a ledger, and a clock that stands still until it is set."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

from nodewise.specs.ledger import LedgerEntry

NOON = datetime(2026, 11, 21, 12, tzinfo=UTC)


class Clock:
    def __init__(self, now: datetime = NOON) -> None:
        self.now = now

    def __call__(self) -> datetime:
        return self.now

    def forward(self, **time: float) -> None:
        self.now += timedelta(**time)


def entry(**changes: Any) -> LedgerEntry:
    """One hour of a node at $0.60, from noon; ``hours`` in place of ``ended_at``."""
    hours = changes.pop("hours", 1)
    started_at = changes.get("started_at", NOON)
    values: dict[str, Any] = {
        "cluster_id": "c-1",
        "cluster": "etl",
        "node": "node-0",
        "node_type": "Standard_DS3_v2",
        "price_per_hour": Decimal("0.60"),
        "price_note": "by hand",
        "price_date": "2026-06-18",
        "emulated": False,
        "started_at": started_at,
        "ended_at": started_at + timedelta(hours=hours),
        "user": "ada",
    }
    return LedgerEntry(**values | changes)
