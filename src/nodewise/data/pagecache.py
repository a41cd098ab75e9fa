"""What of a file lies in the operating system's page cache, and how to get it out of there. Linux only.

mincore(2) tells which pages of a file are in memory. The kernel answers honestly only to those who may write the file
or own it, and says "all of it" to everybody else, so for files of others the answer here is None.
"""

from __future__ import annotations

import ctypes
import mmap
import os
import sys
from collections.abc import Iterable, Sequence
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import psutil
from numpy.typing import NDArray

from nodewise.core.errors import InputError

__all__ = ["CacheSnapshot", "Extent", "device_bytes", "drop", "warm"]

_PAGE = mmap.PAGESIZE
_PIECE_BYTES = 1 << 20
_DROP_CACHES = Path("/proc/sys/vm/drop_caches")


class Extent(NamedTuple):
    """Some bytes of a file."""

    path: Path
    offset: int
    length: int


class CacheSnapshot:
    """Which pages of some files were in the page cache at one moment.

    Looking loads nothing: neither the files nor their pages are touched.

    Args:
        paths: The files; each is a byte per page of it in memory here.
    """

    def __init__(self, paths: Iterable[Path]) -> None:
        self._resident = {path: _resident_pages(path) for path in paths}

    def cached_fraction(self, extents: Sequence[Extent]) -> float | None:
        """The share of these bytes that were in the cache, 0 to 1; bytes named twice count twice.

        None where it cannot be known: no bytes, another system than Linux, or a file of somebody else.
        """
        total = cached = 0
        for path, offset, length in extents:
            resident = self._resident[path]
            if resident is None:
                return None
            total += length
            cached += _cached_bytes(resident, offset, length)
        return cached / total if total else None

    @property
    def cached_pages(self) -> int | None:
        """Pages of all the files; None where it cannot be known."""
        counts = [None if resident is None else int(resident.sum()) for resident in self._resident.values()]
        return None if None in counts else sum(count for count in counts if count is not None)


def drop(paths: Sequence[Path]) -> None:
    """Take the files out of the page cache, so that the next to read them reads the device.

    Pages that a process has mapped, or that are not written back, cannot be dropped. What is written is flushed first.

    Raises:
        InputError: They cannot be dropped here (a file system in memory, a page in use), or it cannot be checked.
    """
    if CacheSnapshot(paths).cached_pages is None:
        raise InputError(
            f"cannot tell what is in the page cache of {_first(paths)}",
            hint="this needs Linux and files that are yours; without --cold the cache is taken as it is",
        )
    for path in paths:
        with path.open("rb") as stream:
            os.fsync(stream.fileno())
            os.posix_fadvise(stream.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
    if CacheSnapshot(paths).cached_pages:
        with suppress(OSError):
            _DROP_CACHES.write_text("1")
    if left := CacheSnapshot(paths).cached_pages:
        raise InputError(
            f"cannot drop the page cache for {_first(paths)}: {left} pages stay",
            hint="files in memory (tmpfs) or in use by others stay cached; without --cold the cache is taken as it is",
        )


def warm(paths: Iterable[Path]) -> None:
    """Read the files once, so that they are in the page cache as far as memory reaches."""
    for path in paths:
        with path.open("rb", buffering=0) as stream:
            while stream.read(_PIECE_BYTES):
                pass


def device_bytes() -> int | None:
    """Bytes that this process and those below it made the kernel fetch from storage so far.

    Read-ahead counts, what came from the page cache does not; so does what children read that have ended and were
    waited for. None where the system does not tell.
    """
    try:
        total = _read_bytes(os.getpid())
        for child in psutil.Process().children(recursive=True):
            with suppress(FileNotFoundError, ProcessLookupError):  # it ended just now
                total += _read_bytes(child.pid)
    except (OSError, KeyError, ValueError, psutil.Error):
        return None
    return total


def _read_bytes(pid: int) -> int:
    lines = Path(f"/proc/{pid}/io").read_text().splitlines()
    return int(dict(line.split(": ") for line in lines)["read_bytes"])


def _first(paths: Sequence[Path]) -> str:
    return f"{paths[0]} and {len(paths) - 1} more" if len(paths) > 1 else str(paths[0])


def _cached_bytes(resident: NDArray[np.bool_], offset: int, length: int) -> int:
    first, last = offset // _PAGE, -(-(offset + length) // _PAGE)
    pages = np.arange(first, min(last, len(resident)))
    begins = np.maximum(pages * _PAGE, offset)
    ends = np.minimum((pages + 1) * _PAGE, offset + length)
    return int((ends - begins)[resident[first:last]].sum())


def _resident_pages(path: Path) -> NDArray[np.bool_] | None:
    """For each page of the file, whether it is in memory; None if the kernel does not tell."""
    mincore = _mincore()
    with path.open("rb") as stream:
        status = os.fstat(stream.fileno())
        if mincore is None or not (status.st_uid == os.geteuid() or os.access(path, os.W_OK)):
            return None
        if status.st_size == 0:
            return np.zeros(0, np.bool_)
        with mmap.mmap(stream.fileno(), status.st_size, access=mmap.ACCESS_READ) as mapped:
            states = np.zeros(-(-status.st_size // _PAGE), np.uint8)
            view = np.frombuffer(mapped, np.uint8)
            failed = mincore(view.ctypes.data, status.st_size, states.ctypes.data)
            del view  # or the file could not be unmapped
    return None if failed else (states & 1).astype(np.bool_)


@cache
def _mincore() -> Any:
    if sys.platform != "linux":
        return None
    function = ctypes.CDLL(None, use_errno=True).mincore
    function.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_void_p]
    return function
