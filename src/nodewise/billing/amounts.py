"""Money without rounding: exact fractions while it is added up, decimals that add up when it is shown."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from fractions import Fraction

from nodewise.specs.ledger import LedgerEntry

__all__ = ["CENT", "MILLIONTH", "Piece", "allot", "clip", "hours", "money", "split_by_day", "utc_midnight"]

CENT = Decimal("0.01")
MILLIONTH = Decimal("0.000001")

Piece = tuple[datetime, datetime]
"""A stretch of time: start, and end, which is outside."""


def hours(piece: Piece) -> Fraction:
    """The length of a stretch of time, exact to the microsecond."""
    return Fraction((piece[1] - piece[0]) // timedelta(microseconds=1), 3_600_000_000)


def money(entry: LedgerEntry, piece: Piece) -> Fraction:
    """What a part of an entry costs: price x hours; zero where the price is unknown, which is for the caller to say."""
    return Fraction(entry.price_per_hour or 0) * hours(piece)


def clip(entry: LedgerEntry, since: datetime | None = None, until: datetime | None = None) -> Piece:
    """The part of an entry's time within bounds; empty (start = end) where none is."""
    start = entry.started_at if since is None else max(entry.started_at, since)
    end = entry.ended_at if until is None else min(entry.ended_at, until)
    return start, max(start, end)


def split_by_day(piece: Piece) -> Iterator[Piece]:
    """The stretch cut at every midnight (UTC) in it."""
    start, end = piece
    while start < end:
        cut = min(end, utc_midnight(start) + timedelta(days=1))
        yield start, cut
        start = cut


def utc_midnight(instant: datetime) -> datetime:
    """The beginning of the instant's day in UTC."""
    return instant.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)


def allot(amounts: Sequence[Fraction], unit: Decimal = CENT) -> list[Decimal]:
    """The amounts in whole units such that they add up to the rounded total, by the method of largest remainders.

    The total is the exact sum, rounded half up as on an invoice. Every amount is rounded down at first; the units that
    the total has more go one each to the amounts that lost most, the first of equals first. So each is less than a unit
    off.
    """
    step = Fraction(unit)
    floors = [amount // step for amount in amounts]
    left = (sum(amounts, Fraction(0)) + step / 2) // step - sum(floors)
    by_loss = sorted(range(len(amounts)), key=lambda index: floors[index] - amounts[index] / step)
    for index in by_loss[:left]:
        floors[index] += 1
    return [count * unit for count in floors]
