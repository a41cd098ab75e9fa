"""Whether what shall be read is there, and what shall be written has room."""

from __future__ import annotations

import difflib
import glob
import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from nodewise.core.findings import Finding
from nodewise.core.units import format_bytes
from nodewise.data.datasets import list_datasets
from nodewise.preflight.plan import Plan

__all__ = ["check_inputs", "check_room"]

MAX_FILES = 100_000
"""Files whose sizes are added up; of more, the sum is a lower bound."""
SCRATCH_BYTES = {"local": 64 << 20, "spark": 512 << 20, "ray": 512 << 20}
"""What the engines need at least for temporary files."""
RAY_FULL_FRACTION = 0.95
"""Ray stores no more objects on a disk as full as this (``local_fs_capacity_threshold``)."""


def check_inputs(plan: Plan) -> Iterator[Finding]:
    """Every path exists and can be read, every pattern matches a file, every folder holds one."""
    known = {dataset.name for dataset in list_datasets(plan.workspace.datasets_dir)} if plan.inputs else set()
    for text in plan.inputs:
        if text in known or re.match(r"[a-z][a-z0-9+]+://", text):
            continue
        problem = _problem_of(text, plan.base)
        if problem is not None:
            what, remedy = problem
            yield Finding(level="error", what=what, remedy=remedy)


def check_room(plan: Plan) -> Iterator[Finding]:
    """There is room for what will be written, and for the temporary files of the engine."""
    asked = {plan.output or plan.workspace.root: int(_bytes_of(plan) * plan.input_factor)}
    if plan.cluster.emulated and not plan.is_up:
        scratch = Path(tempfile.gettempdir())
        asked[scratch] = asked.get(scratch, 0) + SCRATCH_BYTES[plan.cluster.engine]
        usage = shutil.disk_usage(scratch)
        if plan.cluster.engine == "ray" and usage.total - usage.free > RAY_FULL_FRACTION * usage.total:
            yield Finding(
                level="error",
                what=f"the disk of {scratch} is {1 - usage.free / usage.total:.0%} full",
                detail=f"Ray stores no objects on a disk more than {RAY_FULL_FRACTION:.0%} full",
                remedy="free some space, or set TMPDIR to a folder on another disk",
            )
    for folder, needed in asked.items():
        free = shutil.disk_usage(_existing(folder)).free
        if free < needed:
            yield Finding(
                level="error",
                what=f"no room in {folder}",
                detail=f"{format_bytes(free)} are free, and about {format_bytes(needed)} will be written",
                remedy="free some space, or name a folder on another disk",
            )


def _problem_of(text: str, base: Path) -> tuple[str, str] | None:
    path = base / Path(text).expanduser()
    if not path.exists():
        if glob.has_magic(text):
            if next(glob.iglob(str(path), recursive=True), None) is not None:
                return None
            return f"nothing matches {text!r}", f"see what is there: ls {_existing(path)}"
        near = difflib.get_close_matches(path.name, _names(path.parent), n=1, cutoff=0.6)
        return f"{text} does not exist", f"did you mean {near[0]!r}?" if near else "give the path of what is to be read"
    if not os.access(path, os.R_OK | (os.X_OK if path.is_dir() else 0)):
        return f"{text} cannot be read", f"give yourself the right: chmod -R u+rX {text}"
    if path.is_dir() and next(_sizes(path), None) is None:
        return f"{text} holds no file", "give a folder with files in it"
    return None


def _bytes_of(plan: Plan) -> int:
    total = files = 0
    for text in plan.inputs:
        path = plan.base / Path(text).expanduser()
        found = [path] if path.exists() else map(Path, glob.iglob(str(path), recursive=True))
        for one in found:
            for size in _sizes(one):
                total, files = total + size, files + 1
                if files >= MAX_FILES:
                    return total
    return total


def _sizes(path: Path) -> Iterator[int]:
    """The size of a file, or of every file below a folder."""
    if path.is_file():
        yield path.stat().st_size
    waiting = [path] if path.is_dir() else []
    while waiting:
        try:
            with os.scandir(waiting.pop()) as entries:
                for entry in entries:
                    if entry.is_dir(follow_symlinks=False):
                        waiting.append(Path(entry.path))
                    elif entry.is_file():
                        yield entry.stat().st_size
        except OSError:
            continue


def _names(folder: Path) -> list[str]:
    try:
        return os.listdir(folder)
    except OSError:
        return []


def _existing(path: Path) -> Path:
    path = path.absolute()
    while not path.is_dir():
        path = path.parent
    return path
