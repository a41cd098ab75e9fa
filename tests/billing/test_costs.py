from __future__ import annotations

import random
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from pathlib import Path

import pytest

from nodewise.billing.costs import collect_costs
from nodewise.core.errors import InputError, UnknownNameError
from nodewise.specs.costs import BillRow, CostsResult
from nodewise.workspace import Workspace

from .bills import NOON, entry

DAY = date(2026, 11, 21)


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return Workspace(tmp_path / "ws")


def keys(result: CostsResult) -> dict[str, str]:
    return {row.key: row.usd for row in result.rows}


def billed(cost: str | None, **changes: object) -> BillRow:
    values = {
        "source": "azure: a.csv",
        "row_key": repr((cost, sorted(changes.items()))),
        "day": DAY,
        "service": "Virtual Machines",
        "resource": "",
        "cost": None if cost is None else Decimal(cost),
        "currency": "USD",
    }
    return BillRow(**values | changes)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("by", "expected"),
    [
        ("cluster", {"etl": "0.60", "ml": "1.20"}),
        ("job", {"train": "1.20", "(none)": "0.60"}),
        ("user", {"ada": "0.60", "bob": "1.20"}),
        ("tag:team", {"vision": "1.20", "(none)": "0.60"}),
        ("day", {"2026-11-21": "1.80"}),
    ],
)
def test_costs_are_added_up_by_whatever_is_asked(workspace: Workspace, by: str, expected: dict[str, str]) -> None:
    workspace.ledger.add([entry(), entry(cluster="ml", user="bob", job="train", tags={"team": "vision"}, hours=2)])

    result = collect_costs(workspace, by)

    assert keys(result) == expected
    assert (result.total_usd, result.node_hours) == ("1.80", 3.0)
    assert result.price_dates == ("2026-06-18",)


def test_the_dearest_comes_first_and_days_come_in_order(workspace: Workspace) -> None:
    workspace.ledger.add([entry(cluster="a"), entry(cluster="b", hours=30), entry(cluster="c")])

    assert list(keys(collect_costs(workspace, "cluster"))) == ["b", "a", "c"]
    assert list(keys(collect_costs(workspace, "day"))) == ["2026-11-21", "2026-11-22"]


def test_an_entry_is_cut_at_midnight_and_at_the_bounds(workspace: Workspace) -> None:
    # Nine hours from 21:00 at $0.60: 3 h and 6 h.
    workspace.ledger.add([entry(started_at=datetime(2026, 11, 20, 21, tzinfo=UTC), hours=9)])

    assert keys(collect_costs(workspace, "day")) == {"2026-11-20": "1.80", "2026-11-21": "3.60"}
    from_second = collect_costs(workspace, "cluster", since=DAY)
    assert (from_second.total_usd, from_second.node_hours) == ("3.60", 6.0)
    assert collect_costs(workspace, "cluster", until=date(2026, 11, 20)).total_usd == "1.80"
    assert keys(collect_costs(workspace, "day", since=date(2026, 11, 22))) == {}


def test_a_platform_adds_money_and_no_node_time(workspace: Workspace) -> None:
    workspace.ledger.add([entry(), entry(charge="platform", price_per_hour=Decimal("0.15"))])

    result = collect_costs(workspace)

    assert (result.total_usd, result.node_hours, result.unpriced_node_hours) == ("0.75", 1.0, 0.0)


def test_what_has_no_price_is_counted_once_and_in_no_sum(workspace: Workspace) -> None:
    unpriced = {"price_per_hour": None, "price_date": ""}
    workspace.ledger.add(
        [
            entry(node="a", **unpriced),
            entry(node="a", charge="platform", **unpriced),
            entry(node="b"),
            entry(node="b", charge="platform", **unpriced),
            entry(node="c"),
        ]
    )

    result = collect_costs(workspace)

    assert (result.total_usd, result.node_hours, result.unpriced_node_hours) == ("1.20", 3.0, 2.0)


def test_emulated_money_is_told_apart(workspace: Workspace) -> None:
    workspace.ledger.add([entry(), entry(emulated=True, hours=2), entry(cluster="ml", emulated=True)])

    result = collect_costs(workspace)

    assert [(row.key, row.usd, row.real_usd, row.emulated_usd) for row in result.rows] == [
        ("etl", "1.80", "0.60", "1.20"),
        ("ml", "0.60", "0.00", "0.60"),
    ]
    assert (result.total_usd, result.real_usd, result.emulated_usd) == ("2.40", "0.60", "1.80")


