"""Objects that tests put into processes of their own."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

from nodewise.core.errors import CorruptFileError


class Counter:
    """Counts from where it was told to."""

    def __init__(self, start: int) -> None:
        if start < 0:
            raise ValueError("a start below zero")
        self._count = start

    def add(self, number: int) -> int:
        self._count += number
        return self._count

    def fail(self) -> None:
        raise CorruptFileError("file", "cut short", record=3)

    def pid(self) -> int:
        return os.getpid()

    def environment(self, name: str) -> str | None:
        return os.environ.get(name)

    def print(self, text: str) -> None:
        print(text, flush=True)
        print(text, file=sys.stderr, flush=True)

    def die(self) -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    def sleep(self, seconds: float) -> None:
        time.sleep(seconds)

    def start_child(self) -> int:
        return subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"]).pid
