"""What was spent, by tag, cluster, job, user or day: the ledger's estimate, beside it what imported bills say."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from datetime import time as time_of_day
from decimal import Decimal
from fractions import Fraction

from nodewise.billing.amounts import CENT, MILLIONTH, Piece, allot, clip, hours, money, split_by_day
from nodewise.core.errors import InputError, UnknownNameError
from nodewise.specs.costs import BillRow, CostRow, CostsResult, OtherCurrency
from nodewise.specs.ledger import LedgerEntry
from nodewise.workspace import Workspace

__all__ = ["NO_KEY", "collect_costs", "day_bounds"]

NO_KEY = "(none)"
"""The key of what has no such tag, no job (an idle cluster), or is on a bill without saying for whom."""

_GROUPS = ("cluster", "job", "user", "day", "tag:NAME")
# What clouds write on their bills by themselves: Databricks puts ClusterName, Creator and RunName on its machines.
_BILL_TAGS = {"cluster": ("clustername", "cluster"), "job": ("runname", "job"), "user": ("creator", "user", "owner")}


@dataclass(slots=True)
class _Sums:
    """What a key comes to, exact; ``actual`` is None until a bill speaks of it."""

    real: Fraction = Fraction(0)
    emulated: Fraction = Fraction(0)
    actual: Fraction | None = None
    hours: Fraction = Fraction(0)
    unpriced_hours: Fraction = Fraction(0)


def day_bounds(since: date | None, until: date | None) -> tuple[datetime | None, datetime | None]:
    """From the start of the day ``since`` to the end of the day ``until``, in UTC.

    Raises:
        InputError: They are the wrong way round.
    """
    if since is not None and until is not None and since > until:
        raise InputError(f"the time from {since} to {until} is empty", hint="give the earlier day first")
    start = None if since is None else datetime.combine(since, time_of_day(), UTC)
    end = None if until is None else datetime.combine(until, time_of_day(), UTC) + timedelta(days=1)
    return start, end


def collect_costs(
    workspace: Workspace, by: str = "cluster", *, since: date | None = None, until: date | None = None
) -> CostsResult:
    """Add up the ledger and the imported bills.

    Sums are exact; only what is shown is rounded, to cents (``precise_usd``: to millionths), such that in every column
    the rows add up to the total. An entry that crosses a bound or, by day, midnight (UTC) is cut exactly there.

    Args:
        by: ``tag:NAME``, ``cluster``, ``job``, ``user`` or ``day``.
        since, until: First and last day (UTC).

    Raises:
        UnknownNameError: ``by`` is none of these.
        InputError: ``until`` lies before ``since``.
    """
    start, end = day_bounds(since, until)
    group = _grouping(by)
    entries = workspace.ledger.entries(since=start, until=end)
    bills = workspace.bills.rows(since=since, until=None if end is None else end.date())
    sums: dict[str, dict[str, _Sums]] = {"USD": {}}
    _add_entries(sums, entries, group, start, end)
    clusters = {entry.cluster for entry in entries}
    for bill in bills:
        if bill.cost is not None:
            of_key = sums.setdefault(bill.currency, {}).setdefault(_bill_key(bill, by, clusters), _Sums())
            of_key.actual = (of_key.actual or Fraction(0)) + Fraction(bill.cost)
    rows, totals = _rows(sums["USD"])
    in_order = sorted(rows, key=lambda row: row.key if by == "day" else "")
    if by != "day":
        in_order = sorted(rows, key=lambda row: (-Decimal(row.precise_usd), -Decimal(row.actual_usd or 0), row.key))
    return CostsResult(
        by=by,
        since=start,
        until=end,
        total_usd=totals.usd,
        real_usd=totals.real_usd,
        emulated_usd=totals.emulated_usd,
        precise_usd=totals.precise_usd,
        precise_emulated_usd=totals.precise_emulated_usd,
        actual_usd=totals.actual_usd,
        node_hours=totals.node_hours,
        unpriced_node_hours=totals.unpriced_node_hours,
        unpriced_bill_rows=sum(bill.cost is None for bill in bills),
        price_dates=tuple(sorted({entry.price_date for entry in entries if entry.price_date})),
        rows=tuple(in_order),
        other_currencies=tuple(
            _other_currency(currency, of_keys) for currency, of_keys in sorted(sums.items()) if currency != "USD"
        ),
    )


_Grouping = Callable[[LedgerEntry, Piece], Iterable[tuple[str, Piece]]]


def _grouping(by: str) -> _Grouping:
    """What says to which keys the parts of an entry go."""
    if by == "day":
        return _days
    if by in ("cluster", "user"):
        return lambda entry, piece: [(str(getattr(entry, by)), piece)]
    if by == "job":
        return lambda entry, piece: [(entry.job or NO_KEY, piece)]
    kind, _, name = by.partition(":")
    if kind == "tag" and name:
        return lambda entry, piece: [(entry.tags.get(name, NO_KEY), piece)]
    raise UnknownNameError("grouping", by, _GROUPS)


def _days(_entry: LedgerEntry, piece: Piece) -> Iterator[tuple[str, Piece]]:
    for part in split_by_day(piece):
        yield part[0].date().isoformat(), part


def _add_entries(
    sums: dict[str, dict[str, _Sums]],
    entries: Sequence[LedgerEntry],
    group: _Grouping,
    since: datetime | None,
    until: datetime | None,
) -> None:
    # Where both charges of a node are unpriced its time is unpriced once.
    unpriced = {_stretch(entry) for entry in entries if entry.charge == "compute" and entry.price_per_hour is None}
    for entry in entries:
        is_compute = entry.charge == "compute"
        counts_unpriced = entry.price_per_hour is None and (is_compute or _stretch(entry) not in unpriced)
        for key, piece in group(entry, clip(entry, since, until)):
            # Node time is in the rows of US dollars, whatever its price is in.
            time = sums["USD"].setdefault(key, _Sums())
            time.hours += hours(piece) if is_compute else 0
            time.unpriced_hours += hours(piece) if counts_unpriced else 0
            of_key = sums.setdefault(entry.currency, {}).setdefault(key, _Sums())
            if entry.emulated:
                of_key.emulated += money(entry, piece)
            else:
                of_key.real += money(entry, piece)


def _stretch(entry: LedgerEntry) -> tuple[str, str, datetime]:
    return entry.cluster_id, entry.node, entry.started_at


def _bill_key(bill: BillRow, by: str, clusters: set[str]) -> str:
    """The key that a line of a bill belongs to."""
    if by == "day":
        return bill.day.isoformat()
    if by.startswith("tag:"):
        return bill.tags.get(by.removeprefix("tag:"), NO_KEY)
    tags = {name.lower(): value for name, value in bill.tags.items()}
    for name in _BILL_TAGS[by]:
        if name in tags:
            return tags[name]
    resource = bill.resource.rsplit("/", 1)[-1]
    return resource if by == "cluster" and resource in clusters else NO_KEY


def _rows(of_keys: dict[str, _Sums]) -> tuple[list[CostRow], CostRow]:
    """The rows of US dollars, and their total as one more row."""
    sums = list(of_keys.values())
    columns = [
        allot([one.real for one in sums]),
        allot([one.emulated for one in sums]),
        allot([one.real for one in sums], MILLIONTH),
        allot([one.emulated for one in sums], MILLIONTH),
        allot([one.actual or Fraction(0) for one in sums]),
    ]
    rows = [_row(key, one, *cells) for (key, one), *cells in zip(of_keys.items(), *columns, strict=True)]
    whole = _Sums(
        hours=sum((one.hours for one in sums), Fraction(0)),
        unpriced_hours=sum((one.unpriced_hours for one in sums), Fraction(0)),
        actual=Fraction(0) if any(one.actual is not None for one in sums) else None,
    )
    units = (CENT, CENT, MILLIONTH, MILLIONTH, CENT)
    return rows, _row("", whole, *(sum(column, 0 * unit) for column, unit in zip(columns, units, strict=True)))


def _row(
    key: str,
    sums: _Sums,
    real: Decimal,
    emulated: Decimal,
    precise_real: Decimal,
    precise_emulated: Decimal,
    actual: Decimal,
) -> CostRow:
    has_bill = sums.actual is not None
    return CostRow(
        key=key,
        usd=str(real + emulated),
        real_usd=str(real),
        emulated_usd=str(emulated),
        precise_usd=format(precise_real + precise_emulated, "f"),
        precise_emulated_usd=format(precise_emulated, "f"),
        actual_usd=str(actual) if has_bill else None,
        difference_usd=str(actual - real) if has_bill else None,
        node_hours=round(float(sums.hours), 6),
        unpriced_node_hours=round(float(sums.unpriced_hours), 6),
    )


def _other_currency(currency: str, of_keys: dict[str, _Sums]) -> OtherCurrency:
    sums = list(of_keys.values())
    estimate = allot([one.real + one.emulated for one in sums], CENT)
    actual = allot([one.actual or Fraction(0) for one in sums], CENT)
    has_bill = any(one.actual is not None for one in sums)
    rows = [
        {"key": key, "estimate": str(estimate[index]), "actual": None if one.actual is None else str(actual[index])}
        for index, (key, one) in enumerate(of_keys.items())
    ]
    return OtherCurrency(
        currency=currency,
        total_estimate=str(sum(estimate, Decimal("0.00"))),
        total_actual=str(sum(actual, Decimal("0.00"))) if has_bill else None,
        rows=tuple(sorted(rows, key=lambda row: str(row["key"]))),
    )
