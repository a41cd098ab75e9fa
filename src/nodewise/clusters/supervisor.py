"""The process that owns a cluster: it brings the nodes up, answers commands, keeps the books and takes all down again.

One per cluster, under a guard (:mod:`nodewise.clusters.guard`), in a session of its own, so that it outlives the
command that started it. ``python -m nodewise.clusters.supervisor WORKSPACE CLUSTER_ID CONNECTION`` is what that command
runs; ``CONNECTION`` is the number of an inherited socket, its own end of which the command keeps.

A job cluster ends when that connection closes, whatever the reason. So does an all-purpose cluster that is not up yet;
one that is up ends when it is told to, or when no run has had it for its auto-termination time.
"""

from __future__ import annotations

import os
import queue
import signal
import socket
import sys
import threading
import time
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

from nodewise.billing.budgets import enforce_budgets
from nodewise.billing.meter import ClusterBill
from nodewise.clusters.channel import Channel, is_same_user
from nodewise.clusters.nodes import Nodes
from nodewise.clusters.plan import (
    ClusterPlan,
    cluster_folder,
    make_scratch,
    plan_from_json,
    remove_scratch,
    socket_path,
)
from nodewise.clusters.scaling import Scaler
from nodewise.clusters.summary import cluster_usd
from nodewise.core.errors import BudgetExceededError, ClusterLostError, ClusterStateError, InputError, NodewiseError
from nodewise.core.owner import Owner
from nodewise.core.units import format_usd
from nodewise.specs.clusters import ClusterKind, ClusterState
from nodewise.specs.codec import to_json
from nodewise.workspace import Workspace

__all__ = ["Supervisor"]

TICK_S = 0.25
HEARTBEAT_S = 10.0


class _StopRequest(Exception):  # noqa: N818 - not an error
    """The cluster is to end; the text says why."""


@dataclass(slots=True)
class _Peer:
    """A command that is connected."""

    channel: Channel
    is_owner: bool = False


