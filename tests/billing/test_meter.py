from __future__ import annotations

import itertools
import signal
import subprocess
import sys
import threading
import time
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import pytest

from nodewise.billing.meter import ClusterBill, bill_run, steady_clock
from nodewise.core.errors import UnknownNameError
from nodewise.metering.pricing import Pricing
from nodewise.specs.cluster import ClusterSpec
from nodewise.specs.ledger import LedgerEntry
from nodewise.specs.scenario import DatabricksFee
from nodewise.workspace import Workspace

from .bills import NOON, Clock


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return Workspace(tmp_path / "ws")


@pytest.fixture
def clock() -> Clock:
    return Clock()


def make_bill(workspace: Workspace, clock: Clock, pricing: Pricing | None = None) -> ClusterBill:
    return ClusterBill(
        workspace.ledger,
        cluster_id="c-1",
        cluster="etl",
        emulated=True,
        user="ada",
        tags={"team": "vision", "env": "test"},
        pricing=pricing,
        clock=clock,
    )


def minutes(entry: LedgerEntry) -> tuple[float, float]:
    return (entry.started_at - NOON).total_seconds() / 60, (entry.ended_at - NOON).total_seconds() / 60


def test_a_node_is_in_the_ledger_from_its_start_to_its_stop(workspace: Workspace, clock: Clock) -> None:
    bill = make_bill(workspace, clock)
    bill.node_started("node-0", "Standard_DS3_v2")
    clock.forward(minutes=10)
    bill.node_started("node-1", "Standard_DS3_v2")
    clock.forward(minutes=10)
    bill.node_stopped("node-0")
    clock.forward(minutes=10)
    bill.close()

    first, second = workspace.ledger.entries()
    assert (first.node, minutes(first)) == ("node-0", (0, 20))
    assert (second.node, minutes(second)) == ("node-1", (10, 30))
    assert (first.price_per_hour, first.charge, first.emulated) == (Decimal("0.293"), "compute", True)
    assert (first.cluster_id, first.cluster, first.user) == ("c-1", "etl", "ada")
    assert first.price_date == "2026-06-18"
    assert "karpenter" in first.price_note


def test_a_run_that_takes_the_cluster_has_its_time_and_its_tags(workspace: Workspace, clock: Clock) -> None:
    bill = make_bill(workspace, clock)
    bill.node_started("node-0", "Standard_DS3_v2")
    clock.forward(minutes=5)
    bill.taken_by("r-1", "train", {"team": "audio"})
    clock.forward(minutes=20)
    bill.node_started("node-1", "Standard_DS3_v2")
    clock.forward(minutes=5)
    bill.released()
    clock.forward(minutes=1)
    bill.close()

    told = [(one.node, minutes(one), one.run_id, one.job, one.tags) for one in workspace.ledger.entries()]
    idle, busy = {"team": "vision", "env": "test"}, {"team": "audio", "env": "test"}
    assert told == [
        ("node-0", (0, 5), None, None, idle),
        ("node-0", (5, 30), "r-1", "train", busy),
        ("node-1", (25, 30), "r-1", "train", busy),
        ("node-0", (30, 31), None, None, idle),
        ("node-1", (30, 31), None, None, idle),
    ]


def test_a_platform_has_an_entry_of_its_own(workspace: Workspace, clock: Clock) -> None:
    bill = make_bill(workspace, clock, Pricing(market="spot", platform=DatabricksFee()))
    bill.node_started("driver", "Standard_DS3_v2")
    bill.close()

    assert [(one.charge, one.price_per_hour) for one in workspace.ledger.entries()] == [
        ("compute", Decimal("0.03223")),
        ("platform", Decimal("0.225")),
    ]


def test_an_unknown_price_is_not_zero(workspace: Workspace, clock: Clock) -> None:
    bill = make_bill(workspace, clock)
    bill.node_started("node-0", None)
    clock.forward(hours=1)
    bill.close()

    (entry,) = workspace.ledger.entries()
    assert (entry.price_per_hour, minutes(entry)) == (None, (0, 60))
    assert entry.price_note == "no node type was named"


def test_a_crash_loses_the_time_since_the_last_heartbeat(workspace: Workspace, clock: Clock) -> None:
    bill = make_bill(workspace, clock)
    bill.node_started("node-0", "Standard_DS3_v2")
    bill.node_started("node-1", "Standard_DS3_v2")
    clock.forward(minutes=1)
    bill.heartbeat()
    clock.forward(seconds=59)  # and here it dies

    assert [minutes(one) for one in workspace.ledger.entries()] == [(0, 1), (0, 1)]


