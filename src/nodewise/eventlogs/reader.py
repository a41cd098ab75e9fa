"""Reads a log from its first line to its last; one line is in memory at a time."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import replace
from pathlib import Path

from nodewise.core.errors import InputError
from nodewise.core.progress import SILENT, Progress
from nodewise.eventlogs.application import Application, TaskAttempt
from nodewise.eventlogs.events import parse_event
from nodewise.eventlogs.layout import EventLog, find_log
from nodewise.eventlogs.lines import Line, read_lines
from nodewise.eventlogs.tally import Tally
from nodewise.specs.results import UnreadableLine

__all__ = ["LogReader", "read_application"]

UNREADABLE_KEPT = 10
MAX_LINES_WITHOUT_EVENT = 1000
"""After so many lines without one event of Spark, a file is taken for something else."""

_PROGRESS_BYTES = 1 << 20
_PREFIXES = ("SparkListener", "org.apache.spark.", "DBCEventLoggingListener")


def read_application(path: Path, progress: Progress = SILENT) -> Application:
    """The application whose log lies at ``path``, with all its tasks in memory.

    Args:
        path: A file or a folder, as :func:`~nodewise.eventlogs.layout.find_log` takes it.

    Raises:
        InputError: There is no event log there, or it is packed in a way that is not supported.
    """
    reader = LogReader(find_log(path), progress)
    tasks = tuple(reader.tasks())
    return replace(reader.application(), tasks=tasks)


class LogReader:
    """Reads one log once: go through :meth:`tasks`, then ask for :meth:`application`.

    Lines that cannot be read are counted and passed over. So are events of other kinds, without being counted.
    """

    def __init__(self, log: EventLog, progress: Progress = SILENT) -> None:
        self._log = log
        self._progress = progress
        self._tally = Tally()
        self._unreadable_lines = 0
        self._unreadable: list[UnreadableLine] = []
        self._has_events = False
        self._bytes_read = 0

    @property
    def app_id(self) -> tuple[str, str | None] | None:
        """Id and attempt of the application, known before the first task; None where the log lacks its beginning."""
        return None if self._tally.app_id is None else (self._tally.app_id, self._tally.attempt_id)

    def tasks(self) -> Generator[TaskAttempt]:
        """Every end of a task, in the order of the log.

        Raises:
            InputError: The file cannot be read, is packed in a way that is not supported, or is no event log.
        """
        total = sum(part.stat().st_size for part in self._log.parts)
        self._progress.stage(f"read {self._log.path.name}", -(-total // _PROGRESS_BYTES))
        for part in self._log.parts:
            for line in read_lines(part, self._advance):
                task = self._take(part, line)
                if task is not None:
                    yield task
                if not self._has_events and self._unreadable_lines >= MAX_LINES_WITHOUT_EVENT:
                    raise self._no_log()
        if not self._has_events:
            raise self._no_log()
        self._progress.done()

    def application(self) -> Application:
        """What the log came to, once :meth:`tasks` was gone through; without the tasks."""
        return self._tally.freeze(
            is_compacted=self._log.is_compacted,
            unreadable_lines=self._unreadable_lines,
            unreadable=self._unreadable,
        )

    def stage_label(self, task: TaskAttempt) -> str:
        """The label of the stage of a task that was handed on."""
        return self._tally.stage_label(task)

    def _take(self, part: Path, line: Line) -> TaskAttempt | None:
        fault = line.fault
        if fault is None:
            try:
                event = parse_event(line.content)
                task = self._tally.take(event)
            except ValueError as error:
                fault = str(error)
            else:
                self._has_events = self._has_events or event["Event"].startswith(_PREFIXES)
                return task
        self._unreadable_lines += 1
        if len(self._unreadable) < UNREADABLE_KEPT:
            self._unreadable.append(UnreadableLine(file=part.name, line=line.number, reason=fault))
        return None

    def _advance(self, read_bytes: int) -> None:
        before, self._bytes_read = self._bytes_read, self._bytes_read + read_bytes
        steps = self._bytes_read // _PROGRESS_BYTES - before // _PROGRESS_BYTES
        if steps:
            self._progress.advance(steps, "MiB")

    def _no_log(self) -> InputError:
        return InputError(
            f"{self._log.path} is no Spark event log",
            hint="a log has one JSON object per line, with a key Event; Spark writes it with spark.eventLog.enabled",
        )
