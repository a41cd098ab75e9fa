"""Unpack archives that strangers made: whole or not at all, and never outside of the folder asked for."""

from __future__ import annotations

import errno
import gzip
import io
import lzma
import shutil
import stat
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path, PurePosixPath
from typing import Any, Protocol, cast

from nodewise.core.errors import CorruptFileError, NodewiseError, SourceError, UnsafeFileError
from nodewise.core.progress import SILENT, Progress
from nodewise.core.units import format_bytes, format_count
from nodewise.data.folders import whole_folder

__all__ = ["ARCHIVE_SUFFIXES", "MAX_ENTRIES", "MAX_RATIO", "MAX_UNPACKED_BYTES", "archive_stem", "extract_archive"]

ARCHIVE_SUFFIXES = (".tar.gz", ".tgz", ".tar", ".zip")
MAX_ENTRIES = 500_000
MAX_UNPACKED_BYTES = 50 << 30
MAX_RATIO = 200
"""Unpacked bytes per byte of the archive, over all of it. Images hardly shrink at all."""

_FREE_BYTES = 1 << 20  # the ratio counts from here on: a small archive of many equal small files is no bomb
_CHUNK_BYTES = 1 << 20
_MAX_READ_BYTES = 16 << 20
_DIRECTORY_BYTES = 100
"""Of an entry in the directory of a zip file: 46 and its name. zipfile holds all of it in memory before we see any."""
_TAR_BLOCK = 512
_WRONG_NAME_ERRNOS = (errno.EEXIST, errno.EISDIR, errno.ENAMETOOLONG, errno.ENOTDIR)
_DAMAGE = (
    tarfile.TarError,
    zipfile.BadZipFile,
    zlib.error,
    lzma.LZMAError,
    EOFError,
    struct.error,
    NotImplementedError,  # zipfile's word for a compression that it does not know
    ValueError,
    OverflowError,
)


class _Readable(Protocol):
    def read(self, size: int = -1, /) -> bytes: ...


def archive_stem(path: Path) -> str | None:
    """The file's name without the suffix of an archive (in any case), or None if it has none."""
    lowered = path.name.lower()
    suffix = next((suffix for suffix in ARCHIVE_SUFFIXES if lowered.endswith(suffix)), None)
    return None if suffix is None else path.name[: -len(suffix)]


def extract_archive(archive: Path, dest: Path, progress: Progress = SILENT) -> None:
    """Unpack a .tar, .tar.gz, .tgz or .zip file so that ``dest`` is the folder of what it holds.

    The files go to a temporary folder beside ``dest``, renamed at the very end; whatever goes wrong, neither is left
    behind. A ``dest`` that exists is left as it is; of two processes that unpack to it, the first one wins.
    Only names and contents are taken, not owners, modes or times.

    Raises:
        SourceError: There is no such file, it is encrypted, or its suffix is not that of an archive.
        UnsafeFileError: An entry lies outside of the folder, is a link or a device; or there are more than
            :data:`MAX_ENTRIES` entries, :data:`MAX_UNPACKED_BYTES` or :data:`MAX_RATIO`. What entries say of themselves
            is refused before they are written, and what comes out of them is counted all the same.
        CorruptFileError: The archive is cut short or damaged.
    """
    if archive_stem(archive) is None:
        raise SourceError(f"{archive}: not an archive that can be read; expected one of {', '.join(ARCHIVE_SUFFIXES)}")
    if not archive.is_file():
        raise SourceError(f"{archive}: no such file")
    if dest.exists():
        return
    progress.stage(f"extract {archive.name}")
    with whole_folder(dest) as temporary:
        _extract(archive, temporary, progress)
    progress.done()


def _extract(archive: Path, folder: Path, progress: Progress) -> None:
    is_zip = archive.name.lower().endswith(".zip")
    budget = _Budget(archive)
    entries = _zip_entries(archive, budget) if is_zip else _tar_entries(archive, budget)
    try:
        for name, content in entries:
            _write_entry(archive, folder, name, content)
            progress.advance()
    except NodewiseError:
        raise
    except _DAMAGE as error:
        raise CorruptFileError(str(archive), f"damaged or cut short: {error or type(error).__name__}") from error
    except OSError as error:
        # Decompressors raise OSErrors of their own, without a number; the others are this machine's (a full disk).
        if error.errno is None:
            raise CorruptFileError(str(archive), f"damaged or cut short: {error}") from error
        raise


def _write_entry(archive: Path, folder: Path, name: str, content: _Readable | None) -> None:
    # Windows tools write backslashes. Treating them as separators everywhere also closes that way out of the folder.
    relative = PurePosixPath(name.replace("\\", "/"))
    if relative.is_absolute() or ".." in relative.parts or "\0" in name:
        raise _unsafe(archive, f"its entry {name!r} lies outside of the archive's folder")
    target = folder / relative
    try:
        if content is None:
            target.mkdir(parents=True, exist_ok=True)
            return
        target.parent.mkdir(parents=True, exist_ok=True)
        with target.open("wb") as stream:
            shutil.copyfileobj(content, stream, _CHUNK_BYTES)
    except OSError as error:
        if error.errno in _WRONG_NAME_ERRNOS:
            raise CorruptFileError(str(archive), f"its entry {name!r} cannot be written: {error.strerror}") from error
        raise


