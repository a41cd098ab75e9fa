"""Control groups for an ordinary user: a scope that the user's own systemd hands over.

An ordinary user may not write below the root of the control groups. Where there is a user session with control groups
version 2, its systemd gives a process a group to do with as it likes ("delegation"); what it may not do is to move
processes there from elsewhere, so the process that makes a cluster moves itself, and its later children begin there.
"""

from __future__ import annotations

import dataclasses
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from nodewise.core.errors import NodewiseError
from nodewise.isolation.hierarchies import NEEDED, REST, Hierarchy

__all__ = ["SCOPES", "delegated", "why_not_delegated"]

PREFIX = "nodewise-"
SCOPES = f"user.slice/user-*.slice/user@*.service/**/{PREFIX}*.scope"
WAIT_S = 5.0
# Prints the controllers that a process of a delegated scope has; argument: where control groups are mounted.
PROBE = """
import sys
group = open("/proc/self/cgroup").read().rpartition("0::")[2].strip()
print(open(f"{sys.argv[1]}{group}/cgroup.controllers").read())
"""


def delegated(hierarchies: Sequence[Hierarchy], cluster_id: str) -> tuple[Hierarchy, ...]:
    """The hierarchies with roots below which this user may make groups; moves the calling process if it must.

    Raises:
        NodewiseError: There is no such place.
    """
    if all(os.access(hierarchy.root, os.W_OK) for hierarchy in hierarchies):
        return tuple(hierarchies)
    if len(hierarchies) != 1 or hierarchies[0].version != 2:
        raise NodewiseError(
            "this user may not make control groups of version 1",
            hint="run as root, or NODEWISE_EMULATION_TIER=processes",
        )
    (hierarchy,) = hierarchies
    group = _own_group(hierarchy.root)
    if not group.name.startswith(PREFIX):
        _start_scope(f"{PREFIX}{cluster_id}-{os.getpid()}.scope")
        deadline = time.monotonic() + WAIT_S
        while not (group := _own_group(hierarchy.root)).name.startswith(PREFIX):
            if time.monotonic() > deadline:
                raise NodewiseError(f"systemd did not move this process into a scope within {WAIT_S:.0f} s")
            time.sleep(0.01)
    return (dataclasses.replace(hierarchy, root=group),)


def why_not_delegated(hierarchy: Hierarchy) -> str | None:
    """Try a scope with another process; None: it has what nodes need."""
    command = ["systemd-run", "--user", "--scope", "--quiet", "-p", "Delegate=yes"]
    command += [sys.executable, "-S", "-E", "-c", PROBE, str(hierarchy.root)]
    try:
        done = subprocess.run(command, text=True, capture_output=True, timeout=WAIT_S, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        return f"systemd-run: {error}"
    if done.returncode != 0:
        return f"systemd-run --user: {done.stderr.strip().partition(chr(10))[0]}"
    missing = set(NEEDED).difference(done.stdout.split())
    return f"the user's systemd is not given the controller {' and '.join(sorted(missing))}" if missing else None


def _own_group(root: Path) -> Path:
    """The group of version 2 that this process is in, or was in before it made room for others there."""
    for line in Path("/proc/self/cgroup").read_text().splitlines():
        if line.startswith("0::"):
            group = root / line[3:].strip("/")
            return group.parent if group.name == REST else group
    return root


def _start_scope(unit: str) -> None:
    """Ask the user's systemd to move this process into a new scope; it does so a little later."""
    manager = ["org.freedesktop.systemd1", "/org/freedesktop/systemd1", "org.freedesktop.systemd1.Manager"]
    properties = ["2", "PIDs", "au", "1", str(os.getpid()), "Delegate", "b", "true"]
    # systemd-run makes the same call, but for itself and the command that it becomes.
    command = ["busctl", "--user", "call", *manager, "StartTransientUnit", "ssa(sv)a(sa(sv))"]
    command += [unit, "fail", *properties, "0"]
    try:
        done = subprocess.run(command, text=True, capture_output=True, timeout=WAIT_S, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise NodewiseError(f"the user's systemd cannot be asked for a scope: {error}") from None
    if done.returncode != 0:
        raise NodewiseError(f"the user's systemd gives no scope: {done.stderr.strip().partition(chr(10))[0]}")
