"""All-purpose clusters as Python functions: what ``nodewise clusters`` calls.

A cluster that is up stays up when the program that started it ends; jobs run on it with ``cluster="NAME"``.
"""

from __future__ import annotations

from dataclasses import replace
from os import PathLike
from pathlib import Path

from nodewise.core.progress import SILENT, Progress
from nodewise.specs.clusters import ClusterDetail, ClusterEvent, ClusterSummary
from nodewise.specs.definition import ClusterDefinition
from nodewise.workspace import Workspace, find_workspace

__all__ = [
    "cluster_events",
    "create_cluster",
    "delete_cluster",
    "get_cluster",
    "list_clusters",
    "resize_cluster",
    "start_cluster",
    "stop_cluster",
]

StrPath = str | PathLike[str]


def create_cluster(
    definition: ClusterDefinition | StrPath,
    *,
    name: str | None = None,
    preflight: bool = True,
    workspace: StrPath | None = None,
    progress: Progress = SILENT,
) -> ClusterSummary:
    """Define an all-purpose cluster and bring it up.

    Args:
        definition: A definition, or the YAML file that holds one.
        name: Instead of the definition's.
        preflight: Whether to look, before anything is started, for what would fail.

    Raises:
        InputError: The definition cannot work, or there is a cluster of that name; nothing was started.
        NodewiseError: The cluster did not come up; it stays defined, as FAILED with its reason.
    """
    from nodewise.clusters import lifecycle
    from nodewise.clusters.plan import plan_of
    from nodewise.core.machine import machine_cores
    from nodewise.metering.prices import node_type_names
    from nodewise.preflight.check import require
    from nodewise.preflight.plan import Plan
    from nodewise.specs.cluster_checks import check_definition
    from nodewise.specs.codec import load_definition

    if not isinstance(definition, ClusterDefinition):
        definition = load_definition(Path(definition), node_type_names=node_type_names())
    definition = replace(definition, name=name or definition.name)
    check_definition(definition, node_type_names=node_type_names())
    home = _home(workspace)
    plan = plan_of(definition, machine_cores=machine_cores())
    if preflight:
        most = definition.spec(definition.max_nodes, machine_cores=machine_cores())
        require([Plan(cluster=most, workspace=home, definition=definition)], progress)
    record = lifecycle.create_cluster(home, definition.name, plan, progress.note)
    return _summary(home, record.name)


def start_cluster(name: str, *, workspace: StrPath | None = None, progress: Progress = SILENT) -> ClusterSummary:
    """Bring up a cluster that was terminated, as it was defined.

    Raises:
        UnknownNameError: There is none of that name.
        ClusterStateError: It is up already.
        NodewiseError: It did not come up.
    """
    from nodewise.clusters import lifecycle

    home = _home(workspace)
    lifecycle.start_cluster(home, name, progress.note)
    return _summary(home, name)


def resize_cluster(
    name: str, workers: int, *, force: bool = False, workspace: StrPath | None = None, progress: Progress = SILENT
) -> ClusterSummary:
    """Give a cluster that is up more or fewer nodes.

    Raises:
        ClusterStateError: It is down; or a run has it and ``force`` is not set.
    """
    from nodewise.clusters import lifecycle

    home = _home(workspace)
    lifecycle.resize_cluster(home, name, workers, force=force, tell=progress.note)
    return _summary(home, name)


def stop_cluster(name: str, *, force: bool = False, workspace: StrPath | None = None) -> ClusterSummary:
    """Terminate a cluster; it stays defined.

    Raises:
        ClusterStateError: A run has it and ``force`` is not set.
    """
    from nodewise.clusters import lifecycle

    home = _home(workspace)
    lifecycle.stop_cluster(home, name, force=force)
    return _summary(home, name)


def delete_cluster(name: str, *, force: bool = False, workspace: StrPath | None = None) -> None:
    """Terminate a cluster if it is up, and remove it with its logs; what it cost stays in the ledger.

    Raises:
        ClusterStateError: A run has it and ``force`` is not set.
    """
    from nodewise.clusters import lifecycle

    lifecycle.delete_cluster(_home(workspace), name, force=force)


def list_clusters(*, with_ended_jobs: bool = False, workspace: StrPath | None = None) -> list[ClusterSummary]:
    """All-purpose clusters and the job clusters that are up, the newest first."""
    from nodewise.clusters import lifecycle
    from nodewise.clusters.summary import summarise_cluster

    home = _home(workspace)
    return [
        summarise_cluster(home, record) for record in lifecycle.list_clusters(home, with_ended_jobs=with_ended_jobs)
    ]


def get_cluster(name: str, *, workspace: StrPath | None = None) -> ClusterDetail:
    """All about one cluster.

    Raises:
        UnknownNameError: There is none of that name.
    """
    from nodewise.clusters import lifecycle
    from nodewise.clusters.summary import describe_cluster

    home = _home(workspace)
    return describe_cluster(home, lifecycle.get_cluster(home, name))


def cluster_events(name: str, *, workspace: StrPath | None = None) -> list[ClusterEvent]:
    """What has happened to a cluster, in order.

    Raises:
        UnknownNameError: There is none of that name.
    """
    from nodewise.clusters import lifecycle

    home = _home(workspace)
    return home.clusters.events(lifecycle.get_cluster(home, name).cluster_id)


def _home(workspace: StrPath | None) -> Workspace:
    return Workspace(find_workspace(str(workspace) if workspace else None))


def _summary(home: Workspace, name: str) -> ClusterSummary:
    from nodewise.clusters.summary import summarise_cluster

    return summarise_cluster(home, home.clusters.get(name))
