"""TFRecord framing: payloads one after the other, each with its length and two checksums.

A record is ``uint64 length | uint32 masked CRC of the length | payload | uint32 masked CRC of the payload``, all little
endian; the CRC is CRC-32C (Castagnoli). Compressed files are not read. The format is described under "TFRecords format
details" in https://www.tensorflow.org/tutorials/load_data/tfrecord.
"""

from __future__ import annotations

import itertools
import os
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import google_crc32c

from nodewise.core.errors import CorruptFileError

__all__ = ["MAX_RECORD_BYTES", "frame_record", "read_records", "write_record"]

MAX_RECORD_BYTES = 1 << 30
"""Longest payload that is written or read."""

_HEADER = struct.Struct("<QI")
_FOOTER = struct.Struct("<I")


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
    """Append one record to the stream; returns the bytes written, 16 more than the payload has."""
    frame = frame_record(payload)
    stream.write(frame)
    return len(frame)


def read_records(path: Path) -> Iterator[bytes]:
    """Yield the payloads of a file, one at a time, each checked against its checksum.

    An empty file holds no records. Memory is bounded by the longest record.

    Raises:
        CorruptFileError: The file cannot be read, ends within a record or does not match a checksum. All records before
            the damaged one were yielded; ``record`` counts from 0, ``offset`` is the byte at which the record starts.
    """
    try:
        stream = path.open("rb")
    except OSError as error:
        raise CorruptFileError(str(path), f"cannot be opened: {error.strerror}") from error
    with stream:
        file_bytes = os.fstat(stream.fileno()).st_size
        offset = 0
        for record in itertools.count():
            try:
                payload = _read_payload(stream, file_bytes - offset)
            except (OSError, ValueError) as error:
                raise CorruptFileError(str(path), str(error), record=record, offset=offset) from error
            if payload is None:
                return
            yield payload
            offset += _HEADER.size + len(payload) + _FOOTER.size


def _read_payload(stream: BinaryIO, left_bytes: int) -> bytes | None:
    """The next payload, or None at the end of the file, ``left_bytes`` from here. A ValueError says what is wrong."""
    header = stream.read(_HEADER.size)
    if not header:
        return None
    if len(header) < _HEADER.size:
        raise ValueError("the file ends within the record's length")
    length, length_crc = _HEADER.unpack(header)
    if length_crc != _masked_crc(header[:8]):
        raise ValueError("the record's length does not match its checksum")
    # Before reading: a length that is wrong in spite of its checksum must not make us allocate what it says.
    if length > MAX_RECORD_BYTES:
        raise ValueError(f"the record says that it is {length} bytes long; more than {MAX_RECORD_BYTES} are not read")
    if _HEADER.size + length + _FOOTER.size > left_bytes:
        raise ValueError(f"the file ends within the record, which should have {length} bytes")
    payload = stream.read(length)
    footer = stream.read(_FOOTER.size)
    if len(footer) < _FOOTER.size or _FOOTER.unpack(footer)[0] != _masked_crc(payload):
        raise ValueError("the record's data does not match its checksum")
    return payload


def _masked_crc(data: bytes) -> int:
    # Masked, because the CRC of a string that holds CRCs is weak (TensorFlow, core/lib/hash/crc32c.h).
    crc: int = google_crc32c.value(data)
    return (((crc >> 15) | (crc << 17)) + 0xA282EAD8) & 0xFFFFFFFF
