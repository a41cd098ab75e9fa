"""A cluster as the workspace knows it: where it stands in its life, and what has happened to it."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from typing import Any

__all__ = ["ClusterDetail", "ClusterEvent", "ClusterKind", "ClusterRecord", "ClusterState", "ClusterSummary"]


class ClusterState(StrEnum):
    """Databricks' words for where a cluster stands, with FAILED for one that ended by a fault."""

    PENDING = "PENDING"
    RUNNING = "RUNNING"
    RESIZING = "RESIZING"
    TERMINATING = "TERMINATING"
    TERMINATED = "TERMINATED"
    FAILED = "FAILED"

    @property
    def is_up(self) -> bool:
        """Whether processes of it may be there, and its time is counted."""
        return self not in (ClusterState.TERMINATED, ClusterState.FAILED)


class ClusterKind(StrEnum):
    """All-purpose clusters stay up between commands; a job cluster lives for one run."""

    ALL_PURPOSE = "all-purpose"
    JOB = "job"


@dataclass(frozen=True, slots=True, kw_only=True)
class ClusterRecord:
    """One cluster.

    Attributes:
        cluster_id: Never given twice; of a job cluster its run's id.
        state_message: Why it is in this state, where there is a reason to give.
        nodes: Workers now, or at the end.
        definition: As JSON; no secret is in it.
        created_at: When it was defined; ``started_at``, ``ready_at`` and ``ended_at`` are those of the last start.
        last_used_at: When the last run left it.
        run_id: The run that has it now.
        emulation_tier: How far its nodes are kept apart.
        access: :class:`~nodewise.specs.access.ClusterAccess` as JSON, once it is up.
    """

    cluster_id: str
    name: str
    kind: ClusterKind
    engine: str
    provider: str
    state: ClusterState
    state_message: str | None = None
    nodes: int
    definition: dict[str, Any] = field(default_factory=dict)
    created_at: datetime
    started_at: datetime | None = None
    ready_at: datetime | None = None
    ended_at: datetime | None = None
    last_used_at: datetime | None = None
    run_id: str | None = None
    emulation_tier: str | None = None
    access: dict[str, Any] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ClusterEvent:
    """Something that happened to a cluster; ``kind`` is CREATED, STARTING, RUNNING, NODE_LOST, RESIZED and so on."""

    at: datetime
    kind: str
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ClusterSummary:
    """A cluster in a listing.

    Attributes:
        node_type: What each worker is priced as.
        cost_usd: Since it was created; what an emulated one would have cost; None where no price is known.
        idle_s: Since a run had it last; None while one has it, and while it is down.
        stops_in_s: Seconds until it is terminated if no run takes it; None if it will not be.
        emulation_tier: How far its nodes are kept apart.
        run_id: The run that has it.
    """

    name: str
    engine: str
    provider: str
    state: ClusterState
    nodes: int
    node_type: str | None
    cost_usd: Decimal | None
    idle_s: float | None
    tags: dict[str, str]
    kind: ClusterKind
    stops_in_s: float | None = None
    state_message: str | None = None
    emulation_tier: str | None = None
    run_id: str | None = None
    created_at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ClusterDetail:
    """All about one cluster.

    Attributes:
        definition: As it is kept: no secret is in it.
        address: What programs connect to.
        start_up_s: From the last start to when it was ready; ``up_s`` from then until now, or its end.
        log_dir: Folder with its logs.
    """

    summary: ClusterSummary
    definition: dict[str, Any]
    address: str | None
    started_at: datetime | None
    ready_at: datetime | None
    ended_at: datetime | None
    start_up_s: float | None
    up_s: float | None
    log_dir: str
