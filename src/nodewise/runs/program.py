"""A user's program as a process: started under its keeper, its output passed on and kept, ended with this process."""

from __future__ import annotations

import codecs
import io
import json
import os
import select
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, BinaryIO, TextIO

from nodewise.core.errors import NodewiseError
from nodewise.core.files import disk_full_named
from nodewise.core.secrets import RedactingWriter, secret_values
from nodewise.jobs import keeper

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer as Buffer

__all__ = ["Output", "ProgramEnd", "RunningProgram", "bytes_of", "running"]

TICK_S = 0.1
END_TIMEOUT_S = keeper.GRACE_S + 5.0
SIGNALLED = 128
_CHUNK_BYTES = 65536


@dataclass(frozen=True, slots=True, kw_only=True)
class Output:
    """Where the output of a program goes: to streams as it is, to files without its secrets."""

    stdout: BinaryIO
    stderr: BinaryIO
    stdout_path: Path
    stderr_path: Path


@dataclass(frozen=True, slots=True, kw_only=True)
class ProgramEnd:
    """How a program ended, and what it and all that it started has used.

    Attributes:
        exit_status: As a shell has it: 128 and the signal's number for one that a signal ended.
        peak_memory_bytes: Of its largest process.
    """

    exit_status: int
    wall_s: float
    cpu_s: float
    peak_memory_bytes: int


class RunningProgram:
    """A program that was started; made by :func:`running`."""

    def __init__(self, command: Sequence[str], environment: Mapping[str, str], folder: Path, output: Output) -> None:
        self._connection, theirs = socket.socketpair()
        # Not -m: the program's environment need not lead to nodewise.
        arguments = [sys.executable, "-P", keeper.__file__, str(theirs.fileno()), *command]
        with theirs:
            self._keeper = subprocess.Popen(
                arguments,
                # A terminal is not for a program in a session of its own.
                stdin=subprocess.DEVNULL if _is_terminal(sys.stdin) else None,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                env=dict(environment),
                cwd=folder,
                pass_fds=[theirs.fileno()],
                start_new_session=True,
            )
        known = secret_values(environment)
        self._pumps = [
            _Pump(self._keeper.stdout, output.stdout, output.stdout_path, known),
            _Pump(self._keeper.stderr, output.stderr, output.stderr_path, known),
        ]

    def wait(self, tick: Callable[[], None]) -> ProgramEnd:
        """Wait for its end, and until its output was passed on.

        Args:
            tick: Is called about ten times a second, from this thread.

        Raises:
            OSError: Its output could not be passed on; the program was ended.
            NodewiseError: Its keeper was killed, and it with that.
        """
        answer = b""
        while True:
            tick()
            for pump in self._pumps:
                pump.check()
            if not select.select([self._connection], [], [], TICK_S)[0]:
                continue
            more = self._connection.recv(_CHUNK_BYTES)
            answer += more
            if not more or answer.endswith(b"\n"):
                break
        for pump in self._pumps:
            pump.join()
            pump.check()
        if not answer:
            raise NodewiseError("the process that looks after the program was killed", hint="run it again")
        end = ProgramEnd(**json.loads(answer))
        if end.exit_status >= 0:
            return end
        return ProgramEnd(
            exit_status=SIGNALLED - end.exit_status,
            wall_s=end.wall_s,
            cpu_s=end.cpu_s,
            peak_memory_bytes=end.peak_memory_bytes,
        )

    def close(self) -> None:
        """End what is left of it; returns when nothing is."""
        self._connection.close()
        try:
            self._keeper.wait(END_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self._keeper.kill()
            self._keeper.wait()
        for pump in self._pumps:
            pump.join()


@contextmanager
def running(
    command: Sequence[str], environment: Mapping[str, str], folder: Path, output: Output
) -> Iterator[RunningProgram]:
    """Start a program in a folder; when the block ends nothing of it is left, nor when this process is killed.

    Its standard input is this process's, unless that is a terminal.
    """
    program = RunningProgram(command, environment, folder, output)
    try:
        yield program
    finally:
        program.close()


def bytes_of(stream: TextIO) -> BinaryIO:
    """A stream that takes bytes and goes where this one goes, also where that is a notebook's and takes text alone."""
    return getattr(stream, "buffer", None) or _TextOnly(stream)


class _TextOnly(io.BytesIO):
    def __init__(self, stream: TextIO) -> None:
        super().__init__()
        self._stream = stream
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")

    def write(self, data: Buffer) -> int:
        return self._stream.write(self._decoder.decode(data))

    def flush(self) -> None:
        self._stream.flush()


class _Pump(threading.Thread):
    """Passes one stream of output on and keeps it. What goes wrong is for :meth:`check` to tell; it reads on."""

    def __init__(self, source: IO[bytes] | None, terminal: BinaryIO, path: Path, known: Collection[str]) -> None:
        super().__init__(name="pass-output", daemon=True)
        if source is None:
            raise ValueError("the program has no pipe")
        self._source = source
        self._terminal = terminal
        self._path = path
        self._known = known
        self._failure: OSError | None = None
        self.start()

    def check(self) -> None:
        """Raise what went wrong."""
        if self._failure is not None:
            with disk_full_named(self._path):
                raise self._failure

    def run(self) -> None:
        with self._source:
            try:
                self._pass_on()
            except OSError as error:
                self._failure = error
                # Or the program would wait for a reader until it is ended.
                with suppress(OSError):
                    while os.read(self._source.fileno(), _CHUNK_BYTES):
                        pass

    def _pass_on(self) -> None:
        with self._path.open("wb") as log:
            kept = RedactingWriter(log, known=self._known)
            while chunk := os.read(self._source.fileno(), _CHUNK_BYTES):
                # What was seen has been kept, also if this process is killed the next moment.
                kept.write(chunk)
                self._terminal.write(chunk)
                self._terminal.flush()
            kept.close()


def _is_terminal(stream: object) -> bool:
    try:
        return os.isatty(stream.fileno())  # type: ignore[attr-defined]
    except (AttributeError, OSError, ValueError):
        return True
