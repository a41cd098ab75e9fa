"""Writes the ledger: for a cluster while it is up, or for a run afterwards."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from nodewise.metering.pricing import PricePart, Pricing, price_parts
from nodewise.specs.cluster import ClusterSpec
from nodewise.specs.ledger import LedgerEntry
from nodewise.workspace.ledger import Ledger

__all__ = ["ClusterBill", "bill_run", "steady_clock"]

Clock = Callable[[], datetime]


def steady_clock() -> Clock:
    """A clock that shows UTC and runs on evenly, whatever becomes of the machine's time meanwhile."""
    began_at, began = datetime.now(UTC), time.monotonic()
    return lambda: began_at + timedelta(seconds=time.monotonic() - began)


class ClusterBill:
    """The entries of one cluster in the ledger, one per node, charge and stretch of time.

    An entry is open from when its node has started until the node, the run that has the cluster, or the cluster ends.
    Each call writes at once, and open entries reach at least to the last :meth:`heartbeat`: a crash loses no more than
    the time since. Calls may come from several threads.
    """

    def __init__(
        self,
        ledger: Ledger,
        *,
        cluster_id: str,
        cluster: str,
        emulated: bool,
        user: str,
        tags: Mapping[str, str] | None = None,
        pricing: Pricing | None = None,
        clock: Clock | None = None,
    ) -> None:
        """``tags`` are the cluster's; those of a run join them while it has the cluster, and win over them."""
        self._ledger = ledger
        self._cluster_id = cluster_id
        self._cluster = cluster
        self._emulated = emulated
        self._user = user
        self._tags = dict(tags or {})
        self._pricing = pricing
        self._clock = clock or steady_clock()
        self._lock = threading.Lock()
        self._open: dict[str, list[tuple[int, LedgerEntry]]] = {}
        self._run_id: str | None = None
        self._job: str | None = None
        self._run_tags: dict[str, str] = {}

    def node_started(self, node: str, node_type: str | None) -> None:
        """The node's time counts from now on. It must not be up already.

        Raises:
            UnknownNameError: There is no such node type.
            SpecError: The platform does not run on it.
        """
        parts = price_parts(node_type, self._pricing)
        with self._lock:
            if node in self._open:
                raise ValueError(f"node {node} of {self._cluster} is in the ledger already")
            now = self._clock()
            self._open[node] = self._write([self._entry(node, node_type, part, now) for part in parts])

    def node_stopped(self, node: str) -> None:
        """The node's time counts no more; nothing happens if it is not up."""
        with self._lock:
            entries = self._open.pop(node, [])
            self._extend(entries, self._clock())

    def taken_by(self, run_id: str, job: str | None, tags: Mapping[str, str] | None = None) -> None:
        """From now on the nodes' time is the run's."""
        with self._lock:
            self._run_id, self._job, self._run_tags = run_id, job, dict(tags or {})
            self._turn()

    def released(self) -> None:
        """From now on no run has the cluster: it is idle."""
        with self._lock:
            self._run_id, self._job, self._run_tags = None, None, {}
            self._turn()

    def heartbeat(self) -> None:
        """Write down that the nodes are still up; to be called at least every minute."""
        with self._lock:
            self._extend([pair for entries in self._open.values() for pair in entries], self._clock())

    def close(self) -> None:
        """All nodes are stopped. Closing twice is no harm."""
        with self._lock:
            self._extend([pair for entries in self._open.values() for pair in entries], self._clock())
            self._open.clear()

    def _turn(self) -> None:
        """End every open entry and begin its successor at the same instant."""
        now = self._clock()
        for node, entries in self._open.items():
            self._extend(entries, now)
            successors = [
                replace(
                    entry,
                    started_at=max(now, entry.started_at),
                    ended_at=max(now, entry.started_at),
                    run_id=self._run_id,
                    job=self._job,
                    tags=self._tags | self._run_tags,
                )
                for _, entry in entries
            ]
            self._open[node] = self._write(successors)

    def _entry(self, node: str, node_type: str | None, part: PricePart, now: datetime) -> LedgerEntry:
        return LedgerEntry(
            cluster_id=self._cluster_id,
            cluster=self._cluster,
            node=node,
            node_type=node_type,
            charge=part.charge,
            price_per_hour=part.per_hour,
            currency=part.currency,
            price_note=part.note,
            price_date=part.date,
            emulated=self._emulated,
            started_at=now,
            ended_at=now,
            run_id=self._run_id,
            job=self._job,
            user=self._user,
            tags=self._tags | self._run_tags,
        )

    def _write(self, entries: list[LedgerEntry]) -> list[tuple[int, LedgerEntry]]:
        return list(zip(self._ledger.add(entries), entries, strict=True))

    def _extend(self, entries: list[tuple[int, LedgerEntry]], now: datetime) -> None:
        if entries:
            self._ledger.extend([entry_id for entry_id, _ in entries], now)


def bill_run(
    ledger: Ledger,
    *,
    run_id: str,
    cluster: ClusterSpec,
    job: str | None,
    user: str,
    started_at: datetime,
    ended_at: datetime,
    tags: Mapping[str, str] | None = None,
    pricing: Pricing | None = None,
) -> list[int]:
    """Write down a run that had a cluster to itself and no supervisor: the plain machine, or one at an address.

    Each of the cluster's nodes is billed from ``started_at`` to ``ended_at``.

    Returns:
        The ids of the entries.

    Raises:
        UnknownNameError: There is no such node type.
        SpecError: The platform does not run on it.
    """
    return ledger.add(
        LedgerEntry(
            cluster_id=run_id,
            cluster=run_id,
            node=f"node-{number}",
            node_type=cluster.node_type,
            charge=part.charge,
            price_per_hour=part.per_hour,
            currency=part.currency,
            price_note=part.note,
            price_date=part.date,
            emulated=cluster.emulated,
            started_at=started_at,
            ended_at=ended_at,
            run_id=run_id,
            job=job,
            user=user,
            tags=dict(tags or {}),
        )
        for number in range(cluster.nodes)
        for part in price_parts(cluster.node_type, pricing)
    )
