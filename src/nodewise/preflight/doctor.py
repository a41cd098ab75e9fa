"""What this machine has and lacks: each thing looked at, with what to do about it."""

from __future__ import annotations

import os
import platform
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import psutil

from nodewise.core.errors import MissingDependencyError, NodewiseError
from nodewise.core.java import require_java
from nodewise.core.machine import machine_cores
from nodewise.core.units import format_bytes
from nodewise.isolation.leftovers import leftovers
from nodewise.isolation.tiers import detect_tier
from nodewise.preflight.machine import NODE_BYTES
from nodewise.specs.place import EmulationTier
from nodewise.workspace import Workspace

__all__ = ["DoctorCheck", "DoctorReport", "machine_checks"]

MIN_PYTHON = (3, 11)
MIN_FREE_BYTES = 1 << 30
MAX_CLOCK_GAP_S = 5.0

_PACKAGES = {
    "pyspark": ("the engine spark", "pip install 'nodewise[spark]'"),
    "ray": ("the engine ray", "pip install 'nodewise[ray]'"),
    "torch": ("train and score", "pip install 'nodewise[torch]'"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class DoctorCheck:
    """One thing looked at.

    Attributes:
        remedy: What to do about it; None where nothing is to be done or can be.
        required: Nothing works without it; else only what ``detail`` names.
    """

    name: str
    ok: bool
    detail: str
    remedy: str | None = None
    required: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class DoctorReport:
    """All checks, and how far emulated nodes are kept apart here."""

    checks: tuple[DoctorCheck, ...]
    emulation_tier: EmulationTier

    @property
    def ok(self) -> bool:
        """Whether all that is required is there."""
        return all(check.ok for check in self.checks if check.required)


def machine_checks(workspace: Workspace) -> DoctorReport:
    """Look at this machine and the workspace. Nothing is left behind, and the workspace is not made."""
    tier = detect_tier()
    isolation = [
        DoctorCheck(name=finding.name, ok=finding.ok, detail=finding.detail, remedy=finding.remedy)
        for finding in tier.findings
    ]
    checks = (
        _python(),
        _java(),
        *_packages(),
        _cores(),
        _memory(),
        _workspace(workspace),
        _disk("disk of the workspace", _existing(workspace.root), required=True),
        _disk("disk for temporary files", Path(tempfile.gettempdir())),
        _clock(workspace),
        *isolation,
        _leftovers(workspace),
    )
    # What is as it should be needs no remedy.
    said = tuple(replace(check, remedy=None) if check.ok else check for check in checks)
    return DoctorReport(checks=said, emulation_tier=tier.tier)


def _python() -> DoctorCheck:
    least = ".".join(map(str, MIN_PYTHON))
    return DoctorCheck(
        name="Python",
        ok=sys.version_info >= MIN_PYTHON,
        detail=f"{platform.python_version()} in {sys.executable}",
        remedy=f"install Python {least} or later",
        required=True,
    )


def _java() -> DoctorCheck:
    try:
        return DoctorCheck(name="Java", ok=True, detail=require_java())
    except MissingDependencyError as error:
        return DoctorCheck(name="Java", ok=False, detail=error.message, remedy=error.hint)


def _packages() -> Iterator[DoctorCheck]:
    for name, (needed_for, remedy) in _PACKAGES.items():
        try:
            yield DoctorCheck(name=name, ok=True, detail=version(name))
        except PackageNotFoundError:
            yield DoctorCheck(name=name, ok=False, detail=f"not installed; needed for {needed_for}", remedy=remedy)


def _cores() -> DoctorCheck:
    cores = machine_cores()
    return DoctorCheck(
        name="CPU",
        ok=cores > 1,
        detail=f"{cores} core{'s' if cores > 1 else ''}, which emulated nodes share",
        remedy="on one core nodes only take turns; set cpus_per_node to a fraction, such as 0.25",
    )


def _memory() -> DoctorCheck:
    memory = psutil.virtual_memory()
    nodes = {engine: memory.available // least for engine, least in NODE_BYTES.items()}
    fit = ", ".join(f"{count} of {engine}" for engine, count in nodes.items())
    return DoctorCheck(
        name="memory",
        ok=memory.available >= NODE_BYTES["spark"],
        detail=f"{format_bytes(memory.available)} of {format_bytes(memory.total)} free: enough for {fit} nodes",
        remedy="end other programs",
    )


def _workspace(workspace: Workspace) -> DoctorCheck:
    folder = _existing(workspace.root)
    ok, detail = os.access(folder, os.W_OK | os.X_OK), str(workspace.root)
    if folder != workspace.root:
        detail += " (not there yet)"
    try:
        if ok and folder == workspace.root:
            workspace.list_runs(limit=1)
    except NodewiseError as error:
        return DoctorCheck(name="workspace", ok=False, detail=error.message, remedy=error.hint, required=True)
    return DoctorCheck(
        name="workspace",
        ok=ok,
        detail=detail if ok else f"{folder} cannot be written",
        remedy="name another folder with --workspace or NODEWISE_WORKSPACE",
        required=True,
    )


def _disk(name: str, folder: Path, *, required: bool = False) -> DoctorCheck:
    usage = shutil.disk_usage(folder)
    return DoctorCheck(
        name=name,
        ok=usage.free >= MIN_FREE_BYTES,
        detail=f"{format_bytes(usage.free)} of {format_bytes(usage.total)} free at {folder}",
        remedy="free some space, or " + ("name another folder with --workspace" if required else "set TMPDIR"),
        required=required,
    )


def _clock(workspace: Workspace) -> DoctorCheck:
    """Locks go by the times of files, which may be another machine's."""
    folder = _existing(workspace.root)
    try:
        with tempfile.NamedTemporaryFile(dir=folder, prefix=".part-clock-") as probe:
            gap = abs(os.fstat(probe.fileno()).st_mtime - time.time())
    except OSError as error:
        return DoctorCheck(name="clock", ok=False, detail=f"{folder}: {error.strerror}", remedy="see the workspace")
    return DoctorCheck(
        name="clock",
        ok=gap <= MAX_CLOCK_GAP_S,
        detail=f"{gap:.1f} s from that of the file system of {folder}",
        remedy="let NTP set the clocks of this machine and of the file server",
    )


def _leftovers(workspace: Workspace) -> DoctorCheck:
    try:
        ended = {cluster.cluster_id for cluster in workspace.clusters.all() if not cluster.state.is_up}
    except NodewiseError as error:
        return DoctorCheck(name="leftovers of clusters", ok=False, detail=error.message, remedy=error.hint)
    left = [thing for thing in leftovers() if thing.cluster_id in ended]
    return DoctorCheck(
        name="leftovers of clusters",
        ok=not left,
        detail=", ".join(f"{thing.kind} {thing.name}" for thing in left) or "none of this workspace",
        remedy="nodewise clean",
    )


def _existing(path: Path) -> Path:
    while not path.is_dir():
        path = path.parent
    return path
