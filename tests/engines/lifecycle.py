"""What every engine promises of its start and stop; a test class per engine inherits these tests."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar

import psutil
import pytest

from nodewise.engines.registry import create_engine
from nodewise.isolation.leftovers import Leftover, leftovers
from nodewise.specs.cluster import ClusterSpec, EngineName

from . import tasks
from .clusters import open_engine
from .processes import MARK, LeftOver, marked_processes

__all__ = ["EngineLifecycle"]

OWNER = """
import sys, time
from pathlib import Path
from nodewise.clusters.link import start_job_cluster
from nodewise.clusters.plan import ClusterPlan
from nodewise.engines.registry import create_engine
from nodewise.specs.cluster import ClusterSpec
from nodewise.workspace import Workspace
cluster = ClusterSpec(engine=sys.argv[1], nodes=2)
link = start_job_cluster(Workspace(Path(sys.argv[2])), f"owned-{sys.argv[1]}", ClusterPlan(cluster=cluster))
engine = create_engine(cluster, link.access)
engine.start()
print("READY", flush=True)
time.sleep(600)
"""


class EngineLifecycle:
    """Starts clusters of its own, so that no other may be up in this process."""

    name: ClassVar[EngineName]

    @pytest.fixture(autouse=True)
    def _no_other_engine(self, engine: None) -> None:
        tasks.carry_by_value()

    @pytest.fixture
    def left_over(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> LeftOver:
        """Tells which processes are there that the test began."""
        monkeypatch.setenv(MARK, str(tmp_path))
        return lambda: marked_processes(str(tmp_path))

    @pytest.fixture
    def temp(self, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
        """The folder for temporary files; not in tmp_path, since the path of a Unix socket has to be short."""
        folder = Path(tempfile.mkdtemp(prefix="nw-"))
        monkeypatch.setattr(tempfile, "tempdir", str(folder))
        yield folder
        shutil.rmtree(folder)

    def test_a_stopped_engine_leaves_no_process_and_no_file(
        self, left_over: LeftOver, temp: Path, tmp_path: Path
    ) -> None:
        environment = dict(os.environ)
        with open_engine(ClusterSpec(engine=self.name, nodes=2), tmp_path) as engine:
            assert sorted(result.value for result in engine.map("squares", tasks.square, range(4))) == [0, 1, 4, 9]
            assert len(engine.gang("gather", tasks.gather_twice, "hello")) == 2
            assert len(left_over()) >= 2
            self.check_running(tmp_path, left_over())
        assert left_over() == []
        assert list(temp.iterdir()) == []
        assert dict(os.environ) == environment
        engine.stop()

    def check_running(self, workspace: Path, processes: list[psutil.Process]) -> None:
        """What else is to be seen while two nodes are up."""

    def test_an_engine_that_was_not_started_can_be_stopped(self, left_over: LeftOver) -> None:
        engine = create_engine(ClusterSpec(engine=self.name, nodes=2))
        engine.stop()
        engine.stop()
        assert left_over() == []

    @pytest.mark.parametrize("repetition", range(5 if os.environ.get("NODEWISE_TEST_ALL") == "1" else 1))
    @pytest.mark.slow("spark", "ray")
    def test_nothing_outlives_a_killed_owner(
        self, left_over: LeftOver, temp: Path, tmp_path: Path, repetition: int
    ) -> None:
        environment = {**os.environ, "TMPDIR": str(temp)}
        with subprocess.Popen(
            [sys.executable, "-c", OWNER, self.name, str(tmp_path)],
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        ) as owner:
            assert owner.stdout is not None
            assert owner.stdout.readline() == b"READY\n"
            assert len(left_over()) >= 3
            owner.kill()
        deadline = time.monotonic() + 10
        while left_over() and time.monotonic() < deadline:
            time.sleep(0.1)
        assert [" ".join(process.cmdline())[:200] for process in left_over()] == []
        # Tests of other engines run at the same time, each with a cluster of its own.
        assert leftovers_of(f"owned-{self.name}") == []
        assert [path for path in temp.iterdir() if not path.name.startswith("nodewise-spark-")] == []


def leftovers_of(cluster_id: str) -> list[Leftover]:
    """Control groups, namespaces and links of a cluster that are still there."""
    return [leftover for leftover in leftovers() if leftover.cluster_id == cluster_id]
