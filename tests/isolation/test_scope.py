"""Scopes for an ordinary user; a script stands in for systemd, and moves processes between real control groups."""

from __future__ import annotations

import dataclasses
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from nodewise.core.errors import NodewiseError
from nodewise.isolation.hierarchies import Hierarchy
from nodewise.isolation.scope import delegated, why_not_delegated

# Takes unit and process id from the place where systemd's own interface has them.
BUSCTL = """#!/bin/sh
root={root}
while [ "$1" != "ssa(sv)a(sa(sv))" ]; do shift; done
[ "$3" = fail ] && [ "$5" = PIDs ] && [ "${{9}}" = Delegate ] || {{ echo "bad call" >&2; exit 1; }}
unit=$2; pid=$8
mkdir "$root/$unit"
(sleep 0.2; echo "$pid" > "$root/$unit/cgroup.procs") >/dev/null 2>&1 &
"""
SYSTEMD_RUN = """#!/bin/sh
while [ "${1#-}" != "$1" ] || [ "$1" = Delegate=yes ]; do shift; done
exec "$@"
"""
OWN = """
import dataclasses, json, os, sys
from pathlib import Path
from nodewise.isolation import hierarchies, scope
os.access = lambda *_: False  # as an ordinary user finds it
found = hierarchies.Hierarchy(version=2, root=Path(sys.argv[1]), controllers=frozenset(sys.argv[2:]))
before = scope._own_group(found.root)
mine = scope.delegated([found], "c1")
hierarchies.claim(mine, "c1")
again = scope.delegated([found], "c2")
(folder,) = hierarchies.make_node(mine, "c1", "node-0")
answer = {"root": str(mine[0].root), "again": str(again[0].root), "group": Path("/proc/self/cgroup").read_text()}
hierarchies.release(mine, "c1")
print(json.dumps(answer))
"""


def script(folder: Path, name: str, text: str) -> dict[str, str]:
    """An environment in which a program is found that the script stands in for."""
    (folder / name).write_text(text)
    (folder / name).chmod(0o755)
    return {**os.environ, "PATH": f"{folder}:{os.environ['PATH']}"}


def test_an_owner_moves_into_a_scope_of_its_own_and_stays_there(kernel_v2: Hierarchy, tmp_path: Path) -> None:
    environment = script(tmp_path, "busctl", BUSCTL.format(root=kernel_v2.root))
    top = kernel_v2.root.parent
    (controller,) = kernel_v2.controllers
    (kernel_v2.root / "cgroup.subtree_control").write_text(f"+{controller}")  # as "Delegate" has it
    command = [sys.executable, "-c", OWN, str(top), controller]
    # Scopes are below the mounted root, wherever systemd puts them.
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout)
    assert answer["root"] == answer["again"]
    scope = Path(answer["root"])
    assert scope.parent == kernel_v2.root
    assert scope.name.startswith("nodewise-c1-")
    assert f"0::/{scope.relative_to(top)}/nodewise-rest\n" in answer["group"]  # it made room for the nodes
    assert not (scope / "nodewise").exists()


def test_where_the_root_is_writable_nothing_moves(tmp_path: Path) -> None:
    hierarchy = Hierarchy(version=2, root=tmp_path, controllers=frozenset({"cpu", "memory"}))
    before = Path("/proc/self/cgroup").read_text()
    assert delegated([hierarchy], "c1") == (hierarchy,)
    assert Path("/proc/self/cgroup").read_text() == before


def test_without_a_user_session_it_says_so(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    hierarchy = Hierarchy(version=2, root=tmp_path, controllers=frozenset({"cpu", "memory"}))
    monkeypatch.setattr(os, "access", lambda *_: False)
    first = dataclasses.replace(hierarchy, version=1)
    with pytest.raises(NodewiseError, match="may not make control groups of version 1"):
        delegated([first], "c1")
    monkeypatch.setenv("PATH", "")
    with pytest.raises(NodewiseError, match="the user's systemd cannot be asked for a scope"):
        delegated([hierarchy], "c1")
    reason = why_not_delegated(hierarchy)
    assert reason is not None
    assert reason.startswith("systemd-run: ")


def test_the_controllers_of_a_scope_are_looked_at(
    kernel_v2: Hierarchy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", script(tmp_path, "systemd-run", SYSTEMD_RUN)["PATH"])
    top = dataclasses.replace(kernel_v2, root=kernel_v2.root.parent)
    if {"cpu", "memory"} <= set((top.root / "cgroup.controllers").read_text().split()):
        pytest.skip("cpu and memory are in version 2 here")
    assert why_not_delegated(top) == "the user's systemd is not given the controller cpu and memory"