class Supervisor:
    """Brings one cluster up, serves it and ends it; :meth:`run` is its whole life."""

    def __init__(self, workspace: Workspace, cluster_id: str, owner: socket.socket) -> None:
        self._workspace = workspace
        self._store = workspace.clusters
        self._record = self._store.get(cluster_id)
        self._id = cluster_id
        self._plan: ClusterPlan = plan_from_json(self._record.definition)
        self._folder = cluster_folder(workspace.root, cluster_id)
        self._requests: queue.Queue[tuple[_Peer, dict[str, Any] | None]] = queue.Queue()
        self._end_reason: str | None = None
        self._is_up = False
        self._holder: _Peer | None = None
        self._held_by = ""
        self._started_at = datetime.now(UTC)
        self._run_tags: dict[str, str] = {}
        self._last_used = time.monotonic()
        self._last_beat = 0.0
        self._owner = _Peer(Channel(owner), is_owner=True)
        self._parent = os.getppid()
        self._listener: socket.socket | None = None
        self._scaler: Scaler | None = None

    def run(self) -> int:
        """Bring the cluster up, serve it until it is to end, take it down; the exit status."""
        signal.signal(signal.SIGTERM, lambda *_: self._end("the supervisor was asked to end (SIGTERM)"))
        self._listen_to(self._owner)
        state, reason = ClusterState.TERMINATED, ""
        try:
            scratch = make_scratch(self._folder)
            with Nodes(self._id, self._plan, self._bill(), self._folder, scratch, self._check) as nodes:
                try:
                    self._start(nodes)
                    self._serve(nodes)
                except _StopRequest as stop:
                    reason = str(stop)
                    self._store.change(self._id, state=ClusterState.TERMINATING)
                    self._event("TERMINATING", reason)
        except NodewiseError as error:
            state, reason = ClusterState.FAILED, error.message
            self._owner.channel.send({"ok": False, "error": error.to_json()})
        except Exception as error:  # a bug of ours; the cluster's record is where people look
            state, reason = ClusterState.FAILED, f"internal error: {type(error).__name__}: {error}"
            self._owner.channel.send({"ok": False, "error": {"code": "internal", "message": reason, "hint": None}})
            raise
        finally:
            remove_scratch(self._folder)
            self._event(state.value, reason)
            self._store.change(
                self._id, state=state, state_message=reason or None, ended_at=datetime.now(UTC), run_id=None
            )
            # Only now: whoever waits for the end of the connection finds everything done.
            if self._listener is not None:
                self._listener.close()
            self._owner.channel.close()
        return 0 if state is ClusterState.TERMINATED else 1

    def _bill(self) -> ClusterBill:
        return ClusterBill(
            self._workspace.ledger,
            cluster_id=self._id,
            cluster=self._record.name,
            emulated=True,
            user=self._plan.user,
            tags=self._plan.tags,
            pricing=self._plan.pricing,
        )

    # --- its start ---------------------------------------------------------------------------------------------------

    def _start(self, nodes: Nodes) -> None:
        self._store.set_supervisor(self._id, Owner.current())
        count = self._plan.autoscale[0] if self._plan.autoscale else self._plan.cluster.nodes
        self._event("STARTING", f"{_nodes(count)} of engine {self._plan.cluster.engine}")
        self._listen()
        if self._is_job:
            nodes.taken_by(self._id, self._plan.job, self._plan.tags)
        nodes.start(self._tell)
        self._note_nodes(nodes)
        self._store.change(
            self._id, state=ClusterState.RUNNING, ready_at=datetime.now(UTC), emulation_tier=nodes.tier.value
        )
        self._event("RUNNING", f"{_nodes(len(nodes.names))}, {nodes.tier.value}: {nodes.describe_limits()}")
        if self._plan.autoscale is not None:
            self._scaler = Scaler(nodes, *self._plan.autoscale, partial(self._scaled, nodes))
        self._is_up = True
        self._last_used = time.monotonic()
        self._owner.channel.send({"ok": True, "access": to_json(nodes.access), "tier": nodes.tier.value})

    def _listen(self) -> None:
        path = socket_path(self._folder)
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._listener.bind(str(path))
        self._listener.listen()

        def accept(listener: socket.socket) -> None:
            with suppress(OSError):
                while True:
                    connection, _ = listener.accept()
                    if is_same_user(connection):
                        self._listen_to(_Peer(Channel(connection)))
                    else:
                        connection.close()

        threading.Thread(target=accept, args=(self._listener,), name="accept", daemon=True).start()

    def _listen_to(self, peer: _Peer) -> None:
        def read() -> None:
            message: dict[str, Any] | None = {}
            while message is not None:
                try:
                    message = peer.channel.receive()
                except ValueError:
                    message = None
                if message is None and peer.is_owner and (self._is_job or not self._is_up):
                    self._end("the command that started it is gone" if not self._is_job else "its run is over")
                self._requests.put((peer, message))

        threading.Thread(target=read, name="read", daemon=True).start()

    @property
    def _is_job(self) -> bool:
        return self._record.kind is ClusterKind.JOB

    def _tell(self, text: str) -> None:
        self._owner.channel.send({"progress": text})

    def _end(self, reason: str) -> None:
        self._end_reason = self._end_reason or reason

    def _check(self) -> None:
        """Raise if the cluster is to end; called wherever something is waited for."""
        if os.getppid() != self._parent:
            self._end("its guard is gone")
        if self._end_reason is not None:
            raise _StopRequest(self._end_reason)

    # --- its life ----------------------------------------------------------------------------------------------------

    def _serve(self, nodes: Nodes) -> None:
        while True:
            self._check()
            self._watch(nodes)
            try:
                peer, message = self._requests.get(timeout=TICK_S)
            except queue.Empty:
                continue
            if message is None:
                self._leave(peer, nodes)
                if not peer.is_owner:
                    peer.channel.close()
                continue
            try:
                answer = self._answer(peer, message, nodes)
            except NodewiseError as error:
                peer.channel.send({"ok": False, "error": error.to_json()})
            else:
                peer.channel.send({"ok": True, **answer})

    def _watch(self, nodes: Nodes) -> None:
        """What has to be looked at from time to time."""
        for name, error in nodes.lost().items():
            self._event("NODE_LOST", error.message)
            if not nodes.replace(name):
                raise ClusterLostError(f"{error.message}", hint=error.hint)
            if name in nodes.names:
                self._event("NODE_ADDED", f"{name} in place of the one that was lost")
            self._note_nodes(nodes)
        if self._scaler is not None:
            self._scaler.watch()
        now = time.monotonic()
        if now - self._last_beat >= HEARTBEAT_S:
            self._last_beat = now
            nodes.heartbeat()
            try:
                enforce_budgets(self._workspace, self._plan.tags | self._run_tags)
            except BudgetExceededError as error:
                self._end(error.message)
            self._hold_to_budget()
        limit = self._plan.autotermination_s
        if limit is not None and not self._is_job and self._holder is None and now - self._last_used >= limit:
            self._end(f"no run for {limit / 60:g} minutes")

    def _hold_to_budget(self) -> None:
        limit = self._plan.budget_usd
        if limit is None:
            return
        spent = cluster_usd(self._workspace, self._id, since=self._started_at)
        if spent is not None and spent >= limit:
            self._end(f"its budget of {format_usd(limit)} is used up")

    def _answer(self, peer: _Peer, message: dict[str, Any], nodes: Nodes) -> dict[str, Any]:
        access = False
        answer: dict[str, Any] = {}
        match message.get("op"):
            case "take":
                self._take(peer, message, nodes)
                access = True
            case "release":
                self._leave(peer, nodes)
            case "limit":
                nodes.limit()
            case "access":
                access = True
            case "resize":
                self._resize(message, nodes, peer)
                access = True
            case "nodes":
                answer = {"nodes": nodes.hosts}
            case "add_nodes" if self._scaler is not None:
                answer = {"names": self._scaler.add(int(message["count"]))}
            case "remove_node" if self._scaler is not None:
                self._scaler.remove(str(message["name"]))
            case "stop":
                self._stop(peer, message)
            case op:
                raise InputError(f"unknown request {op!r}")
        return {"access": to_json(nodes.access), "tier": nodes.tier.value} if access else answer

    def _stop(self, peer: _Peer, message: dict[str, Any]) -> None:
        if self._holder not in (None, peer) and not message.get("force"):
            raise ClusterStateError(
                f"cluster {self._record.name!r} is busy with {self._held_by}",
                hint="wait for it, or stop it all the same with --force",
            )
        self._end(str(message.get("reason") or "stopped by the user"))

    def _take(self, peer: _Peer, message: dict[str, Any], nodes: Nodes) -> None:
        if self._holder is not None:
            raise ClusterStateError(
                f"cluster {self._record.name!r} is busy with {self._held_by}",
                hint="wait for it, or take another cluster",
            )
        run_id, job = str(message["run_id"]), str(message["job"])
        self._holder, self._held_by = peer, f"run {run_id} ({job})"
        self._store.change(self._id, run_id=run_id)
        self._event("RUN_STARTED", self._held_by)
        self._run_tags = dict(message.get("tags") or {})
        nodes.taken_by(run_id, job, self._run_tags)

    def _leave(self, peer: _Peer, nodes: Nodes) -> None:
        if self._holder is not peer:
            return
        self._event("RUN_ENDED", self._held_by)
        self._holder, self._held_by, self._run_tags = None, "", {}
        self._last_used = time.monotonic()
        nodes.released()
        self._store.change(self._id, run_id=None, last_used_at=datetime.now(UTC))

    def _resize(self, message: dict[str, Any], nodes: Nodes, peer: _Peer) -> None:
        wanted = int(message["nodes"])
        if wanted < 1:
            raise InputError(f"a cluster has at least one node, not {wanted}")
        if self._plan.autoscale is not None:
            least, most = self._plan.autoscale
            raise InputError(
                f"cluster {self._record.name!r} has {least} to {most} nodes, as its engine needs them",
                hint="for a fixed number create a cluster with `workers`",
            )
        if self._holder not in (None, peer) and not message.get("force"):
            raise ClusterStateError(
                f"cluster {self._record.name!r} is busy with {self._held_by}", hint="resize it when that is over"
            )
        before = len(nodes.names)
        self._store.change(self._id, state=ClusterState.RESIZING)
        try:
            self._event("RESIZING", f"from {before} to {_nodes(wanted)}")
            nodes.resize(wanted, lambda text: peer.channel.send({"progress": text}))
        finally:
            self._note_nodes(nodes)
            self._store.change(self._id, state=ClusterState.RUNNING)
        self._event("RESIZED", _nodes(len(nodes.names)))

    def _scaled(self, nodes: Nodes, kind: str, message: str) -> None:
        self._event(kind, message)
        self._note_nodes(nodes)

    def _note_nodes(self, nodes: Nodes) -> None:
        self._store.change(self._id, nodes=len(nodes.names), access=to_json(nodes.access))

    def _event(self, kind: str, message: str) -> None:
        self._store.add_event(self._id, kind, message)


def _nodes(count: int) -> str:
    return f"{count} node" if count == 1 else f"{count} nodes"


def main() -> int:
    """Run the supervisor that the command line names."""
    root, cluster_id, connection = sys.argv[1:]
    for number in (signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    owner = socket.socket(fileno=int(connection))
    owner.set_inheritable(False)
    workspace = Workspace(Path(root))
    return Supervisor(workspace, cluster_id, owner).run()


if __name__ == "__main__":
    sys.exit(main())
