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

from nodewise.engines.base import Engine
from nodewise.engines.registry import create_engine
from nodewise.specs.cluster import ClusterSpec, EngineName

from . import tasks
from .processes import MARK, LeftOver, marked_processes

__all__ = ["EngineLifecycle"]

OWNER = """
import sys, time
from nodewise.engines.registry import create_engine
from nodewise.specs.cluster import ClusterSpec
engine = create_engine(ClusterSpec(engine=sys.argv[1], nodes=2))
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

    def create(self, nodes: int, port: int | None = None) -> Engine:
        return create_engine(ClusterSpec(engine=self.name, nodes=nodes, port=port))

    def test_a_stopped_engine_leaves_no_process_and_no_file(self, left_over: LeftOver, temp: Path) -> None:
        environment = dict(os.environ)
        engine = self.create(nodes=2)
        try:
            engine.start()
            assert sorted(result.value for result in engine.map("squares", tasks.square, range(4))) == [0, 1, 4, 9]
            assert len(engine.gang("gather", tasks.gather_twice, "hello")) == 2
            assert len(left_over()) >= 2
            self.check_running(temp, left_over())
        finally:
            engine.stop()
        assert left_over() == []
        assert list(temp.iterdir()) == []
        assert set(os.environ.items()) - set(environment.items()) <= self.kept_environment()
        engine.stop()

    def check_running(self, temp: Path, processes: list[psutil.Process]) -> None:
        """What else is to be seen while two nodes are up."""

    def kept_environment(self) -> set[tuple[str, str]]:
        """Variables that stay set in this process."""
        return set()

    def test_an_engine_that_was_not_started_can_be_stopped(self, left_over: LeftOver) -> None:
        engine = self.create(nodes=2)
        engine.stop()
        engine.stop()
        assert left_over() == []

    @pytest.mark.parametrize("repetition", range(5 if os.environ.get("NODEWISE_TEST_ALL") == "1" else 1))
    def test_nothing_outlives_a_killed_owner(self, left_over: LeftOver, temp: Path, repetition: int) -> None:
        environment = {**os.environ, "TMPDIR": str(temp)}
        with subprocess.Popen(
            [sys.executable, "-c", OWNER, self.name], env=environment, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
        ) as owner:
            assert owner.stdout is not None
            assert owner.stdout.readline() == b"READY\n"
            assert len(left_over()) >= 3
            owner.kill()
        deadline = time.monotonic() + 10
        while left_over() and time.monotonic() < deadline:
            time.sleep(0.1)
        assert [" ".join(process.cmdline())[:200] for process in left_over()] == []
