"""Files that are whole or absent."""

from __future__ import annotations

import hashlib
import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

__all__ = ["TEMP_PREFIX", "atomic_writer", "resolve_inside", "sha256_of", "write_atomic"]

TEMP_PREFIX = ".part-"
"""Names of files that are still being written start with this; readers pass over them."""


@contextmanager
def atomic_writer(path: Path) -> Iterator[BinaryIO]:
    """Open a file that appears under ``path`` only when the block ends well.

    The bytes go to a temporary name in the same folder, are flushed to the disk and renamed. If the block raises, or
    the process dies, nothing is left under ``path``; two writers of one path leave one whole file.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.parent / f"{TEMP_PREFIX}{uuid.uuid4().hex[:12]}-{path.name}"
    try:
        with temporary.open("wb") as stream:
            yield stream
            stream.flush()
            os.fsync(stream.fileno())
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def write_atomic(path: Path, content: bytes | str) -> None:
    """Write a whole file in one step, as :func:`atomic_writer` does."""
    with atomic_writer(path) as stream:
        stream.write(content.encode() if isinstance(content, str) else content)


def sha256_of(path: Path) -> str:
    """SHA-256 of a file, as hexadecimal digits."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def resolve_inside(root: Path, name: str) -> Path | None:
    """The path of ``name`` under ``root``, or None if it would lie outside (symlinks and ``..`` resolved)."""
    base = root.resolve()
    target = (base / name).resolve()
    return target if target.is_relative_to(base) else None
