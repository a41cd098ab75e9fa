"""What a session's cluster tells of a run: the network that held it back, and who paid for what."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from decimal import Decimal
from pathlib import Path

import pytest
from tests.engines import tasks

from nodewise.analysis.compare import summarise_scenario
from nodewise.core.errors import BudgetExceededError
from nodewise.core.progress import SILENT
from nodewise.isolation.tiers import detect_tier
from nodewise.runs.session import open_session
from nodewise.specs.cluster import ClusterSpec
from nodewise.specs.costs import Budget
from nodewise.specs.place import EmulationTier, NodeLimits
from nodewise.specs.scenario import Scenario
from nodewise.workspace import Workspace

RATE = 100_000_000


@pytest.fixture(autouse=True)
def _functions_reach_the_workers() -> None:
    tasks.carry_by_value()


@contextmanager
def bytes_served(host: str) -> Iterator[int]:
    """A server that sends as many bytes as it is asked for; its port."""

    def serve(connection: socket.socket) -> None:
        with connection:
            connection.sendall(bytes(int(connection.recv(64))))

    def accept() -> None:
        while True:
            try:
                connection, _ = server.accept()
            except OSError:
                return
            threading.Thread(target=serve, args=(connection,), daemon=True).start()

    with socket.create_server((host, 0)) as server:
        threading.Thread(target=accept, daemon=True).start()
        yield server.getsockname()[1]


@pytest.mark.skipif(
    detect_tier().tier is not EmulationTier.NAMESPACES,
    reason="no network per node here: "
    + "; ".join(finding.detail for finding in detect_tier().findings if not finding.ok),
)
def test_a_job_that_reads_over_a_slow_link_is_said_to_be_limited_by_it(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path / "workspace")
    cluster = ClusterSpec(engine="local", nodes=2, limits=NodeLimits(cpus=0.5, network_bits_per_s=RATE))
    with open_session(workspace, "read", cluster, SILENT) as session:
        assert session.hold.link is not None
        host = session.hold.link.access.driver_host
        with bytes_served(host) as port, session.stage("read") as stage:
            # Each node reads 50 MB, which takes 4 s at that rate.
            read = stage.map(tasks.download, [(host, port, 12_500_000)] * 8)
    assert sum(read) == 100_000_000
    run = session.run
    assert run.emulation_tier is EmulationTier.NAMESPACES
    usage = workspace.read_usage(run.run_id)
    began, wall_s = run.stages[0].started_at, run.stages[0].wall_s
    for node in ("node-0", "node-1"):
        inside = [
            sample
            for sample in usage
            if sample.node == node and sample.at - sample.interval_s > began and sample.at < began + wall_s
        ]
        rates = [8 * (sample.received_bytes or 0) / sample.interval_s for sample in inside]
        assert inside
        assert max(rates) <= 1.1 * RATE
    scenario = Scenario(name="two", engine="local", nodes=2)
    summary = summarise_scenario(
        scenario,
        [run],
        {run.run_id: workspace.read_tasks(run.run_id)},
        price_usd_per_hour=None,
        price_note="",
        usage={run.run_id: usage},
    )
    assert summary.limited_by == "network"
    assert "100 Mbit/s" in summary.limit_sentence
    assert summary.emulation_tier == "namespaces"


def test_a_node_that_is_the_machine_is_in_the_ledger_too(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path / "workspace")
    cluster = ClusterSpec(engine="local", node_type="Standard_DS3_v2")
    with open_session(workspace, "prepare", cluster, SILENT, tags={"who": "me"}) as session:
        assert session.hold.link is None
    (entry,) = workspace.ledger.entries()
    assert (entry.run_id, entry.job, entry.node, entry.tags) == (session.run.run_id, "prepare", "node-0", {"who": "me"})
    assert (entry.price_per_hour, entry.emulated) == (Decimal("0.293"), True)
    assert session.run.emulation_tier is None
    assert {sample.node for sample in workspace.read_usage(session.run.run_id)} <= {"node-0", "machine"}


def test_a_job_cluster_is_the_runs_from_its_first_moment(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path / "workspace")
    cluster = ClusterSpec(engine="local", nodes=2, node_type="Standard_DS3_v2")
    with open_session(workspace, "train", cluster, SILENT, tags={"who": "me"}) as session:
        pass
    entries = workspace.ledger.entries()
    assert sorted(entry.node for entry in entries) == ["node-0", "node-1"]
    assert {(entry.run_id, entry.job, entry.tags["who"]) for entry in entries} == {(session.run.run_id, "train", "me")}


def test_a_budget_that_is_used_up_stops_a_run_before_it_begins(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path / "workspace")
    workspace.budgets.put(Budget(tag="who=me", warn=None, stop=Decimal(0), period="total"))
    cluster = ClusterSpec(engine="local", nodes=2, node_type="Standard_DS3_v2")
    with (
        pytest.raises(BudgetExceededError),
        open_session(workspace, "train", cluster, SILENT, tags={"who": "me"}),
    ):
        raise AssertionError("the block is not entered")
    assert workspace.list_runs() == []
