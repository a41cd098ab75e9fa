"""Files that are whole or absent."""

from __future__ import annotations

import errno
import hashlib
import os
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from nodewise.core.errors import DiskFullError

__all__ = [
    "TEMP_PREFIX",
    "atomic_writer",
    "disk_full",
    "disk_full_named",
    "is_disk_full",
    "resolve_inside",
    "sha256_of",
    "user_cache_dir",
    "write_atomic",
]

TEMP_PREFIX = ".part-"
"""Names of files that are still being written start with this; readers pass over them."""


@contextmanager
def atomic_writer(path: Path) -> Iterator[BinaryIO]:
    """Open a file that appears under ``path`` only when the block ends well.

    The bytes go to a temporary name in the same folder, are flushed to the disk and renamed. If the block raises, or
    the process dies, nothing is left under ``path``; two writers of one path leave one whole file.

    Raises:
        DiskFullError: There is no space for it.
    """
    temporary = path.parent / f"{TEMP_PREFIX}{uuid.uuid4().hex[:12]}-{path.name}"
    with disk_full_named(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with temporary.open("wb") as stream:
                yield stream
                stream.flush()
                os.fsync(stream.fileno())
            os.replace(temporary, path)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise


@contextmanager
def disk_full_named(path: Path) -> Iterator[None]:
    """Turn the operating system's "no space left" into an error that names the file system and what it has free.

    Args:
        path: What was to be written, or its folder.

    Raises:
        DiskFullError: In place of an OSError for want of space or quota.
    """
    try:
        yield
    except OSError as error:
        if not is_disk_full(error):
            raise
        raise disk_full(path) from error


def is_disk_full(error: OSError) -> bool:
    """Whether it was for want of space or quota."""
    return error.errno in (errno.ENOSPC, errno.EDQUOT)


def disk_full(path: Path, needed_bytes: int | None = None) -> DiskFullError:
    """The error for a file that could not be written: ``needed_bytes`` is what it still lacked, where that is known."""
    folder = path.absolute()
    while not folder.is_dir():
        folder = folder.parent
    return DiskFullError(
        path, mount=_mount_of(folder), free_bytes=shutil.disk_usage(folder).free, needed_bytes=needed_bytes
    )


def _mount_of(folder: Path) -> Path:
    folder = folder.resolve()
    while not folder.is_mount():
        folder = folder.parent
    return folder


def write_atomic(path: Path, content: bytes | str) -> None:
    """Write a whole file in one step, as :func:`atomic_writer` does."""
    with atomic_writer(path) as stream:
        stream.write(content.encode() if isinstance(content, str) else content)


def sha256_of(path: Path) -> str:
    """SHA-256 of a file, as hexadecimal digits."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def user_cache_dir() -> Path:
    """Where this user's files are that can be had again, for all workspaces; it need not be there."""
    cache = os.environ.get("XDG_CACHE_HOME")
    return (Path(cache) if cache else Path.home() / ".cache") / "nodewise"


def resolve_inside(root: Path, name: str) -> Path | None:
    """The path of ``name`` under ``root``, or None if it would lie outside (symlinks and ``..`` resolved)."""
    base = root.resolve()
    target = (base / name).resolve()
    return target if target.is_relative_to(base) else None
