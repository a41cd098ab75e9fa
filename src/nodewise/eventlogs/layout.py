"""Which files an event log consists of, in which order.

A log is a file; or a folder of Spark's rolling logs (``eventlog_v2_<application>`` with ``events_1_...``,
``events_2_...``), where a file that ends in ``.compact`` stands for all files up to its number; or a folder as
Databricks delivers it (``eventlog-2021-06-15--15-00.gz`` ... and, the newest, ``eventlog``), which lies two folders
below the cluster's own.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from nodewise.core.errors import InputError
from nodewise.core.files import resolve_inside
from nodewise.eventlogs.streams import DamagedError, read_chunks

__all__ = ["EventLog", "find_log"]

MAX_DEPTH = 4
MAX_LOOKS = 1000
"""Files and folders to look into before giving up the search for a log."""
NAMED = 4
"""Logs that an error names."""

_ROLLING = re.compile(r"events_(\d{1,9})_.*?(\.compact)?")
_DATABRICKS = re.compile(r"eventlog(-\d{4}-\d{2}-\d{2}--\d{2}-\d{2}.*)?")


@dataclass(frozen=True, slots=True)
class EventLog:
    """A log that was found.

    Attributes:
        path: The file, or the folder that holds the parts.
        parts: The files to read, in order.
        is_compacted: Whether Spark has dropped events of finished jobs from it.
    """

    path: Path
    parts: tuple[Path, ...]
    is_compacted: bool = False


def find_log(path: Path) -> EventLog:
    """The log at ``path``: a file, the folder of one log, or a folder below which one log lies.

    Links inside a folder that lead out of it are passed over.

    Raises:
        InputError: There is no such path, no log below it, or more than one; the hint names some.
    """
    try:
        if path.is_file():
            return EventLog(path, (path,))
        if not path.is_dir():
            what = "is neither a file nor a folder" if path.exists() else "does not exist"
            raise InputError(f"{path} {what}", hint="give a Spark event log, or the folder of a rolling one")
        logs = list(_Search(path).logs_in(path, MAX_DEPTH))
    except OSError as error:
        raise InputError(f"{error.filename} cannot be read: {error.strerror}") from None
    if not logs:
        raise InputError(f"there is no Spark event log in {path}", hint="give the log's file or its folder")
    if len(logs) > 1:
        names = ", ".join(str(log.path) for log in logs[:NAMED]) + (", ..." if len(logs) > NAMED else "")
        raise InputError(f"{path} holds {len(logs)} event logs", hint=f"import them one by one: {names}")
    return logs[0]


class _Search:
    """Looks for logs below ``root``, a bounded number of times."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._looks_left = MAX_LOOKS

    def logs_in(self, folder: Path, depth: int) -> Iterator[EventLog]:
        entries = [path for path in sorted(folder.iterdir()) if not path.name.startswith(".")]
        inside = [path for path in entries if resolve_inside(self._root, str(path.relative_to(self._root)))]
        files = [path for path in inside if path.is_file()]
        whole = _rolling(folder, files) or _databricks(folder, files)
        if whole is not None:
            yield whole
            return
        # Not into folders that are links: they could lead in a circle.
        folders = [path for path in inside if path.is_dir() and not path.is_symlink()] if depth else []
        for file in files:
            if self._may_look() and _begins_like_a_log(file):
                yield EventLog(file, (file,))
        for below in folders:
            if self._may_look():
                yield from self.logs_in(below, depth - 1)

    def _may_look(self) -> bool:
        self._looks_left -= 1
        return self._looks_left >= 0


def _rolling(folder: Path, files: list[Path]) -> EventLog | None:
    """Spark's own layout; as Spark does, nothing before the last compacted file is read."""
    named = ((_ROLLING.fullmatch(file.name), file) for file in files)
    parts = sorted((int(match[1]), match[2] is not None, file) for match, file in named if match)
    if not parts:
        return None
    first = max((place for place, (_, is_compact, _) in enumerate(parts) if is_compact), default=0)
    return EventLog(folder, tuple(file for _, _, file in parts[first:]), is_compacted=parts[first][1])


def _databricks(folder: Path, files: list[Path]) -> EventLog | None:
    """Databricks' layout: dated files, which sort by name, then the one that was being written."""
    parts = [file for file in files if _DATABRICKS.fullmatch(file.name)]
    if not parts:
        return None
    parts.sort(key=lambda file: (file.name == "eventlog", file.name))
    return EventLog(folder, tuple(parts))


def _begins_like_a_log(file: Path) -> bool:
    try:
        return next(read_chunks(file), b"").lstrip().startswith(b'{"Event":')
    except DamagedError:
        return False
    except InputError:
        return True  # why it cannot be read is better said than passed over