class _Budget:
    """What an archive may still unpack."""

    def __init__(self, archive: Path) -> None:
        self._archive = archive
        self._entries = 0
        self._bytes = 0
        self._archive_bytes = archive.stat().st_size

    def count_entries(self, count: int) -> None:
        self._entries += count
        if self._entries > MAX_ENTRIES:
            raise _too_many_entries(self._archive)

    def announce(self, entry_bytes: int) -> None:
        """An entry says how long it is; nothing of it was read."""
        self._check(self._bytes + entry_bytes)

    def count_bytes(self, count: int) -> None:
        self._bytes += count
        self._check(self._bytes)

    def _check(self, count: int) -> None:
        if count > MAX_UNPACKED_BYTES:
            raise _unsafe(self._archive, f"it unpacks to more than {format_bytes(MAX_UNPACKED_BYTES)}")
        if count > max(_FREE_BYTES, MAX_RATIO * self._archive_bytes):
            raise _unsafe(self._archive, f"it unpacks to more than {MAX_RATIO} times its own size")


class _Metered:
    """A stream whose bytes count against the budget; it remembers the last ones that were read."""

    def __init__(self, stream: Any, archive: Path, budget: _Budget) -> None:
        self._stream = stream
        self._archive = archive
        self._budget = budget
        self.last = b""

    def read(self, size: int = -1, /) -> bytes:
        # tarfile reads a long name or a pax header in one go, however long it says that it is.
        if size < 0 or size > _MAX_READ_BYTES:
            raise _unsafe(self._archive, f"it has a header of {size} bytes")
        self.last = self._stream.read(size)
        self._budget.count_bytes(len(self.last))
        return self.last

    def seek(self, offset: int) -> int:
        return int(self._stream.seek(offset))

    def tell(self) -> int:
        return int(self._stream.tell())


def _tar_entries(archive: Path, budget: _Budget) -> Iterator[tuple[str, _Readable | None]]:
    with ExitStack() as stack:
        raw: Any = stack.enter_context(archive.open("rb"))
        if not archive.name.lower().endswith(".tar"):
            raw = stack.enter_context(gzip.GzipFile(fileobj=raw))
        stream = _Metered(raw, archive, budget)
        tar = stack.enter_context(tarfile.TarFile(fileobj=cast("Any", stream)))
        while (member := tar.next()) is not None:
            budget.count_entries(1)
            tar.members.clear()  # type: ignore[attr-defined]  # it would keep all of them in memory
            if member.isdir():
                yield member.name, None
            elif member.isfile() and not member.issparse():
                budget.announce(member.size)
                yield member.name, tar.extractfile(member)
            else:
                raise _unsafe(archive, f"its entry {member.name!r} is a link, a device or a sparse file")
        # A damaged header and a file cut between two entries look like the end to tarfile; the real one is a block of
        # zeros. Read on to the end of the file, where gzip compares its checksum.
        if stream.last != bytes(_TAR_BLOCK):
            raise CorruptFileError(str(archive), "damaged or cut short: it has no end-of-archive mark")
        while stream.read(_CHUNK_BYTES):
            pass


class _ZipStream(io.FileIO):
    """A zip file whose directory, which zipfile reads in one go, is not longer than the allowed entries need."""

    def __init__(self, archive: Path) -> None:
        super().__init__(archive)
        self._archive = archive

    def read(self, size: int | None = -1, /) -> bytes:
        if size is not None and size > _DIRECTORY_BYTES * MAX_ENTRIES:
            raise _too_many_entries(self._archive)
        return super().read(size)


def _zip_entries(archive: Path, budget: _Budget) -> Iterator[tuple[str, _Readable | None]]:
    with _ZipStream(archive) as stream, zipfile.ZipFile(stream) as container:
        budget.count_entries(len(container.infolist()))
        for info in container.infolist():
            # The upper half holds the Unix mode where the archive was made on Unix, else zeros.
            if stat.S_IFMT(info.external_attr >> 16) not in (0, stat.S_IFREG, stat.S_IFDIR):
                raise _unsafe(archive, f"its entry {info.filename!r} is a link or a device")
            if info.flag_bits & 1:
                raise SourceError(f"{archive}: its entry {info.filename!r} is encrypted", hint="unpack it yourself")
            if info.is_dir():
                yield info.filename, None
            else:
                budget.announce(info.file_size)
                with container.open(info) as content:
                    yield info.filename, _Metered(content, archive, budget)


def _too_many_entries(archive: Path) -> UnsafeFileError:
    hint = "if you trust it, unpack it yourself and name the folder"
    return _unsafe(archive, f"it has more than {format_count(MAX_ENTRIES)} entries", hint=hint)


def _unsafe(archive: Path, reason: str, *, hint: str = "get it from a source that you trust") -> UnsafeFileError:
    return UnsafeFileError(f"{archive}: {reason}; nothing of it was kept", hint=hint)