def test_small_sums_can_be_read_in_millionths(workspace: Workspace) -> None:
    workspace.ledger.add([entry(cluster=name, hours=1 / 1800, emulated=True) for name in ("a", "b", "c")])

    result = collect_costs(workspace)

    # Two seconds at $0.60: 0.000333..., three times 0.001.
    assert [row.usd for row in result.rows] == ["0.00", "0.00", "0.00"]
    assert sorted(row.precise_usd for row in result.rows) == ["0.000333", "0.000333", "0.000334"]
    assert (result.total_usd, result.precise_usd, result.precise_emulated_usd) == ("0.00", "0.001000", "0.001000")


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("by", ["cluster", "day", "tag:team"])
def test_every_column_adds_up_to_its_total_to_the_cent(workspace: Workspace, by: str, seed: int) -> None:
    chance = random.Random(seed)
    entries = [
        entry(
            cluster=f"c-{chance.randrange(5)}",
            tags={"team": f"t-{chance.randrange(3)}"},
            emulated=chance.random() < 0.5,
            price_per_hour=Decimal(chance.randrange(1, 10_000_000)) / 1_000_000,
            started_at=NOON + timedelta(seconds=chance.random() * 500_000),
            ended_at=NOON + timedelta(seconds=500_000 + chance.random() * 100_000),
        )
        for _ in range(40)
    ]
    workspace.ledger.add(entries)

    result = collect_costs(workspace, by)

    for name in ("real_usd", "emulated_usd", "precise_usd", "precise_emulated_usd"):
        assert sum(Decimal(getattr(row, name)) for row in result.rows) == Decimal(getattr(result, name))
    assert sum(Decimal(row.usd) for row in result.rows) == Decimal(result.total_usd)
    exact = sum(
        Fraction(one.price_per_hour or 0) * Fraction((one.ended_at - one.started_at) // timedelta(microseconds=1))
        for one in entries
    )
    assert abs(Fraction(result.precise_usd) - exact / 3_600_000_000) <= Fraction("0.000001")


def test_currencies_are_never_added(workspace: Workspace) -> None:
    workspace.ledger.add([entry(), entry(cluster="ml", currency="EUR", price_per_hour=Decimal(5))])
    workspace.bills.add([billed("7.00", currency="EUR", tags={"ClusterName": "etl"})])

    result = collect_costs(workspace)

    assert (result.total_usd, result.actual_usd, keys(result)) == ("0.60", None, {"etl": "0.60", "ml": "0.00"})
    (euros,) = result.other_currencies
    assert (euros.currency, euros.total_estimate, euros.total_actual) == ("EUR", "5.00", "7.00")
    assert euros.rows == (
        {"key": "etl", "estimate": "0.00", "actual": "7.00"},
        {"key": "ml", "estimate": "5.00", "actual": None},
    )


@pytest.mark.parametrize(
    ("by", "key"),
    [("cluster", "etl"), ("job", "train"), ("user", "ada"), ("tag:team", "vision"), ("day", "2026-11-21")],
)
def test_the_real_bill_stands_beside_the_estimate(workspace: Workspace, by: str, key: str) -> None:
    workspace.ledger.add([entry(job="train", tags={"team": "vision"}), entry(emulated=True, job="train")])
    tags = {"ClusterName": "etl", "RunName": "train", "Creator": "ada", "team": "vision"}
    workspace.bills.add([billed("0.50", tags=tags), billed("0.25", tags=tags)])

    result = collect_costs(workspace, by)

    (row,) = [row for row in result.rows if row.key == key]
    # The difference is to what the cloud's own nodes should have cost: 0.75 - 0.60. Emulated ones are on no bill.
    assert (row.real_usd, row.actual_usd, row.difference_usd) == ("0.60", "0.75", "0.15")
    assert result.actual_usd == "0.75"


def test_a_machine_named_as_the_cluster_is_the_clusters(workspace: Workspace) -> None:
    workspace.ledger.add([entry()])
    workspace.bills.add([billed("1.00", resource="/subscriptions/1/virtualMachines/etl"), billed("2.00", resource="x")])

    rows = {row.key: (row.usd, row.actual_usd) for row in collect_costs(workspace).rows}

    assert rows == {"etl": ("0.60", "1.00"), "(none)": ("0.00", "2.00")}


def test_bills_are_taken_of_the_days_asked_for(workspace: Workspace) -> None:
    workspace.bills.add([billed("1.00"), billed("2.00", day=date(2026, 11, 22)), billed(None)])

    result = collect_costs(workspace, "day", since=DAY, until=DAY)

    assert (result.actual_usd, result.unpriced_bill_rows) == ("1.00", 1)


def test_what_cannot_be_asked_is_refused(workspace: Workspace) -> None:
    for by in ("tags", "tag:", "", "Day"):
        with pytest.raises(UnknownNameError, match="expected one of 'cluster', 'day', 'job', 'tag:NAME', 'user'"):
            collect_costs(workspace, by)
    with pytest.raises(InputError, match="from 2026-11-21 to 2026-11-20 is empty"):
        collect_costs(workspace, since=DAY, until=date(2026, 11, 20))


def test_an_empty_workspace_costs_nothing_and_is_not_made(workspace: Workspace) -> None:
    result = collect_costs(workspace)

    assert (result.total_usd, result.rows, result.actual_usd) == ("0.00", (), None)
    assert not workspace.root.exists()
