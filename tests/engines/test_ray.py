"""Engine ``ray``."""

from __future__ import annotations

import os
import socket
import sys
from pathlib import Path

import psutil
import pytest

from nodewise.core.errors import MissingDependencyError, PortInUseError

from .clusters import on_cluster, on_no_cluster
from .contract import EngineContract
from .lifecycle import EngineLifecycle
from .processes import LeftOver


@on_cluster("ray", 3)
class TestRayEngine(EngineContract):
    """Three raylets."""


@on_no_cluster("ray")
class TestRayLifecycle(EngineLifecycle):
    """Raylets and the head's services."""

    name = "ray"

    def kept_environment(self) -> set[tuple[str, str]]:
        # Ray read them when it was imported, and reads them again.
        return {(name, os.environ.get(name, "")) for name in ("RAY_AUTH_MODE", "RAY_AUTH_TOKEN")}

    def check_running(self, temp: Path, processes: list[psutil.Process]) -> None:
        names = {process.name() for process in processes}
        assert {"raylet", "gcs_server"} <= names
        token = os.environ["RAY_AUTH_TOKEN"]
        commands = [" ".join(process.info["cmdline"] or []) for process in psutil.process_iter(["cmdline"])]
        assert not [command for command in commands if token in command]

    def test_a_port_in_use_is_told_before_anything_is_started(self, left_over: LeftOver, temp: Path) -> None:
        with socket.create_server(("127.0.0.2", 0)) as taken:
            port = taken.getsockname()[1]
            engine = self.create(nodes=2, port=port)
            with pytest.raises(PortInUseError) as caught:
                engine.start()
        assert caught.value.message == f"port {port} on 127.0.0.2 is in use by another program"
        assert left_over() == []
        engine.stop()
        assert list(temp.iterdir()) == []

    def test_without_ray_the_error_says_what_to_install(
        self, left_over: LeftOver, temp: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setitem(sys.modules, "ray", None)
        engine = self.create(nodes=2)
        with pytest.raises(MissingDependencyError, match="needs the package ray") as caught:
            engine.start()
        assert caught.value.hint == "pip install 'nodewise[ray]'"
        engine.stop()
        assert left_over() == []
        assert list(temp.iterdir()) == []
