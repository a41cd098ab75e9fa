"""Engine ``ray``."""

from __future__ import annotations

import stat
import sys
from pathlib import Path

import psutil
import pytest

from nodewise.core.errors import MissingDependencyError
from nodewise.engines.registry import create_engine
from nodewise.specs.cluster import ClusterSpec

from .clusters import on_cluster, on_no_cluster
from .contract import EngineContract
from .lifecycle import EngineLifecycle


@on_cluster("ray", 3)
class TestRayEngine(EngineContract):
    """A head and three nodes."""


@on_no_cluster("ray")
class TestRayLifecycle(EngineLifecycle):
    """Raylets and the head's services."""

    name = "ray"

    def check_running(self, workspace: Path, processes: list[psutil.Process]) -> None:
        names = {process.name() for process in processes}
        assert {"raylet", "gcs_server"} <= names
        (path,) = workspace.glob("clusters/*/ray-token")
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        token = path.read_text()
        assert len(token) == 64
        commands = [" ".join(process.info["cmdline"] or []) for process in psutil.process_iter(["cmdline"])]
        assert not [command for command in commands if token in command]


@pytest.mark.parametrize("nodes", [1, 2])
def test_without_ray_the_error_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, nodes: int
) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    engine = create_engine(ClusterSpec(engine="ray", nodes=nodes))
    with pytest.raises(MissingDependencyError, match="needs the package ray") as caught:
        engine.start()
    assert caught.value.hint == "pip install 'nodewise[ray]'"
    engine.stop()
