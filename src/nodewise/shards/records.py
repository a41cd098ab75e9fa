"""TFRecord framing: payloads one after the other, each with its length and two checksums.

A record is ``uint64 length | uint32 masked CRC of the length | payload | uint32 masked CRC of the payload``, all little
endian; the CRC is CRC-32C (Castagnoli). Compressed files are not read. The format is described under "TFRecords format
details" in https://www.tensorflow.org/tutorials/load_data/tfrecord.
"""

from __future__ import annotations

import itertools
import os
import struct
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

import google_crc32c

from nodewise.core.errors import CorruptFileError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = [
    "FRAME_EXTRA_BYTES",
    "MAX_RECORD_BYTES",
    "PAYLOAD_START",
    "PAYLOAD_STOP",
    "check_frame",
    "frame_record",
    "locate_frames",
    "read_records",
    "write_record",
]

MAX_RECORD_BYTES = 1 << 30
"""Longest payload that is written or read."""

_HEADER = struct.Struct("<QI")
_FOOTER = struct.Struct("<I")

PAYLOAD_START, PAYLOAD_STOP = _HEADER.size, -_FOOTER.size
"""A frame's payload is ``frame[PAYLOAD_START:PAYLOAD_STOP]``."""

FRAME_EXTRA_BYTES = _HEADER.size + _FOOTER.size
"""What a frame is longer than its payload."""


def frame_record(payload: bytes) -> bytes:
    """The payload with its length and checksums around it, as it stands in the file.

    Raises:
        ValueError: The payload is longer than :data:`MAX_RECORD_BYTES`.
    """
    if len(payload) > MAX_RECORD_BYTES:
        raise ValueError(f"a record of {len(payload)} bytes is longer than the {MAX_RECORD_BYTES} allowed")
    length = struct.pack("<Q", len(payload))
    return b"".join((length, _FOOTER.pack(_masked_crc(length)), payload, _FOOTER.pack(_masked_crc(payload))))


def write_record(stream: BinaryIO, payload: bytes) -> int:
    """Append one record to the stream; returns the bytes written."""
    frame = frame_record(payload)
    stream.write(frame)
    return len(frame)


def check_frame(*parts: bytes | NDArray[np.uint8]) -> None:
    """Compare the checksums of a frame with its bytes.

    Args:
        parts: The frame, in one piece or cut between its header and its footer.

    Raises:
        ValueError: They differ, or the frame has another length than it says.
    """
    size = sum(map(len, parts))
    if size < FRAME_EXTRA_BYTES:
        raise ValueError("the file ends within the record's length")
    length = _checked_length(parts[0])
    if length != size - FRAME_EXTRA_BYTES:
        raise ValueError(f"the record says that it is {length} bytes long, which is not where the next one begins")
    pieces = [parts[0][PAYLOAD_START:], *parts[1:]]
    pieces[-1], footer = pieces[-1][:PAYLOAD_STOP], pieces[-1][PAYLOAD_STOP:]
    _check_payload(pieces, footer)


def read_records(path: Path) -> Iterator[bytes]:
    """Yield the payloads of a file, one at a time, each checked against its checksum.

    An empty file holds no records. Memory is bounded by the longest record.

    Raises:
        CorruptFileError: The file cannot be read, ends within a record or does not match a checksum. All records before
            the damaged one were yielded; ``record`` counts from 0, ``offset`` is the byte at which the record starts.
    """
    for _, _, payload in _walk(path, with_payloads=True):
        yield payload


def locate_frames(path: Path) -> Iterator[tuple[int, int]]:
    """Yield offset and length of each frame, going from length to length; the payloads are not looked at.

    Raises:
        CorruptFileError: As :func:`read_records` does, but for the payloads' checksums.
    """
    for offset, length, _ in _walk(path, with_payloads=False):
        yield offset, length


def _walk(path: Path, *, with_payloads: bool) -> Iterator[tuple[int, int, bytes]]:
    """Yield offset, length and payload of each frame; the payload is empty if it is not asked for."""
    try:
        stream = path.open("rb")
    except OSError as error:
        raise CorruptFileError(str(path), f"cannot be opened: {error.strerror}") from error
    with stream:
        file_bytes = os.fstat(stream.fileno()).st_size
        offset = 0
        for record in itertools.count():
            try:
                header = stream.read(_HEADER.size)
                if not header:
                    return
                length = _length_within(header, file_bytes - offset)
                payload = b""
                if with_payloads:
                    payload = stream.read(length)
                    _check_payload([payload], stream.read(_FOOTER.size))
                else:
                    stream.seek(length + _FOOTER.size, os.SEEK_CUR)
            except (OSError, ValueError) as error:
                raise CorruptFileError(str(path), str(error), record=record, offset=offset) from error
            frame_bytes = FRAME_EXTRA_BYTES + length
            yield offset, frame_bytes, payload
            offset += frame_bytes


def _length_within(header: bytes, left_bytes: int) -> int:
    """The payload's length, if the record fits into what is left of the file. A ValueError says what is wrong."""
    if len(header) < _HEADER.size:
        raise ValueError("the file ends within the record's length")
    length = _checked_length(header)
    # Before reading: a length that is wrong in spite of its checksum must not make us allocate what it says.
    if length > MAX_RECORD_BYTES:
        raise ValueError(f"the record says that it is {length} bytes long; more than {MAX_RECORD_BYTES} are not read")
    if FRAME_EXTRA_BYTES + length > left_bytes:
        raise ValueError(f"the file ends within the record, which should have {length} bytes")
    return length


def _checked_length(frame: bytes | NDArray[np.uint8]) -> int:
    length: int
    length, crc = _HEADER.unpack(bytes(frame[:PAYLOAD_START]))
    if crc != _masked_crc(frame[:8]):
        raise ValueError("the record's length does not match its checksum")
    return length


def _check_payload(pieces: Sequence[bytes | NDArray[np.uint8]], footer: bytes | NDArray[np.uint8]) -> None:
    if len(footer) < _FOOTER.size or _FOOTER.unpack(bytes(footer))[0] != _masked_crc(*pieces):
        raise ValueError("the record's data does not match its checksum")


def _masked_crc(*pieces: bytes | NDArray[np.uint8]) -> int:
    crc: int = 0
    for piece in pieces:
        crc = google_crc32c.extend(crc, piece)
    # Masked, because the CRC of a string that holds CRCs is weak (TensorFlow, core/lib/hash/crc32c.h).
    return (((crc >> 15) | (crc << 17)) + 0xA282EAD8) & 0xFFFFFFFF
