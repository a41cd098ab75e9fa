"""This machine and this installation, as evidence of a run."""

from __future__ import annotations

import platform
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import psutil

from nodewise.core.machine import machine_cores
from nodewise.core.secrets import redact_arguments

__all__ = ["provenance"]

_PACKAGES = ("nodewise", "numpy", "opencv-python-headless", "pyspark", "ray", "safetensors", "simplejpeg", "torch")


def provenance() -> dict[str, Any]:
    """Machine, Python, the versions of the packages that do the work, and the command line without its secrets."""
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
        "command": [_program(), *redact_arguments(sys.argv[1:])],
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
