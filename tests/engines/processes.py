"""Finds processes by a mark that they inherit in their environment."""

from __future__ import annotations

import os
from collections.abc import Callable

import psutil

__all__ = ["MARK", "LeftOver", "marked_processes"]

LeftOver = Callable[[], list[psutil.Process]]

MARK = "NODEWISE_TEST_MARK"


def marked_processes(mark: str) -> list[psutil.Process]:
    """All processes of this machine with the mark, also those that are nobody's children any more.

    The one that Python starts to keep account of semaphores is left out: every process that uses loky or
    multiprocessing has one, and it ends with that process.
    """
    found = []
    for process in psutil.process_iter():
        try:
            if process.pid == os.getpid() or process.environ().get(MARK) != mark:
                continue
            if any("resource_tracker" in part for part in process.cmdline()):
                continue
            if process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
        except psutil.Error:
            continue
    return found
