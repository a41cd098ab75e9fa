"""Readers on the bench: each in a process of its own, opened once for every source, measured again and again."""

from __future__ import annotations

import time
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

from nodewise.core.errors import NodewiseError
from nodewise.jobs.apart import Apart, ProcessEndedError
from nodewise.readers.base import Reader, ReaderFaultError, ReaderOptions, ReadSource
from nodewise.readers.registry import READERS

if TYPE_CHECKING:
    from nodewise.jobs.measure import Measured
    from nodewise.readers.sources import RecordPlaces

__all__ = ["Bench", "Benches", "benches_of"]

CELL_TIMEOUT_S = 900.0


@dataclass(frozen=True, slots=True)
class _Opened:
    reader: Reader
    start_seconds: float


class Bench:
    """Imports a reader's library and measures it at one source after the other; lives in the reader's process.

    Before a source is measured for the first time the reader reads a little of it, which is not counted: threads are
    started and functions compiled then.

    Raises:
        ReaderFaultError: From any method: the reader or its library raised something.
        NodewiseError: The data is damaged, or its page cache cannot be dropped.
    """

    def __init__(self, name: str, options: ReaderOptions) -> None:
        self._options = options
        began = time.perf_counter()
        try:
            self._make = READERS[name].load()
        except Exception as error:
            raise _fault(error) from None
        self._imports_s = time.perf_counter() - began
        self._places: dict[ReadSource, RecordPlaces] = {}
        self._opened: dict[ReadSource, _Opened] = {}

    def imports_s(self) -> float:
        """Seconds that importing the library took."""
        return self._imports_s

    def measure(self, source: ReadSource, batch_size: int, batch_count: int, cold: bool) -> tuple[Measured, float]:
        """Read so many batches; also the seconds that opening the reader took.

        With ``cold`` the source's files are dropped from the page cache before the reader is opened anew, and it is
        closed afterwards: pages that it has mapped could not be dropped.
        """
        # After the reader's library, whose own imports they would take away from it.
        from nodewise.data.pagecache import drop
        from nodewise.jobs.measure import measure, warm_up
        from nodewise.readers.sources import RecordPlaces

        try:
            if source not in self._places:
                self._places[source] = RecordPlaces(source)
                warm_up(self._open(source).reader, source, self._places[source], batch_size)
            if cold:
                self._close(source)
                drop(source.paths)
            opened = self._open(source)
            measured = measure(opened.reader, source, self._places[source], batch_size, batch_count)
            if cold:
                self._close(source)
        except NodewiseError:
            raise
        except Exception as error:
            raise _fault(error) from None
        return measured, opened.start_seconds

    def _open(self, source: ReadSource) -> _Opened:
        if source not in self._opened:
            began = time.perf_counter()
            reader = self._make(source, self._options)
            self._opened[source] = _Opened(reader, time.perf_counter() - began)
        return self._opened[source]

    def _close(self, source: ReadSource) -> None:
        if (opened := self._opened.pop(source, None)) is not None:
            opened.reader.close()


class Benches:
    """The benches of one worker by reader; they are begun when they are needed and end with the worker.

    Attributes:
        imports_s: Seconds that importing a reader's library took, by reader.
    """

    def __init__(self, options: ReaderOptions) -> None:
        self.imports_s: dict[str, float] = {}
        self._options = options
        self._benches: dict[str, Apart] = {}
        self._faults: dict[tuple[str, ReadSource], ReaderFaultError] = {}

    def measure(
        self, reader: str, source: ReadSource, batch_size: int, batch_count: int, *, cold: bool
    ) -> tuple[Measured, float]:
        """As :meth:`Bench.measure`. A reader that failed at a source is not asked to read it again.

        Raises:
            ReaderFaultError: It failed, now or before; or its process died, or was ended because it did not answer.
            NodewiseError: The data is damaged, or its page cache cannot be dropped.
        """
        fault = self._faults.get((reader, source))
        if fault is None:
            try:
                bench = self._bench(reader)
                measured: tuple[Measured, float] = bench.call("measure", source, batch_size, batch_count, cold)
                return measured
            except ReaderFaultError as error:
                fault = error
            except ProcessEndedError as error:
                del self._benches[reader]
                fault = ReaderFaultError(str(error))
            self._faults[reader, source] = fault
        raise fault

    def close(self) -> None:
        """End all processes."""
        for bench in self._benches.values():
            bench.close()
        self._benches.clear()

    def _bench(self, reader: str) -> Apart:
        if reader not in self._benches:
            self._benches[reader] = Apart(Bench, reader, self._options, timeout_s=CELL_TIMEOUT_S)
            self.imports_s[reader] = self._benches[reader].call("imports_s")
        return self._benches[reader]


@cache
def benches_of(options: ReaderOptions) -> Benches:
    """The benches that all tasks of this worker share."""
    return Benches(options)


def _fault(error: Exception) -> ReaderFaultError:
    """The error in one line; of one that holds another's traceback the last line tells why."""
    lines = str(error).strip().splitlines()
    reason = " ... ".join(lines[:: max(1, len(lines) - 1)])
    return ReaderFaultError(f"{type(error).__name__}: {reason[:300]}" if reason else type(error).__name__)
