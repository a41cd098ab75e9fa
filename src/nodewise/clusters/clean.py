"""What is left on this machine that nobody needs: found, listed, and removed."""

from __future__ import annotations

import re
import shutil
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psutil

from nodewise.clusters.libraries import list_environments, remove_environment
from nodewise.clusters.lifecycle import list_clusters, stop_cluster
from nodewise.clusters.plan import cluster_folder, environments_folder, plan_from_json, remove_scratch, scratch_folders
from nodewise.clusters.processes import cluster_processes, kill_cluster
from nodewise.core.errors import NodewiseError
from nodewise.core.files import TEMP_PREFIX
from nodewise.core.spark_classes import outdated_classes
from nodewise.isolation.leftovers import leftovers, remove_leftovers
from nodewise.specs.clusters import ClusterKind
from nodewise.workspace import Workspace

__all__ = ["RestItem", "find_cluster_rests", "find_data_rests", "find_old_runs", "remove_rest"]

SETTLED_S = 60.0
"""What was made less long ago may belong to something that is just beginning."""

_PROBE = re.compile(r"probe-(\d+)-[0-9a-f]+")
_SUPERVISING = ("nodewise.clusters.supervisor", "nodewise.clusters.aftermath", "guard.py")


@dataclass(frozen=True, slots=True, kw_only=True)
class RestItem:
    """One thing that can be removed.

    Attributes:
        kind: ``cluster``, ``cluster's rest``, ``scratch folder``, ``libraries``, ``Spark's classes``, ``temporary
            file``, ``run``.
        name: A cluster's name or id, a run's id, or a path.
        detail: What is known of it.
        bytes: What removing it frees on the disk.
    """

    kind: str
    name: str
    detail: str = ""
    bytes: int = 0


def find_cluster_rests(workspace: Workspace) -> list[RestItem]:
    """Clusters of this workspace that are up and that no run has, and what is left on this machine of any that is gone.

    A cluster that has a supervisor, in whichever workspace, is not gone.
    """
    return [
        *_idle_clusters(workspace),
        *_places(workspace),
        *_scratch(),
        *_environments(workspace),
        *_outdated_classes(),
    ]


def _idle_clusters(workspace: Workspace) -> Iterator[RestItem]:
    for record in list_clusters(workspace):
        # One that has a run is in use, and a job cluster always is.
        if record.state.is_up and record.run_id is None and record.kind is ClusterKind.ALL_PURPOSE:
            yield RestItem(kind="cluster", name=record.name, detail=f"{record.state}, {record.nodes} nodes")


def _places(workspace: Workspace) -> Iterator[RestItem]:
    processes = cluster_processes()
    supervised = _supervised(processes)
    places: dict[str, list[str]] = {}
    for leftover in leftovers():
        places.setdefault(leftover.cluster_id, []).append(leftover.kind)
    known = {record.cluster_id for record in workspace.clusters.all()}
    for cluster_id in sorted((places.keys() | processes.keys()) - supervised):
        probe = _PROBE.fullmatch(cluster_id)
        # Places that no cluster of ours is known to have made may be in use by somebody else's program.
        ours = cluster_id in known or cluster_id in processes or (probe and not psutil.pid_exists(int(probe[1])))
        if ours:
            kinds = places.get(cluster_id, [])
            parts = [_count(kinds.count(kind), kind) for kind in dict.fromkeys(kinds)]
            parts += [_count(len(processes[cluster_id]), "process", "processes")] if cluster_id in processes else []
            yield RestItem(kind="cluster's rest", name=cluster_id, detail=", ".join(parts))


def _scratch() -> Iterator[RestItem]:
    supervised = _supervised(cluster_processes())
    for scratch, folder in scratch_folders():
        if folder.name not in supervised and _is_settled(scratch):
            yield RestItem(kind="scratch folder", name=str(scratch), detail=f"of {folder.name}", bytes=_size(scratch))


def _environments(workspace: Workspace) -> Iterator[RestItem]:
    wanted = {tuple(sorted(plan_from_json(record.definition).libraries)) for record in workspace.clusters.all()}
    for environment in list_environments(environments_folder(workspace.root)):
        if tuple(sorted(environment.requirements)) not in wanted:
            detail = ", ".join(environment.requirements)
            yield RestItem(kind="libraries", name=str(environment.path), detail=detail, bytes=environment.bytes)


