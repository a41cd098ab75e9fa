"""Long-running programs that an emulated cluster is made of, each with its output in a log file."""

from __future__ import annotations

import contextlib
import re
import socket
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import psutil

from nodewise.core.errors import NodewiseError, PortInUseError
from nodewise.core.secrets import redact

__all__ = ["Daemons", "log_tail", "require_free_port"]

POLL_S = 0.05
TAIL_LINES = 3


class Daemons:
    """Child processes, each the leader of a session of its own. What outlives its owner the guard ends.

    Args:
        log_dir: Folder for the logs.
        check: Called again and again while something is waited for; raises if waiting has become pointless.
    """

    def __init__(self, log_dir: Path, check: Callable[[], None] = lambda: None) -> None:
        self._log_dir = log_dir
        self._check = check
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        self._essential: set[str] = set()

    def log_path(self, name: str) -> Path:
        return self._log_dir / f"{name}.log"

    def start(self, name: str, command: Sequence[str], env: Mapping[str, str], *, essential: bool = False) -> int:
        """Start one program; its standard output and error go to ``log_path(name)``. Returns its process id.

        Args:
            essential: Without it there is nothing that others could wait for.
        """
        with self.log_path(name).open("wb") as log:
            process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=dict(env), start_new_session=True
            )
        self._processes[name] = process
        if essential:
            self._essential.add(name)
        return process.pid

    def run(self, name: str, command: Sequence[str], env: Mapping[str, str], timeout_s: float) -> None:
        """Run one program to its end.

        Raises:
            NodewiseError: It failed, with the last lines of its log; or it took too long.
        """
        self.start(name, command, env)
        process = self._processes[name]
        deadline = time.monotonic() + timeout_s
        while process.poll() is None:
            self._check()
            if time.monotonic() > deadline:
                self.kill([name])
                raise NodewiseError(f"{name} did not end within {timeout_s:.0f} s", hint=f"its log: {self._log(name)}")
            time.sleep(POLL_S)
        del self._processes[name]
        if process.returncode != 0:
            raise self._ended(name, process.returncode)

    def wait_for_text(self, name: str, pattern: str, timeout_s: float) -> str:
        """The first match of a pattern in the log of a program that is running.

        Raises:
            NodewiseError: The program, or an essential one, ended; or the text did not come in time.
        """
        deadline = time.monotonic() + timeout_s
        path = self.log_path(name)
        while time.monotonic() < deadline:
            self._check()
            ended = self._processes[name].poll()
            found = re.search(pattern, path.read_text(errors="replace"))
            if found:
                return found.group(0)
            if ended is not None:
                raise self._ended(name, ended)
            for other, error in self.ended().items():
                if other in self._essential:
                    raise error
            time.sleep(POLL_S)
        raise NodewiseError(f"{name} did not start within {timeout_s:.0f} s", hint=f"its log: {path}")

    def ended(self) -> dict[str, NodewiseError]:
        """The programs that have ended by themselves, by name, with the last lines of their logs."""
        found = {}
        for name, process in self._processes.items():
            status = process.poll()
            if status is not None:
                found[name] = self._ended(name, status)
        return found

    def kill(self, names: Sequence[str] | None = None) -> None:
        """End programs (None: all) and what they started, at once: they keep nothing that anybody will want.

        Ray's would else take up to half a minute to drain.
        """
        taken = [self._processes.pop(name) for name in names or list(self._processes) if name in self._processes]
        for process in taken:
            _kill_family(process.pid)
        for process in taken:
            process.wait()

    def _log(self, name: str) -> str:
        return str(self.log_path(name))

    def _ended(self, name: str, status: int) -> NodewiseError:
        tail = log_tail(self.log_path(name)) or "its log is empty"
        return NodewiseError(f"{name} ended with status {status}: {tail}", hint=f"its log: {self._log(name)}")


def log_tail(path: Path) -> str:
    """The last lines of a log on one line, with secrets blacked out; empty without one."""
    with contextlib.suppress(OSError), path.open("rb") as stream:
        stream.seek(max(0, path.stat().st_size - 8192))
        lines = stream.read().decode(errors="replace").strip().splitlines()
        return redact(" | ".join(line.strip() for line in lines[-TAIL_LINES:]))
    return ""


def _kill_family(pid: int) -> None:
    with contextlib.suppress(psutil.Error):
        root = psutil.Process(pid)
        for process in [root, *root.children(recursive=True)]:
            with contextlib.suppress(psutil.Error):
                process.kill()


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
