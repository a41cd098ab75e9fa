"""Control groups of nodes, versions 1 and 2: limits, counters, processes, removal.

The functions take the folders of a node's groups (``NodePlace.cgroup_dirs``), and find out from the files in them which
version they are of. So they work for whoever has the place, not only for the process that made it.
"""

from __future__ import annotations

import contextlib
import errno
import os
import signal
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from nodewise.core.errors import NodewiseError

__all__ = [
    "END_S",
    "GONE",
    "destroy",
    "memory_kills",
    "processes",
    "read",
    "remove_folder",
    "set_cpus",
    "set_memory",
    "write",
    "write_if_there",
]

# A node that has used up its share stands still until the period ends. With more busy threads than cores, 20 ms gave
# shorter stalls than 50 and 100 ms; below it the kernel's tick (4 ms) and slice (5 ms) make them long again.
PERIOD_US = 20_000
LEAST_QUOTA_US = 1_000  # the kernel refuses less
LONGEST_PERIOD_US = 1_000_000  # and more
END_S = 20.0
GONE = frozenset({errno.ENOENT, errno.ENODEV})  # what the kernel says of a group that was removed


def set_memory(group_dirs: Sequence[str], limit_bytes: int) -> None:
    """Hold the processes of a node to a number of bytes together, swap included."""
    for folder in map(Path, group_dirs):
        if (folder / "memory.max").exists():
            write(folder / "memory.max", str(limit_bytes))
            write_if_there(folder / "memory.swap.max", "0")
            write_if_there(folder / "memory.oom.group", "0")  # the kernel kills one process, not the node
        elif (folder / "memory.limit_in_bytes").exists():
            write(folder / "memory.limit_in_bytes", str(limit_bytes))
            # Where the kernel does not count swap, this keeps it from swapping the group's memory out.
            write_if_there(folder / "memory.swappiness", "0")
            write_if_there(folder / "memory.memsw.limit_in_bytes", str(limit_bytes))


def set_cpus(group_dirs: Sequence[str], cpus: float | None) -> None:
    """Hold the processes of a node to so many cores' worth of CPU time together; None: to none."""
    period_us = PERIOD_US
    if cpus is not None:
        period_us = min(LONGEST_PERIOD_US, max(PERIOD_US, round(LEAST_QUOTA_US / cpus)))
    quota_us = None if cpus is None else max(LEAST_QUOTA_US, round(period_us * cpus))
    for folder in map(Path, group_dirs):
        if (folder / "cpu.max").exists():
            write(folder / "cpu.max", f"{'max' if quota_us is None else quota_us} {period_us}")
        elif (folder / "cpu.cfs_quota_us").exists():
            write(folder / "cpu.cfs_period_us", str(period_us))
            write(folder / "cpu.cfs_quota_us", str(-1 if quota_us is None else quota_us))


def memory_kills(group_dirs: Sequence[str]) -> int:
    """Processes that the kernel has killed since a node was made, because the node was at its memory limit."""
    for folder in map(Path, group_dirs):
        for name in ("memory.events", "memory.oom_control"):
            for line in read(folder / name).splitlines():
                key, _, value = line.partition(" ")
                if key == "oom_kill":
                    return int(value)
    return 0


def processes(group_dirs: Sequence[str]) -> list[int]:
    """The processes in a node's groups, and in groups that they made below, in ascending order."""
    pids = {int(pid) for group in _with_those_below(group_dirs) for pid in read(group / "cgroup.procs").split()}
    return sorted(pids - {0})  # 0 stands for a process of another process namespace


def destroy(group_dirs: Sequence[str]) -> None:
    """Kill every process in groups and in those below, until none is left, and remove the groups; none need be there.

    Raises:
        NodewiseError: A group is another user's, or some processes do not end: they wait inside the kernel.
    """
    for group in _with_those_below(group_dirs):
        with contextlib.suppress(OSError):
            set_cpus([str(group)], None)  # to die takes CPU time, much of it in a large process
    deadline = time.monotonic() + END_S
    while True:
        _kill(group_dirs)
        for group in _with_those_below(group_dirs):
            try:
                group.rmdir()
            except PermissionError:
                raise NodewiseError(f"{group} is another user's", hint="run as that user, or as root") from None
            except OSError:
                pass  # gone already, or a process in it has not ended yet
        if not any(map(os.path.exists, group_dirs)):
            return
        if time.monotonic() > deadline:
            left = processes(group_dirs)
            raise NodewiseError(
                f"{group_dirs[0]} cannot be removed: processes {left} do not end when killed",
                hint="they wait inside the kernel, for a disk or a network file system; see `ps -o pid,stat,wchan`",
            )
        time.sleep(0.005)


def _kill(group_dirs: Sequence[str]) -> None:
    with _frozen(group_dirs):
        for folder in group_dirs:
            if Path(folder, "cgroup.kill").exists():
                with contextlib.suppress(OSError):
                    write(Path(folder, "cgroup.kill"), "1")
        for pid in processes(group_dirs):
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGKILL)


@contextlib.contextmanager
def _frozen(group_dirs: Sequence[str]) -> Iterator[None]:
    """While the block runs, processes in groups of version 1 neither run nor fork; a SIGKILL ends them afterwards."""
    states = [Path(folder, "freezer.state") for folder in group_dirs]
    try:
        for state in states:
            with contextlib.suppress(OSError):
                write_if_there(state, "FROZEN")
        yield
    finally:
        for state in states:
            with contextlib.suppress(OSError):
                write_if_there(state, "THAWED")


def _with_those_below(group_dirs: Sequence[str]) -> Iterator[Path]:
    """Groups and all groups below them, from the leaves up."""
    for folder in group_dirs:
        for group, _, _ in os.walk(folder, topdown=False):
            yield Path(group)


def remove_folder(folder: Path) -> None:
    """Remove one group, if it is there and nothing is in it."""
    with contextlib.suppress(OSError):
        folder.rmdir()


def read(path: Path) -> str:
    """The text of a file; none if the group is gone or does not have the file."""
    try:
        return path.read_text()
    except OSError as error:
        if error.errno in {*GONE, errno.EOPNOTSUPP}:
            return ""
        raise


def write(path: Path, text: str) -> None:
    """Set a value; an OSError says which."""
    try:
        path.write_text(text)
    except OSError as error:
        raise OSError(error.errno, f"{error.strerror} (writing {text!r})", str(path)) from None


def write_if_there(path: Path, text: str) -> None:
    """Set a value if this kernel has it."""
    if path.exists():
        write(path, text)
