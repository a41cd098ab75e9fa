from __future__ import annotations

import subprocess
import sys
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from pathlib import Path

import pytest
from tests.billing.bills import NOON, entry

from nodewise.core.errors import UnknownNameError
from nodewise.specs.costs import BillRow, Budget
from nodewise.workspace import Workspace


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return Workspace(tmp_path / "ws")


def test_an_entry_comes_back_as_it_was_written(workspace: Workspace) -> None:
    written = entry(
        price_per_hour=Decimal("0.12345678901234567890"),
        started_at=NOON + timedelta(microseconds=7),
        run_id="r-1",
        job="train",
        tags={"team": "vision", "ö": "=1+1"},
        emulated=True,
    )
    unpriced = entry(price_per_hour=None, node_type=None, started_at=NOON + timedelta(hours=1))

    first, second = workspace.ledger.add([written, unpriced])

    read = Workspace(workspace.root).ledger.entries()
    assert [one.entry_id for one in read] == [first, second]
    assert read[0].price_per_hour == Decimal("0.12345678901234567890")
    assert (read[0].started_at, read[0].started_at.tzinfo) == (written.started_at, UTC)
    assert (read[0].tags, read[0].emulated, read[0].job) == (written.tags, True, "train")
    assert (read[1].price_per_hour, read[1].node_type, read[1].emulated) == (None, None, False)


def test_instants_of_other_zones_are_kept_in_utc(workspace: Workspace) -> None:
    tokyo = datetime(2026, 11, 21, 21, tzinfo=timezone(timedelta(hours=9)))

    workspace.ledger.add([entry(started_at=tokyo)])

    assert workspace.ledger.entries()[0].started_at.isoformat() == "2026-11-21T12:00:00+00:00"


def test_entries_that_overlap_the_bounds_come_whole_and_in_order(workspace: Workspace) -> None:
    hours = [NOON + timedelta(hours=number) for number in range(4)]
    workspace.ledger.add([entry(node=f"node-{number}", started_at=at) for number, at in reversed([*enumerate(hours)])])

    def nodes(since: datetime | None, until: datetime | None) -> list[str]:
        return [one.node for one in workspace.ledger.entries(since=since, until=until)]

    assert nodes(None, None) == ["node-0", "node-1", "node-2", "node-3"]
    assert nodes(hours[1], hours[2]) == ["node-1"]
    assert nodes(hours[1] - timedelta(microseconds=1), hours[2] + timedelta(microseconds=1)) == [
        "node-0",
        "node-1",
        "node-2",
    ]
    assert nodes(hours[3] + timedelta(hours=1), None) == []


def test_entries_of_one_cluster_or_run(workspace: Workspace) -> None:
    workspace.ledger.add([entry(), entry(cluster_id="c-2", run_id="r-2")])

    assert [one.cluster_id for one in workspace.ledger.entries(cluster_id="c-2")] == ["c-2"]
    assert [one.cluster_id for one in workspace.ledger.entries(run_id="r-2")] == ["c-2"]
    assert workspace.ledger.entries(run_id="r-3") == []


def test_an_end_moves_on_and_never_back(workspace: Workspace) -> None:
    ids = workspace.ledger.add([entry(hours=0), entry(hours=3)])

    workspace.ledger.extend(ids, NOON + timedelta(hours=2))

    ends = [one.ended_at - NOON for one in workspace.ledger.entries()]
    assert ends == [timedelta(hours=2), timedelta(hours=3)]


def test_a_thousand_entries_are_extended_at_once(workspace: Workspace) -> None:
    ids = workspace.ledger.add([entry(hours=0)] * 1001)

    workspace.ledger.extend(ids, NOON + timedelta(minutes=1))

    assert {one.ended_at for one in workspace.ledger.entries()} == {NOON + timedelta(minutes=1)}


def test_entries_are_written_all_or_none(workspace: Workspace) -> None:
    with pytest.raises(ValueError, match="before its start"):
        workspace.ledger.add([entry(), entry(hours=-1)])
    with pytest.raises(ValueError, match="has no time zone"):
        workspace.ledger.add([entry(started_at=datetime(2026, 1, 1))])

    assert workspace.ledger.entries() == []


def test_reading_makes_nothing_on_the_disk(workspace: Workspace) -> None:
    assert (workspace.ledger.entries(), workspace.budgets.list(), workspace.bills.rows()) == ([], [], [])
    assert workspace.ledger.add([]) == []

    assert not workspace.root.exists()


def test_two_processes_write_at_once(workspace: Workspace) -> None:
    code = (
        "import sys\nfrom datetime import UTC, datetime\nfrom pathlib import Path\n"
        "from nodewise.specs.ledger import LedgerEntry\nfrom nodewise.workspace import Workspace\n"
        "at = datetime(2026, 11, 21, tzinfo=UTC)\nledger = Workspace(Path(sys.argv[1])).ledger\n"
        "one = LedgerEntry(cluster_id='c', cluster='c', node='n', node_type=None, price_per_hour=None, emulated=True,\n"
        "    started_at=at, ended_at=at, user='u')\n"
        "for _ in range(50):\n    ledger.add([one, one])\n"
    )
    processes = [subprocess.Popen([sys.executable, "-c", code, workspace.root]) for _ in range(2)]

    assert [process.wait() for process in processes] == [0, 0]
    assert len({one.entry_id for one in workspace.ledger.entries()}) == 200


def test_a_tag_has_one_budget_the_last_that_was_set(workspace: Workspace) -> None:
    workspace.budgets.put(Budget(tag="team=vision", warn=Decimal("1.10")))
    workspace.budgets.put(Budget(tag="team=vision", stop=Decimal(10), period="total"))
    workspace.budgets.put(Budget(tag="team=audio", stop=Decimal(1)))

    assert workspace.budgets.list() == [
        Budget(tag="team=audio", stop=Decimal(1)),
        Budget(tag="team=vision", stop=Decimal(10), period="total"),
    ]


def test_a_budget_that_is_not_there_cannot_be_removed(workspace: Workspace) -> None:
    workspace.budgets.put(Budget(tag="team=vision", stop=Decimal(1)))

    with pytest.raises(UnknownNameError, match="unknown budget 'team=visoin'") as caught:
        workspace.budgets.remove("team=visoin")
    assert caught.value.hint == "did you mean 'team=vision'?"
    workspace.budgets.remove("team=vision")
    assert workspace.budgets.list() == []


def bill_row(key: str, day: date, cost: Decimal | None = Decimal("1.5")) -> BillRow:
    return BillRow(
        source="azure: a.csv", row_key=key, day=day, service="VM", resource="/vm", cost=cost, currency="EUR", tags={}
    )


def test_a_line_of_a_bill_is_kept_once(workspace: Workspace) -> None:
    first, second = bill_row("a", date(2026, 11, 1)), bill_row("b", date(2026, 11, 2), None)

    assert workspace.bills.add([first, second]) == [first, second]
    assert workspace.bills.add([first, bill_row("c", date(2026, 11, 3))]) == [bill_row("c", date(2026, 11, 3))]

    assert [row.row_key for row in workspace.bills.rows()] == ["a", "b", "c"]
    assert workspace.bills.rows(since=date(2026, 11, 2), until=date(2026, 11, 3)) == [second]