def test_a_process_killed_at_any_moment_leaves_a_ledger_that_can_be_read(
    workspace: Workspace, repetitions: int
) -> None:
    code = (
        "import sys, itertools\nfrom pathlib import Path\nfrom nodewise.billing.meter import ClusterBill\n"
        "from nodewise.workspace import Workspace\nledger = Workspace(Path(sys.argv[1])).ledger\n"
        "bill = ClusterBill(ledger, cluster_id=sys.argv[2], cluster='c', emulated=True, user='u')\n"
        "for n in range(3):\n    bill.node_started(f'node-{n}', 'Standard_DS3_v2')\n"
        "print('up', flush=True)\n"
        "for n in itertools.count():\n    bill.taken_by(f'r-{n}', 'train')\n    bill.heartbeat()\n    bill.released()\n"
    )
    for number in range(repetitions):
        arguments = [sys.executable, "-c", code, workspace.root, f"c-{number}"]
        process = subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True)
        assert process.stdout is not None
        assert process.stdout.readline() == "up\n"
        time.sleep(0.03 * number / repetitions)
        process.send_signal(signal.SIGKILL)
        process.communicate()

        entries = workspace.ledger.entries(cluster_id=f"c-{number}")
        for node in ("node-0", "node-1", "node-2"):
            of_node = [one for one in entries if one.node == node]
            assert of_node
            # No time is counted twice, and none in the middle is lost.
            for before, after in itertools.pairwise(of_node):
                assert before.ended_at == after.started_at


def test_a_node_that_is_up_cannot_start_and_one_that_is_not_need_not_stop(workspace: Workspace, clock: Clock) -> None:
    bill = make_bill(workspace, clock)
    bill.node_stopped("node-0")
    bill.node_started("node-0", None)
    with pytest.raises(ValueError, match="node-0 of etl is in the ledger already"):
        bill.node_started("node-0", None)
    bill.close()
    bill.close()
    with pytest.raises(UnknownNameError):
        bill.node_started("node-1", "Standard_DS33")

    assert len(workspace.ledger.entries()) == 1


def test_a_node_that_comes_back_has_a_new_entry(workspace: Workspace, clock: Clock) -> None:
    bill = make_bill(workspace, clock)
    for _ in range(2):
        bill.node_started("node-0", None)
        clock.forward(minutes=1)
        bill.node_stopped("node-0")
        clock.forward(minutes=1)

    assert [minutes(one) for one in workspace.ledger.entries()] == [(0, 1), (2, 3)]


def test_time_that_goes_back_takes_nothing_away(workspace: Workspace, clock: Clock) -> None:
    bill = make_bill(workspace, clock)
    bill.node_started("node-0", "Standard_DS3_v2")
    clock.forward(minutes=10)
    bill.heartbeat()
    clock.forward(hours=-1)
    bill.taken_by("r-1", "train")
    bill.close()

    assert [minutes(one) for one in workspace.ledger.entries()] == [(0, 10), (0, 0)]


def test_the_steady_clock_shows_utc_and_goes_forward() -> None:
    clock = steady_clock()
    first, second = clock(), clock()

    assert first <= second
    assert first.tzinfo is UTC
    assert abs(first - datetime.now(UTC)) < timedelta(minutes=1)


def test_calls_from_several_threads_lose_nothing(workspace: Workspace, clock: Clock) -> None:
    bill = make_bill(workspace, clock)
    threads = [threading.Thread(target=bill.node_started, args=(f"node-{n}", None)) for n in range(8)]
    threads += [threading.Thread(target=bill.heartbeat) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    clock.forward(minutes=1)
    bill.close()

    assert {(one.node, minutes(one)) for one in workspace.ledger.entries()} == {(f"node-{n}", (0, 1)) for n in range(8)}


def test_a_run_without_a_supervisor_is_billed_in_one_call(workspace: Workspace) -> None:
    cluster = ClusterSpec(engine="spark", nodes=2, node_type="n2-standard-4", address="spark://10.0.0.1:7077")
    ids = bill_run(
        workspace.ledger,
        run_id="r-1",
        cluster=cluster,
        job="score",
        user="ada",
        started_at=NOON,
        ended_at=NOON + timedelta(minutes=30),
        tags={"team": "vision"},
        pricing=Pricing(platform="dataproc"),
    )

    entries = workspace.ledger.entries(run_id="r-1")
    assert [one.entry_id for one in entries] == ids
    assert [(one.node, one.charge, one.price_per_hour) for one in entries] == [
        ("node-0", "compute", Decimal("0.194236")),
        ("node-0", "platform", Decimal("0.04")),
        ("node-1", "compute", Decimal("0.194236")),
        ("node-1", "platform", Decimal("0.04")),
    ]
    assert {(one.cluster, one.emulated, minutes(one)) for one in entries} == {("r-1", False, (0, 30))}
