"""Long-running programs that an emulated cluster is made of; none outlives the process that started it."""

from __future__ import annotations

import contextlib
import re
import socket
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import psutil

from nodewise.core.errors import NodewiseError, PortInUseError

__all__ = ["Daemons", "end_processes", "require_free_port", "wait_for_text"]

GRACE_S = 5.0


class Daemons:
    """Child processes, each the leader of a process group of its own, with its output in a log file.

    A small guard process (:mod:`nodewise.engines.guard`) waits for this process to end, however it ends, and then kills
    the groups that are still there.
    """

    def __init__(self, log_dir: Path) -> None:
        self._log_dir = log_dir
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        self._guard: subprocess.Popen[bytes] | None = None

    def log_path(self, name: str) -> Path:
        return self._log_dir / f"{name}.log"

    def start(self, name: str, command: Sequence[str], env: Mapping[str, str]) -> None:
        """Start one program; its standard output and error go to ``log_path(name)``."""
        if self._guard is None:
            self._guard = subprocess.Popen(
                [sys.executable, "-S", "-E", str(Path(__file__).with_name("guard.py"))],
                stdin=subprocess.PIPE,
                start_new_session=True,
            )
        with self.log_path(name).open("wb") as log:
            process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=dict(env), start_new_session=True
            )
        self._processes[name] = process
        self._tell_guard(f"+{process.pid}")

    def check(self) -> None:
        """Raise if a program has ended by itself, with the last lines of its log."""
        for name, process in self._processes.items():
            if process.poll() is not None:
                lines = self.log_path(name).read_text(errors="replace").strip().splitlines()
                tail = " | ".join(lines[-3:]) or "its log is empty"
                raise NodewiseError(f"{name} ended with status {process.returncode}: {tail}")

    def stop(self) -> None:
        """End every program and what it started: first asked, then killed."""
        processes, self._processes = list(self._processes.values()), {}
        family = [psutil.Process(process.pid) for process in processes if process.poll() is None]
        end_processes(family)
        for process in processes:
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(GRACE_S)
            self._tell_guard(f"-{process.pid}")
        if self._guard is not None and self._guard.stdin is not None:
            with contextlib.suppress(OSError):
                self._guard.stdin.close()
            self._guard.wait(GRACE_S)
            self._guard = None

    def _tell_guard(self, line: str) -> None:
        if self._guard is not None and self._guard.stdin is not None:
            with contextlib.suppress(OSError):
                self._guard.stdin.write(f"{line}\n".encode())
                self._guard.stdin.flush()


def end_processes(roots: Sequence[psutil.Process]) -> None:
    """End processes and all their descendants: SIGTERM, then SIGKILL to those that are left after a grace time."""
    family: list[psutil.Process] = []
    for root in roots:
        with contextlib.suppress(psutil.Error):
            family += [*root.children(recursive=True), root]
    for ask in (psutil.Process.terminate, psutil.Process.kill):
        for process in family:
            with contextlib.suppress(psutil.Error):
                ask(process)
        _, family = psutil.wait_procs(family, timeout=GRACE_S)
        if not family:
            return


def require_free_port(host: str, port: int | None) -> None:
    """Raise PortInUseError if a port that the user asked for is taken."""
    if port is None:
        return
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError:
            raise PortInUseError(host, port) from None


def wait_for_text(path: Path, pattern: str, daemons: Daemons, timeout_s: float) -> str:
    """The first match of a pattern in a log that is being written.

    Raises:
        NodewiseError: The program ended, or the text did not come in time.
    """
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        found = re.search(pattern, path.read_text(errors="replace"))
        if found:
            return found.group(0)
        daemons.check()
        time.sleep(0.05)
    raise NodewiseError(f"{path.stem} did not start within {timeout_s:.0f} s", hint=f"its log: {path}")
