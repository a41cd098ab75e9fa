"""What this machine has."""

from __future__ import annotations

import os

__all__ = ["machine_cores"]


def machine_cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
