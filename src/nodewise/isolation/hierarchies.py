"""Trees of control groups; a cluster's groups are ``nodewise/<cluster id>/<node>`` below each root."""

from __future__ import annotations

import contextlib
import errno
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from nodewise.core.errors import InputError
from nodewise.isolation import groups

__all__ = ["NEEDED", "REST", "Hierarchy", "claim", "clusters_in", "find_hierarchies", "make_node", "release"]

TOP = "nodewise"
REST = "nodewise-rest"
NEEDED = ("cpu", "memory")
# Beyond the limits: counters of CPU time and of storage, and freezing, so that nothing forks while it is being killed.
USEFUL = ("cpuacct", "blkio", "freezer", "io")


@dataclass(frozen=True, slots=True, kw_only=True)
class Hierarchy:
    """One tree of control groups.

    Attributes:
        version: 1 or 2.
        root: The folder below which nodewise makes its groups.
        controllers: Those of :data:`NEEDED` and :data:`USEFUL` that it has.
    """

    version: int
    root: Path
    controllers: frozenset[str]


def find_hierarchies(mountinfo: str | None = None) -> tuple[Hierarchy, ...]:
    """The mounted hierarchies with a controller that nodes can use; ``mountinfo`` is the text of that file in /proc.

    With ``cpu`` and ``memory`` in version 2 it is the only one taken; else each controller is where it is mounted.
    """
    if mountinfo is None:
        mountinfo = groups.read(Path("/proc/self/mountinfo"))
    found: dict[tuple[str, ...], Hierarchy] = {}
    for line in mountinfo.splitlines():
        mount, _, source = line.partition(" - ")
        kind, *_, options = source.split()
        root = Path(mount.split()[4])
        if kind == "cgroup2":
            has = groups.read(root / "cgroup.controllers").split()
        elif kind == "cgroup":
            has = options.split(",")
        else:
            continue
        version = 2 if kind == "cgroup2" else 1
        controllers = frozenset(has).intersection({*NEEDED, *USEFUL})
        if controllers:
            # One hierarchy may be mounted in several places.
            found.setdefault(
                (kind, *sorted(controllers)), Hierarchy(version=version, root=root, controllers=controllers)
            )
    whole = [hierarchy for hierarchy in found.values() if hierarchy.version == 2]
    if whole and whole[0].controllers.issuperset(NEEDED):
        return (whole[0],)
    return tuple(found.values())


def claim(hierarchies: Sequence[Hierarchy], cluster_id: str) -> None:
    """Make the groups that hold a cluster's nodes.

    Raises:
        InputError: The cluster has groups already.
        OSError: They cannot be made; nothing is left of them.
    """
    made: list[Path] = []
    try:
        for hierarchy in hierarchies:
            folder = _claim(hierarchy, cluster_id)
            made.append(folder)
            _enable(folder, hierarchy)
    except BaseException:
        for folder in made:
            groups.remove_folder(folder)
        for hierarchy in hierarchies:
            groups.remove_folder(hierarchy.root / TOP)
        raise


def _claim(hierarchy: Hierarchy, cluster_id: str) -> Path:
    top = hierarchy.root / TOP
    folder = top / cluster_id
    _enable(hierarchy.root, hierarchy)
    for _ in range(100):
        try:
            with contextlib.suppress(FileExistsError):
                top.mkdir()
            inherits = top / "memory.use_hierarchy"
            if groups.read(inherits).strip() == "0":
                groups.write(inherits, "1")
            _enable(top, hierarchy)
            folder.mkdir()
        except FileExistsError:
            raise InputError(
                f"cluster {cluster_id!r} has control groups already: {folder}",
                hint="it is running, or was killed; `nodewise clean` removes what is left of it",
            ) from None
        except OSError as error:
            if error.errno not in groups.GONE:  # whoever removes the last cluster removes the top
                raise
        else:
            return folder
    raise OSError(errno.EAGAIN, "other clusters come and go too fast", str(top))


def make_node(hierarchies: Sequence[Hierarchy], cluster_id: str, node: str) -> tuple[str, ...]:
    """Make the groups of a node of a claimed cluster; returns their folders, one per hierarchy.

    Raises:
        OSError: They cannot be made; nothing is left of them.
    """
    made: list[str] = []
    try:
        for hierarchy in hierarchies:
            folder = hierarchy.root / TOP / cluster_id / node
            folder.mkdir()
            made.append(str(folder))
    except BaseException:
        groups.destroy(made)
        raise
    return tuple(made)


def release(hierarchies: Sequence[Hierarchy], cluster_id: str) -> None:
    """Kill every process in a cluster's groups, and remove them; none need be there."""
    groups.destroy([str(hierarchy.root / TOP / cluster_id) for hierarchy in hierarchies])
    for hierarchy in hierarchies:
        groups.remove_folder(hierarchy.root / TOP)  # stays while other clusters have theirs there


def clusters_in(hierarchies: Sequence[Hierarchy]) -> list[tuple[str, str]]:
    """Cluster id and folder of every group of a cluster."""
    folders = [folder for hierarchy in hierarchies for folder in (hierarchy.root / TOP).glob("*/")]
    return [(folder.name, str(folder)) for folder in folders]


def _enable(folder: Path, hierarchy: Hierarchy) -> None:
    """Let the groups below a group of version 2 have its controllers."""
    if hierarchy.version == 1:
        return
    file = folder / "cgroup.subtree_control"
    missing = hierarchy.controllers.difference(groups.read(file).split())
    for name in sorted(missing):
        try:
            groups.write(file, f"+{name}")
        except OSError as error:
            if error.errno == errno.EBUSY:
                # A group has processes or controllers for the groups below it, not both; its processes move into one.
                _empty(folder)
                groups.write(file, f"+{name}")
            elif name in NEEDED:
                raise


def _empty(folder: Path) -> None:
    """Move a group's processes into one below it, where they stay; what the group itself is held to still holds."""
    rest = folder / REST
    rest.mkdir(exist_ok=True)
    for _ in range(100):
        pids = groups.read(folder / "cgroup.procs").split()
        if not pids:
            return
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                groups.write(rest / "cgroup.procs", pid)
