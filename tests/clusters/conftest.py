"""What tests of clusters share: a folder for temporary files of their own, and commands that can be killed."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from tests.engines.processes import MARK, marked_processes

from nodewise.clusters.lifecycle import delete_cluster, list_clusters
from nodewise.isolation.leftovers import leftovers
from nodewise.workspace import Workspace

PATIENCE_S = 60.0
GONE_S = 10.0


def wait_until(reached: Callable[[], Any], seconds: float = PATIENCE_S) -> None:
    """Wait for other processes."""
    deadline = time.monotonic() + seconds
    while not reached():
        assert time.monotonic() < deadline
        time.sleep(0.1)


class Site:
    """A workspace and a folder for temporary files, with all processes that a test starts there."""

    def __init__(self, root: Path, temp: Path) -> None:
        self.workspace = Workspace(root / "workspace")
        self.temp = temp
        self._mark = str(root)
        self.environment = {**os.environ, MARK: self._mark, "TMPDIR": str(temp)}

    def start(self, *arguments: str, **options: Any) -> subprocess.Popen[str]:
        """Start a command of nodewise in this workspace."""
        place = ["--workspace", str(self.workspace.root)]
        command = [sys.executable, "-m", "nodewise", *arguments, *place]
        keep = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True, "env": self.environment}
        return subprocess.Popen(command, **(keep | options))

    def processes(self) -> list[psutil.Process]:
        """Those that are there and that the test began, itself apart."""
        return marked_processes(self._mark)

    def check_nothing_left(self) -> None:
        """Fail unless within ten seconds no process, place or scratch folder of any cluster here is left."""
        deadline = time.monotonic() + GONE_S
        while (left := self.left()) and time.monotonic() < deadline:
            time.sleep(0.1)
        assert left == []

    def left(self) -> list[str]:
        """What is left, in words."""
        ids = {cluster.cluster_id for cluster in self.workspace.clusters.all()}
        processes = []
        for process in self.processes():
            try:
                processes.append(f"{process.pid} {' '.join(process.cmdline())[:150]}")
            except psutil.Error:
                continue
        places = [str(leftover) for leftover in leftovers() if leftover.cluster_id in ids]
        return [*processes, *places, *map(str, self.temp.glob("nw-*"))]


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    """A workspace whose clusters are gone when the test ends, whatever it did."""
    # Not in tmp_path, since the path of a Unix socket has to be short.
    temp = Path(tempfile.mkdtemp(prefix="nwt-"))
    here = Site(tmp_path, temp)
    monkeypatch.setenv(MARK, str(tmp_path))
    monkeypatch.setattr(tempfile, "tempdir", str(temp))
    yield here
    for record in list_clusters(here.workspace):
        if record.kind == "all-purpose":
            delete_cluster(here.workspace, record.name, force=True)
    for process in here.processes():
        process.kill()
    shutil.rmtree(temp)
