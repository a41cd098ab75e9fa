"""A command's hold on an emulated cluster: starting one, taking one that is up, and letting go."""

from __future__ import annotations

import os
import select
import socket
import subprocess
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from nodewise.clusters.channel import Channel, connect
from nodewise.clusters.plan import ClusterPlan, access_from_json, cluster_folder, socket_path
from nodewise.core.errors import ClusterStateError, NodewiseError
from nodewise.specs.access import ClusterAccess
from nodewise.specs.clusters import ClusterKind, ClusterRecord, ClusterState
from nodewise.specs.place import CLUSTER_VARIABLE, EmulationTier, NodeLimits
from nodewise.workspace import Workspace

__all__ = ["ClusterLink", "launch", "needs_supervisor", "start_job_cluster", "take_cluster"]

END_TIMEOUT_S = 30.0


class ClusterLink:
    """A cluster that is up, and that this command has, until :meth:`close`. Used from one thread.

    Attributes:
        access: How to reach it.
        tier: How far its nodes are kept apart.
    """

    def __init__(self, channel: Channel, guard: subprocess.Popen[bytes] | None, answer: dict[str, Any]) -> None:
        self._channel = channel
        self._guard = guard
        self._is_closed = False
        self.access: ClusterAccess = access_from_json(answer["access"])
        self.tier = EmulationTier(answer["tier"])

    def limit(self) -> None:
        """Hold the nodes to their CPU share from now on."""
        self._channel.request("limit")

    def watch(self, on_loss: Callable[[], None]) -> None:
        """Call a function, from a thread of its own, should the cluster end before :meth:`close`."""

        def wait() -> None:
            poll = select.poll()
            poll.register(self._channel.fileno(), select.POLLRDHUP)
            poll.poll()
            if not self._is_closed:
                on_loss()

        threading.Thread(target=wait, name="watch-cluster", daemon=True).start()

    def leave_up(self) -> None:
        """Go away without a word: an all-purpose cluster stays up, whatever becomes of this process."""
        self._is_closed = True
        self._channel.close()
        if self._guard is not None:
            # Whenever it ends, it must not stay a zombie for as long as this process lives.
            threading.Thread(target=self._guard.wait, name="reap-guard", daemon=True).start()

    def close(self) -> None:
        """Let go of the cluster; a job cluster ends with that, and this returns when nothing of it is left."""
        self._is_closed = True
        if self._guard is None:
            with suppress(NodewiseError):
                self._channel.request("release")
            self._channel.close()
            return
        with suppress(NodewiseError):
            self._channel.request("stop", reason="its run is over")
        _wait_for_end(self._channel, self._guard)


def needs_supervisor(plan: ClusterPlan) -> bool:
    """Whether the cluster consists of processes that somebody has to look after.

    Without: somebody else's cluster, and a single node without limits that is the engine's own process (Spark's
    ``local[...]``, the local engine's workers).
    """
    cluster = plan.cluster
    if cluster.address is not None:
        return False
    is_limited = cluster.limits != NodeLimits()
    return cluster.engine == "ray" or cluster.nodes > 1 or is_limited or bool(plan.libraries or plan.init_script)


def start_job_cluster(
    workspace: Workspace, run_id: str, plan: ClusterPlan, tell: Callable[[str], None] = lambda _text: None
) -> ClusterLink:
    """Bring up a cluster for one run. It ends with :meth:`ClusterLink.close`, and with this process however that ends.

    Raises:
        NodewiseError: It did not come up; nothing of it is left.
    """
    record = ClusterRecord(
        cluster_id=run_id,
        name=run_id,
        kind=ClusterKind.JOB,
        engine=plan.cluster.engine,
        provider="emulated",
        state=ClusterState.PENDING,
        nodes=plan.cluster.nodes,
        definition=plan.to_json(),
        created_at=datetime.now(UTC),
        started_at=datetime.now(UTC),
    )
    workspace.create()
    workspace.clusters.create(record)
    return launch(workspace, record, tell)


def launch(
    workspace: Workspace, record: ClusterRecord, tell: Callable[[str], None] = lambda _text: None
) -> ClusterLink:
    """Start the supervisor of a cluster whose record is PENDING, and wait until the nodes are up.

    Raises:
        NodewiseError: It did not come up; nothing of it is left, and the record says why.
    """
    folder = cluster_folder(workspace.root, record.cluster_id)
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    ours, theirs = socket.socketpair()
    who = [str(workspace.root), record.cluster_id]
    supervisor = [sys.executable, "-m", "nodewise.clusters.supervisor", *who, str(theirs.fileno())]
    aftermath = [sys.executable, "-m", "nodewise.clusters.aftermath", *who]
    guard = str(Path(__file__).with_name("guard.py"))
    with theirs, (folder / "supervisor.log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-S", "-E", guard, *supervisor, "--", *aftermath],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            pass_fds=[theirs.fileno()],
            start_new_session=True,
            env=_environment() | {CLUSTER_VARIABLE: record.cluster_id},
        )
    channel = Channel(ours)
    try:
        return ClusterLink(channel, process, channel.answer(tell))
    except BaseException:
        _wait_for_end(channel, process)
        raise


def take_cluster(
    workspace: Workspace, name: str, run_id: str, job: str, tags: dict[str, str]
) -> tuple[ClusterRecord, ClusterLink]:
    """Have an all-purpose cluster that is up for a run.

    Raises:
        UnknownNameError: There is no such cluster.
        ClusterStateError: It is down, or another run has it.
    """
    record = workspace.clusters.get(name)
    channel = connect(socket_path(cluster_folder(workspace.root, record.cluster_id)))
    if channel is None or record.state not in (ClusterState.RUNNING, ClusterState.RESIZING):
        raise ClusterStateError(
            f"cluster {record.name!r} is {record.state}, not {ClusterState.RUNNING}",
            hint=f"`nodewise clusters start {record.name}` brings it up",
        )
    try:
        link = ClusterLink(channel, None, channel.request("take", run_id=run_id, job=job, tags=tags))
    except BaseException:
        channel.close()
        raise
    return record, link


def _wait_for_end(channel: Channel, guard: subprocess.Popen[bytes]) -> None:
    """Close the connection and wait until the guard has seen to it that nothing is left."""
    channel.close()
    try:
        guard.wait(END_TIMEOUT_S)
    except subprocess.TimeoutExpired:
        guard.terminate()


def _environment() -> dict[str, str]:
    # The supervisor must find this very nodewise, also where it was put on the path by hand.
    path = os.pathsep.join(filter(None, [str(Path(__file__).parents[2]), os.environ.get("PYTHONPATH", "")]))
    return {**os.environ, "PYTHONPATH": path}
