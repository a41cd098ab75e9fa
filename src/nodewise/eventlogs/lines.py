"""The lines of a log file, each held one at a time, however long the file and whatever is in it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

from nodewise.eventlogs.streams import DamagedError, read_chunks

__all__ = ["MAX_LINE_BYTES", "Line", "read_lines"]

MAX_LINE_BYTES = 32 << 20
"""Longer lines are not held. Parsed, a line may take 25 times its length; the longest that Spark writes are plans of
queries, some megabytes."""


class Line(NamedTuple):
    """A line by its number, from 1. What cannot be read has a ``fault`` and no content."""

    number: int
    content: bytes
    fault: str | None = None


def read_lines(path: Path, advance: Callable[[int], None]) -> Iterator[Line]:
    """The lines of a file without their ends; empty ones are left out.

    A packed file that is cut off or damaged ends with a line that has this as its fault.

    Args:
        advance: Is told how many bytes of the file were read, packed as they are.

    Raises:
        InputError: The file cannot be read, or is packed in a way that is not supported.
    """
    number = 1
    held, held_bytes = bytearray(), 0
    try:
        for chunk in read_chunks(path, advance):
            *ends, rest = chunk.split(b"\n")
            for end in ends:
                if line := _line(number, held, held_bytes, end):
                    yield line
                number += 1
                held, held_bytes = bytearray(), 0
            held_bytes += len(rest)
            if held_bytes > MAX_LINE_BYTES:
                held.clear()
            else:
                held += rest
    except DamagedError as damage:
        yield Line(number, b"", f"the file is damaged or cut off here: {damage}")
        return
    if line := _line(number, held, held_bytes, b""):
        yield line


def _line(number: int, held: bytearray, held_bytes: int, end: bytes) -> Line | None:
    if held_bytes + len(end) > MAX_LINE_BYTES:
        return Line(number, b"", f"longer than {MAX_LINE_BYTES >> 20} MiB")
    content = (bytes(held) + end).strip()
    return Line(number, content) if content else None
