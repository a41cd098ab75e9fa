"""Runs commands as processes, and finds what they leave behind."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest

Cli = Callable[..., "subprocess.CompletedProcess[str]"]


class Mark:
    """An environment variable by which every process below a command is found, also when its parent is gone."""

    NAME = "NODEWISE_TEST_MARK"

    def __init__(self, value: str) -> None:
        self.environment = {self.NAME: value}

    def processes(self) -> list[psutil.Process]:
        found = []
        for process in psutil.process_iter():
            try:
                marked = process.environ().get(self.NAME) == self.environment[self.NAME]
                if marked and process.status() != psutil.STATUS_ZOMBIE:
                    found.append(process)
            except psutil.Error:
                continue
        return found

    def left(self, seconds: float = 10) -> list[str]:
        """The command lines of the processes that are still there after so many seconds."""
        deadline = time.monotonic() + seconds
        while (left := self.processes()) and time.monotonic() < deadline:
            time.sleep(0.1)
        return [" ".join(process.cmdline())[:120] for process in left]


@pytest.fixture
def mark(tmp_path: Path) -> Mark:
    return Mark(str(tmp_path))


@pytest.fixture
def environment(tmp_path: Path, mark: Mark) -> dict[str, str]:
    """A workspace of the test's own, a width for tables, and the mark."""
    return {**os.environ, **mark.environment, "NODEWISE_WORKSPACE": str(tmp_path / "ws"), "COLUMNS": "100"}


@pytest.fixture
def cli(tmp_path: Path, environment: dict[str, str]) -> Cli:
    """Runs a command in tmp_path and waits for it."""

    def run(
        *arguments: str, env: dict[str, str] | None = None, timeout: float = 220
    ) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "nodewise", *arguments],
            cwd=tmp_path,
            env={**environment, **(env or {})},
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )

    return run


@pytest.fixture
def read_json() -> Callable[[Path], dict[str, Any]]:
    """Reads what ``--json`` wrote, after checking its frame."""

    def read(path: Path) -> dict[str, Any]:
        content: dict[str, Any] = json.loads(path.read_text())
        assert set(content) == {"ok", "error", "command", "result"}
        return content

    return read