def _outdated_classes() -> Iterator[RestItem]:
    for folder in outdated_classes():
        if _is_settled(folder):
            detail = "of another version of Java or PySpark"
            yield RestItem(kind="Spark's classes", name=str(folder), detail=detail, bytes=_size(folder))


def find_data_rests(workspace: Workspace) -> list[RestItem]:
    """Files below the workspace that were not written to their end, and that no process has open."""
    found = [path for path in _walk(workspace.root) if path.name.startswith(TEMP_PREFIX)]
    if workspace.datasets_dir.is_dir():
        found += [path for path in _walk(workspace.datasets_dir) if path.name.endswith(".part")]
    open_files = _open_files() if found else set()
    return [
        RestItem(kind="temporary file", name=str(path), bytes=_size(path))
        for path in sorted(set(found))
        if _is_settled(path) and not any(Path(name).is_relative_to(path.resolve()) for name in open_files)
    ]


def find_old_runs(workspace: Workspace, older_than: timedelta) -> list[RestItem]:
    """Runs that are over and began longer ago than that."""
    before = datetime.now(UTC) - older_than
    return [
        RestItem(
            kind="run",
            name=run.run_id,
            detail=f"{run.command}, {run.status.lower()}, of {run.created_at:%Y-%m-%d}",
            bytes=workspace.run_bytes(run.run_id),
        )
        for run in workspace.list_runs()
        if run.status.is_finished and run.created_at < before
    ]


def remove_rest(workspace: Workspace, item: RestItem) -> int:
    """Remove one thing that was found; the bytes that this freed.

    Raises:
        NodewiseError: It cannot be removed, or is in use by now.
    """
    match item.kind:
        case "cluster":
            stop_cluster(workspace, item.name)
        case "cluster's rest":
            kill_cluster(item.name)
            remove_leftovers(item.name)
            remove_scratch(cluster_folder(workspace.root, item.name))
        case "libraries":
            return remove_environment(Path(item.name))
        case "run":
            return workspace.delete_run(item.name)
        case _:
            _remove_path(Path(item.name))
    return item.bytes


def _remove_path(path: Path) -> None:
    try:
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)
    except FileNotFoundError:
        pass
    except OSError as error:
        raise NodewiseError(f"{path} cannot be removed: {error.strerror}") from None


def _supervised(processes: dict[str, list[psutil.Process]]) -> set[str]:
    """The clusters that somebody looks after."""
    found = set()
    for cluster_id, members in processes.items():
        for process in members:
            try:
                command = " ".join(process.cmdline())
            except psutil.Error:
                continue
            if any(word in command for word in _SUPERVISING):
                found.add(cluster_id)
    return found


def _walk(root: Path) -> Iterator[Path]:
    """Files and folders below a folder; what a link leads to is not below it, and of what is found the inside neither.

    Yields:
        A folder before what is in it.
    """
    if not root.is_dir():
        return
    for path in root.iterdir():
        if path.is_symlink():
            continue
        yield path
        if path.is_dir() and not path.name.startswith(TEMP_PREFIX):
            yield from _walk(path)


def _open_files() -> set[str]:
    """The files that processes have open, as far as this user may see them."""
    found = set()
    for process in psutil.process_iter():
        try:
            found |= {file.path for file in process.open_files()}
        except (psutil.Error, OSError):
            continue
    return found


def _is_settled(path: Path) -> bool:
    try:
        return datetime.now(UTC).timestamp() - path.lstat().st_mtime > SETTLED_S
    except OSError:
        return False


def _size(path: Path) -> int:
    if not path.is_dir():
        return path.lstat().st_size
    files: Collection[Path] = [each for each in path.rglob("*") if each.is_file() and not each.is_symlink()]
    return sum(each.stat().st_size for each in files)


def _count(number: int, noun: str, plural: str | None = None) -> str:
    return f"{number} {noun if number == 1 else plural or noun + 's'}"
