"""The clusters of a workspace: their state, their events, and who looks after them."""

from __future__ import annotations

import dataclasses
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import RowMapping, delete, insert, or_, select, update
from sqlalchemy.exc import IntegrityError

from nodewise.core.errors import InputError, UnknownNameError
from nodewise.core.owner import Owner
from nodewise.core.secrets import redact
from nodewise.specs.clusters import ClusterEvent, ClusterKind, ClusterRecord, ClusterState
from nodewise.specs.codec import to_json
from nodewise.workspace.database import CLUSTER_EVENTS, CLUSTERS, Database

__all__ = ["ClusterStore"]

_INSTANTS = ("created_at", "started_at", "ready_at", "ended_at", "last_used_at")
_FIELDS = [field.name for field in dataclasses.fields(ClusterRecord)]
_SUPERVISOR = ("host", "pid", "process_started_at")
_STILL_UP = [state.value for state in ClusterState if state.is_up]


class ClusterStore:
    """The tables ``clusters`` and ``cluster_events`` of one workspace; any number of processes may use them at a time.

    A cluster that has ended is brought up again only by :meth:`claim`, never by a supervisor that comes too late.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    def create(self, cluster: ClusterRecord) -> None:
        """Add a cluster.

        Raises:
            InputError: There is one of that name.
        """
        try:
            with self._database.begin() as connection:
                connection.execute(insert(CLUSTERS).values(_to_row(cluster)))
        except IntegrityError:
            there = self.get(cluster.name)
            raise InputError(
                f"there is a cluster {cluster.name!r} already ({there.state})",
                hint=f"take another name, or remove it with `nodewise clusters delete {cluster.name}`",
            ) from None

    def get(self, name: str) -> ClusterRecord:
        """The cluster of that name or id.

        Raises:
            UnknownNameError: There is none; the hint gives the nearest names.
        """
        known: list[str] = []
        if self._database.exists():
            with self._database.begin() as connection:
                query = select(CLUSTERS).where(or_(CLUSTERS.c.name == name, CLUSTERS.c.cluster_id == name))
                row = connection.execute(query).mappings().first()
                if row is not None:
                    return _to_record(row)
                all_purpose = CLUSTERS.c.kind == ClusterKind.ALL_PURPOSE.value
                known = list(connection.scalars(select(CLUSTERS.c.name).where(all_purpose)))
        raise UnknownNameError("cluster", name, known)

    def all(self) -> list[ClusterRecord]:
        """All clusters, the newest first."""
        if not self._database.exists():
            return []
        with self._database.begin() as connection:
            rows = connection.execute(select(CLUSTERS).order_by(CLUSTERS.c.created_at.desc())).mappings().all()
        return [_to_record(row) for row in rows]

    def claim(self, cluster_id: str, definition: dict[str, Any], nodes: int) -> bool:
        """Begin the start of a cluster that is down; False if somebody else has done so."""
        values = {
            "state": ClusterState.PENDING.value,
            "state_message": None,
            "definition": definition,
            "nodes": nodes,
            "started_at": _now(),
            "ready_at": None,
            "ended_at": None,
            "last_used_at": None,
            "run_id": None,
            "access": None,
            **dict.fromkeys(_SUPERVISOR),
        }
        down = CLUSTERS.c.state.not_in(_STILL_UP)
        with self._database.begin() as connection:
            query = update(CLUSTERS).where(CLUSTERS.c.cluster_id == cluster_id, down).values(values)
            return connection.execute(query).rowcount == 1

    def set_supervisor(self, cluster_id: str, owner: Owner) -> None:
        """Note the process that looks after the cluster."""
        self.change(cluster_id, host=owner.host, pid=owner.pid, process_started_at=owner.started_at)

    def supervisor(self, cluster_id: str) -> Owner | None:
        """The process that looks after the cluster, or did last; None before there was one."""
        with self._database.begin() as connection:
            row = connection.execute(select(CLUSTERS).where(CLUSTERS.c.cluster_id == cluster_id)).mappings().first()
        if row is None or row["pid"] is None:
            return None
        return Owner(host=row["host"], pid=row["pid"], started_at=row["process_started_at"])

    def change(self, cluster_id: str, **values: Any) -> bool:
        """Set columns of a cluster that is up; False if it is not."""
        row = {name: _plain(value) for name, value in values.items()}
        query = update(CLUSTERS).where(CLUSTERS.c.cluster_id == cluster_id, CLUSTERS.c.state.in_(_STILL_UP))
        with self._database.begin() as connection:
            return connection.execute(query.values(row)).rowcount == 1

    def delete(self, cluster_id: str) -> None:
        """Remove a cluster that is down, and its events. What it cost stays in the ledger."""
        with self._database.begin() as connection:
            connection.execute(delete(CLUSTER_EVENTS).where(CLUSTER_EVENTS.c.cluster_id == cluster_id))
            connection.execute(delete(CLUSTERS).where(CLUSTERS.c.cluster_id == cluster_id))

    def add_event(self, cluster_id: str, kind: str, message: str) -> None:
        """Write down what has happened; secrets in the message are blacked out."""
        row = {"cluster_id": cluster_id, "at": _now(), "kind": kind, "message": redact(message)}
        with self._database.begin() as connection:
            connection.execute(insert(CLUSTER_EVENTS).values(row))

    def events(self, cluster_id: str) -> list[ClusterEvent]:
        """What has happened to a cluster, in order."""
        query = select(CLUSTER_EVENTS).where(CLUSTER_EVENTS.c.cluster_id == cluster_id)
        with self._database.begin() as connection:
            rows = connection.execute(query.order_by(CLUSTER_EVENTS.c.event_id)).mappings().all()
        return [
            ClusterEvent(at=datetime.fromisoformat(row["at"]), kind=row["kind"], message=row["message"]) for row in rows
        ]


def _now() -> str:
    return datetime.now(UTC).isoformat()


def _plain(value: Any) -> Any:
    # A state's message may quote what a child process has printed.
    return redact(value) if isinstance(value, str) else to_json(value)


def _to_row(cluster: ClusterRecord) -> dict[str, Any]:
    row: dict[str, Any] = to_json(cluster)
    return row


def _to_record(row: RowMapping) -> ClusterRecord:
    values = {name: row[name] for name in _FIELDS}
    for name in _INSTANTS:
        values[name] = datetime.fromisoformat(values[name]) if values[name] else None
    return ClusterRecord(**values | {"kind": ClusterKind(row["kind"]), "state": ClusterState(row["state"])})
