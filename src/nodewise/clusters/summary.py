"""What people are told about a cluster."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from fractions import Fraction

from nodewise.billing.amounts import MILLIONTH, allot, clip, money
from nodewise.clusters.plan import cluster_folder, plan_from_json
from nodewise.specs.clusters import ClusterDetail, ClusterKind, ClusterRecord, ClusterState, ClusterSummary
from nodewise.workspace import Workspace

__all__ = ["cluster_usd", "describe_cluster", "summarise_cluster"]


def summarise_cluster(workspace: Workspace, record: ClusterRecord) -> ClusterSummary:
    """The cluster's line in a listing."""
    plan = plan_from_json(record.definition)
    idle_s = _idle_s(record)
    limit = plan.autotermination_s
    will_stop = idle_s is not None and limit is not None and record.kind is ClusterKind.ALL_PURPOSE
    return ClusterSummary(
        name=record.name,
        engine=record.engine,
        provider=record.provider,
        state=record.state,
        nodes=record.nodes,
        node_type=plan.cluster.node_type,
        cost_usd=cluster_usd(workspace, record.cluster_id),
        idle_s=idle_s,
        tags=plan.tags,
        kind=record.kind,
        stops_in_s=max(0.0, limit - idle_s) if will_stop and limit is not None and idle_s is not None else None,
        state_message=record.state_message,
        emulation_tier=record.emulation_tier,
        run_id=record.run_id,
        created_at=record.created_at,
    )


def describe_cluster(workspace: Workspace, record: ClusterRecord) -> ClusterDetail:
    """All about the cluster."""
    started, ready, ended = record.started_at, record.ready_at, record.ended_at
    return ClusterDetail(
        summary=summarise_cluster(workspace, record),
        definition=record.definition,
        address=(record.access or {}).get("address") or plan_from_json(record.definition).cluster.address,
        started_at=started,
        ready_at=ready,
        ended_at=ended,
        start_up_s=(ready - started).total_seconds() if started and ready else None,
        up_s=((ended or datetime.now(UTC)) - ready).total_seconds() if ready else None,
        log_dir=str(cluster_folder(workspace.root, record.cluster_id)),
    )


def _idle_s(record: ClusterRecord) -> float | None:
    since = record.last_used_at or record.ready_at
    if record.state is not ClusterState.RUNNING or record.run_id is not None or since is None:
        return None
    return max(0.0, (datetime.now(UTC) - since).total_seconds())


def cluster_usd(workspace: Workspace, cluster_id: str, since: datetime | None = None) -> Decimal | None:
    """What a cluster has cost, exact to a millionth; None where no part of it has a price."""
    entries = workspace.ledger.entries(cluster_id=cluster_id, since=since)
    priced = [entry for entry in entries if entry.price_per_hour is not None and entry.currency == "USD"]
    if not priced:
        return None
    (total,) = allot([sum((money(entry, clip(entry, since)) for entry in priced), Fraction(0))], MILLIONTH)
    return total
