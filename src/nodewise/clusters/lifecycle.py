"""All-purpose clusters: created, started, resized, stopped and deleted by name."""

from __future__ import annotations

import secrets
import shutil
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from nodewise.billing.budgets import enforce_budgets
from nodewise.clusters.aftermath import settle
from nodewise.clusters.channel import Channel, connect
from nodewise.clusters.link import launch
from nodewise.clusters.plan import ClusterPlan, cluster_folder, plan_from_json, socket_path
from nodewise.core.errors import ClusterLostError, ClusterStateError, NodewiseError, UnknownNameError
from nodewise.core.spark_classes import keep_classes
from nodewise.specs.clusters import ClusterKind, ClusterRecord, ClusterState
from nodewise.workspace import Workspace

__all__ = [
    "create_cluster",
    "delete_cluster",
    "find_cluster",
    "get_cluster",
    "list_clusters",
    "resize_cluster",
    "start_cluster",
    "stop_cluster",
]

END_TIMEOUT_S = 30.0
KILLED = -9
# A supervisor notes itself within moments of its start; one that has not by then never came to be.
BEGIN_TIMEOUT = timedelta(seconds=30)

Tell = Callable[[str], None]


def _tell_nobody(_text: str) -> None:
    pass


def create_cluster(workspace: Workspace, name: str, plan: ClusterPlan, tell: Tell = _tell_nobody) -> ClusterRecord:
    """Define an all-purpose cluster and bring it up.

    Raises:
        InputError: There is one of that name.
        NodewiseError: It did not come up; it stays defined, as FAILED.
    """
    workspace.create()
    now = datetime.now(UTC)
    record = ClusterRecord(
        cluster_id=f"{now:%m%d-%H%M%S}-{secrets.token_hex(3)}",
        name=name,
        kind=ClusterKind.ALL_PURPOSE,
        engine=plan.cluster.engine,
        provider="emulated" if plan.cluster.address is None else "existing",
        state=ClusterState.TERMINATED,
        nodes=plan.cluster.nodes,
        definition=plan.to_json(),
        created_at=now,
    )
    _settle_gone(workspace)
    workspace.clusters.create(record)
    workspace.clusters.add_event(record.cluster_id, "CREATED", f"by {plan.user}")
    return start_cluster(workspace, name, tell)


def start_cluster(workspace: Workspace, name: str, tell: Tell = _tell_nobody) -> ClusterRecord:
    """Bring up a cluster that is down, as it was defined.

    Raises:
        UnknownNameError: There is none of that name.
        ClusterStateError: It is up already.
        NodewiseError: It did not come up; the record says why.
    """
    record = find_cluster(workspace, name)
    plan = plan_from_json(record.definition)
    for finding in enforce_budgets(workspace, plan.tags):
        tell(finding.message)
    if plan.cluster.engine == "spark" and plan.cluster.emulated:
        keep_classes(tell)
    if not workspace.clusters.claim(record.cluster_id, record.definition, plan.cluster.nodes):
        raise ClusterStateError(f"cluster {name!r} is {workspace.clusters.get(name).state} already")
    if plan.cluster.address is not None:
        workspace.clusters.change(record.cluster_id, state=ClusterState.RUNNING, ready_at=datetime.now(UTC))
        return workspace.clusters.get(name)
    try:
        launch(workspace, record, tell).leave_up()
    except NodewiseError as error:
        # Of a supervisor that could not even begin nobody has said so yet.
        if workspace.clusters.change(record.cluster_id, state=ClusterState.FAILED, state_message=error.message):
            workspace.clusters.add_event(record.cluster_id, ClusterState.FAILED.value, error.message)
        raise
    return workspace.clusters.get(name)


def resize_cluster(
    workspace: Workspace, name: str, num_nodes: int, *, force: bool = False, tell: Tell = _tell_nobody
) -> ClusterRecord:
    """Give a cluster that is up more or fewer nodes.

    Raises:
        ClusterStateError: It is down; or a run has it and ``force`` is not set.
        InputError: It cannot have so many.
    """
    record = find_cluster(workspace, name)
    channel = _supervisor_of(workspace, record)
    try:
        channel.request("resize", tell, nodes=num_nodes, force=force)
    finally:
        channel.close()
    return workspace.clusters.get(name)


