"""This machine and this installation, as evidence of a run."""

from __future__ import annotations

import os
import platform
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import psutil

__all__ = ["machine_cores", "provenance"]

_PACKAGES = ("nodewise", "numpy", "opencv-python-headless", "pyspark", "ray", "safetensors", "simplejpeg", "torch")


def machine_cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def provenance() -> dict[str, Any]:
    """Machine, Python and the versions of the packages that do the work."""
    versions = {}
    for package in _PACKAGES:
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            continue
    return {
        "machine": f"{_processor()}, {platform.system()} {platform.release()}",
        "cores": machine_cores(),
        "memory_bytes": psutil.virtual_memory().total,
        "python": platform.python_version(),
        "versions": versions,
        "command": [_program(), *sys.argv[1:]],
    }


def _program() -> str:
    name = Path(sys.argv[0]).name
    return "nodewise" if name == "__main__.py" else name


def _processor() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()
