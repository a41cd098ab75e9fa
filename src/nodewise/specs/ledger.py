"""What is owed for a cluster: one entry per node, kind of charge and stretch of time."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal

__all__ = ["LedgerEntry"]


@dataclass(frozen=True, slots=True, kw_only=True)
class LedgerEntry:
    """One node of one cluster over one stretch of time in which nothing about it changed.

    Attributes:
        entry_id: Given by the ledger; None before.
        cluster_id, cluster: Of the cluster; a run without one of its own name has the run's id here.
        node: ``node-0`` ..., or ``driver``.
        charge: ``compute`` for the machine, ``platform`` for what a platform adds (Databricks units, Dataproc's fee).
        price_per_hour: None where no price is known: then the node's time is counted, its money is not.
        currency: ISO 4217.
        price_note, price_date: Where and when the price was read.
        emulated: The node was emulated: nothing was billed, this is what it would have cost.
        ended_at: So far, while the node is up; it is moved on at least every minute.
        run_id, job: The run that had the cluster; None while it was idle.
    """

    entry_id: int | None = None
    cluster_id: str
    cluster: str
    node: str
    node_type: str | None
    charge: str = "compute"
    price_per_hour: Decimal | None
    currency: str = "USD"
    price_note: str = ""
    price_date: str = ""
    emulated: bool
    started_at: datetime
    ended_at: datetime
    run_id: str | None = None
    job: str | None = None
    user: str
    tags: dict[str, str] = field(default_factory=dict)