def stop_cluster(workspace: Workspace, name: str, *, force: bool = False) -> ClusterRecord:
    """Terminate a cluster; its definition stays. One that is down stays down.

    Raises:
        ClusterStateError: A run has it and ``force`` is not set.
        NodewiseError: It does not end.
    """
    record = find_cluster(workspace, name)
    if not record.state.is_up:
        return record
    if record.provider == "existing":
        workspace.clusters.change(record.cluster_id, state=ClusterState.TERMINATED, ended_at=datetime.now(UTC))
        return workspace.clusters.get(name)
    channel = _supervisor_of(workspace, record)
    try:
        channel.request("stop", force=force)
    finally:
        channel.close()
    deadline = time.monotonic() + END_TIMEOUT_S
    while (record := workspace.clusters.get(name)).state.is_up:
        if time.monotonic() > deadline:
            raise NodewiseError(
                f"cluster {name!r} did not end within {END_TIMEOUT_S:.0f} s", hint="`nodewise clean` ends what is left"
            )
        time.sleep(0.1)
    return record


def delete_cluster(workspace: Workspace, name: str, *, force: bool = False) -> None:
    """Terminate a cluster if it is up, and forget it; what it cost stays in the ledger.

    Raises:
        ClusterStateError: A run has it and ``force`` is not set.
    """
    record = stop_cluster(workspace, name, force=force)
    workspace.clusters.delete(record.cluster_id)
    shutil.rmtree(cluster_folder(workspace.root, record.cluster_id), ignore_errors=True)


def list_clusters(workspace: Workspace, *, with_ended_jobs: bool = False) -> list[ClusterRecord]:
    """All-purpose clusters, and job clusters that are up (or all of them), the newest first.

    One whose processes are gone is shown as FAILED, whatever it said last.
    """
    _settle_gone(workspace)
    return [
        record
        for record in workspace.clusters.all()
        if record.kind is ClusterKind.ALL_PURPOSE or record.state.is_up or with_ended_jobs
    ]


def get_cluster(workspace: Workspace, name: str) -> ClusterRecord:
    """The cluster of that name or id, also that of a single run, as it is now.

    Raises:
        UnknownNameError: There is none.
    """
    _settle_gone(workspace)
    return workspace.clusters.get(name)


def find_cluster(workspace: Workspace, name: str) -> ClusterRecord:
    """The all-purpose cluster of that name, as it is now.

    Raises:
        UnknownNameError: There is none.
    """
    record = get_cluster(workspace, name)
    if record.kind is ClusterKind.JOB:
        raise UnknownNameError("all-purpose cluster", name, [])
    return record


def _supervisor_of(workspace: Workspace, record: ClusterRecord) -> Channel:
    if record.state not in (ClusterState.RUNNING, ClusterState.RESIZING):
        raise ClusterStateError(
            f"cluster {record.name!r} is {record.state}", hint=f"`nodewise clusters start {record.name}` brings it up"
        )
    channel = connect(socket_path(cluster_folder(workspace.root, record.cluster_id)))
    if channel is None:
        raise ClusterLostError(f"the supervisor of cluster {record.name!r} does not answer", hint="try again in 10 s")
    return channel


def _settle_gone(workspace: Workspace) -> None:
    """Mark the clusters that nobody looks after any more, should their guards have been killed too."""
    for record in workspace.clusters.all():
        if not record.state.is_up or record.provider == "existing":
            continue
        owner = workspace.clusters.supervisor(record.cluster_id)
        if owner is None:
            gone = datetime.now(UTC) - (record.started_at or record.created_at) > BEGIN_TIMEOUT
        else:
            gone = owner.is_gone()
        if gone:
            settle(workspace, record.cluster_id, KILLED)
