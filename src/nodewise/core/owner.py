"""Whether the process that holds something is still there."""

from __future__ import annotations

import os
import socket
from dataclasses import dataclass

import psutil

__all__ = ["Owner"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Owner:
    """A process, told apart by its start time from a later one that was given the same number."""

    host: str
    pid: int
    started_at: float

    @classmethod
    def current(cls) -> Owner:
        """The process that calls."""
        return cls(host=socket.gethostname(), pid=os.getpid(), started_at=psutil.Process().create_time())

    def is_gone(self) -> bool:
        """True only if it is certain: of a process on another host nothing is known from here."""
        if self.host != socket.gethostname():
            return False
        try:
            process = psutil.Process(self.pid)
            # Start times are computed from the boot time, which moves a little when the clock is set.
            same = abs(process.create_time() - self.started_at) < 2
            return not same or process.status() == psutil.STATUS_ZOMBIE
        except psutil.NoSuchProcess:
            return True
        except psutil.AccessDenied:
            return False
