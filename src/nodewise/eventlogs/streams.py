"""The bytes of a log file, unpacked: plain, gzip, zstd, LZ4 (both of its formats) and Snappy, told by how they begin.

``spark.eventLog.compress`` packs with ``spark.eventLog.compression.codec``: zstd (the default since Spark 3.0), lz4,
snappy or lzf. Spark's lz4 and snappy are formats of the Java libraries, a row of blocks with headers of their own.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO

from nodewise.core.errors import InputError

__all__ = ["DamagedError", "read_chunks"]

CHUNK_BYTES = 1 << 18
MAX_BLOCK_BYTES = 1 << 22
"""Longest block of the block formats once unpacked; Spark writes 32 KiB unless told otherwise."""

_STANDARD = {b"\x28\xb5\x2f\xfd": "zstd", b"\x1f\x8b": "gzip", b"\x04\x22\x4d\x18": "lz4"}
_LZ4_MAGIC = b"LZ4Block"
_LZ4_HEADER = struct.Struct("<8sBiii")  # magic, method and level, packed bytes, plain bytes, checksum
_LZ4_STORED = 0x10
_LZ4_FRAME_BEGIN = b"\x04\x22\x4d\x18\x60\x70\x73"  # independent blocks of up to 4 MiB, no checksums
_LZ4_FRAME_END = bytes(4)
_LZ4_FRAME_STORED = 0x8000_0000
_SNAPPY_MAGIC = b"\x82SNAPPY\x00"
_SNAPPY_VERSIONS_BYTES = 8


class DamagedError(Exception):
    """The rest of a packed file cannot be unpacked; all that came before it was handed on."""


def read_chunks(path: Path, advance: Callable[[int], None] = lambda _: None) -> Iterator[bytes]:
    """The unpacked bytes of a file, in pieces of at most :data:`MAX_BLOCK_BYTES`; files joined end to end are one.

    Args:
        advance: Is told how many bytes of the file itself were read since the last call.

    Raises:
        InputError: The file cannot be read, or is packed in a way that is not supported.
        DamagedError: From the iterator, after the last byte that can be had: cut off or damaged.
    """
    try:
        with path.open("rb") as file:
            told = 0
            for chunk in _unpacked(file, path):
                yield chunk
                # After damage the file is read once more from its beginning.
                advance(max(0, file.tell() - told))
                told = max(told, file.tell())
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror or error}") from None


def _unpacked(file: BinaryIO, path: Path) -> Iterator[bytes]:
    begin = file.read(8)
    file.seek(0)
    for magic, codec in _STANDARD.items():
        if begin.startswith(magic):
            return _through_arrow(_Source(file), codec)
    if begin == _LZ4_MAGIC:
        return _through_arrow(_Lz4Frames(file), "lz4")
    if begin == _SNAPPY_MAGIC:
        return _snappy_blocks(file)
    if begin.startswith(b"ZV"):
        hint = "unpack it where it was made, or let Spark write spark.eventLog.compression.codec=zstd"
        raise InputError(f"{path} is packed with LZF, which nodewise does not read", hint=hint)
    return iter(lambda: file.read(CHUNK_BYTES), b"")


class _Source:
    """A file that arrow reads and does not close."""

    closed = False

    def __init__(self, file: BinaryIO) -> None:
        self._file = file

    def read(self, size: int) -> bytes:
        return self._file.read(size)

    def rewind(self) -> None:
        self._file.seek(0)

    def close(self) -> None: ...


def _through_arrow(packed: _Source, codec: str) -> Iterator[bytes]:
    import pyarrow as pa

    handed_on = 0
    stream = pa.CompressedInputStream(pa.PythonFile(packed, mode="r"), codec)
    try:
        while chunk := stream.read(CHUNK_BYTES):
            yield chunk
            handed_on += len(chunk)
    except OSError as error:
        if error.errno is not None:
            raise
        reason = str(error)
    else:
        return
    # Of a read that meets the damage arrow hands on nothing: go there again, byte by byte.
    packed.rewind()
    stream = pa.CompressedInputStream(pa.PythonFile(packed, mode="r"), codec)
    rest = bytearray()
    try:
        while handed_on and (known := stream.read(min(handed_on, CHUNK_BYTES))):
            handed_on -= len(known)
        while byte := stream.read(1):
            rest += byte
    except OSError as error:
        if error.errno is not None:
            raise
    yield bytes(rest)
    raise DamagedError(reason)


class _Lz4Frames(_Source):
    """The blocks of Java's ``LZ4BlockOutputStream`` as one standard LZ4 frame, for a decoder that checks lengths.

    Such a stream may be followed by others. The blocks' own checksums are not compared.
    """

    def __init__(self, file: BinaryIO) -> None:
        super().__init__(file)
        self._ready = _LZ4_FRAME_BEGIN
        self._is_over = False

    def read(self, size: int) -> bytes:
        while len(self._ready) < size and not self._is_over:
            self._ready += self._next_block()
        given, self._ready = self._ready[:size], self._ready[size:]
        return given

    def rewind(self) -> None:
        super().rewind()
        self._ready, self._is_over = _LZ4_FRAME_BEGIN, False

    def _next_block(self) -> bytes:
        header = self._file.read(_LZ4_HEADER.size)
        if not header:
            self._is_over = True
            return _LZ4_FRAME_END
        if len(header) == _LZ4_HEADER.size:
            magic, token, packed_bytes, plain_bytes, _ = _LZ4_HEADER.unpack(header)
            is_stored = token & 0xF0 == _LZ4_STORED
            if magic == _LZ4_MAGIC and plain_bytes == 0:
                return b""  # the end of one stream
            if magic == _LZ4_MAGIC and 0 < packed_bytes <= MAX_BLOCK_BYTES:
                packed = self._file.read(packed_bytes)
                if len(packed) == packed_bytes:
                    return struct.pack("<I", packed_bytes | (_LZ4_FRAME_STORED if is_stored else 0)) + packed
        # Damaged or cut off. Without the frame's end the decoder says so.
        self._is_over = True
        return b""


def _snappy_blocks(file: BinaryIO) -> Iterator[bytes]:
    """The blocks of Java's ``SnappyOutputStream``; its header may stand again between them."""
    import pyarrow as pa

    while length := file.read(4):
        if length == _SNAPPY_MAGIC[:4]:
            file.read(len(_SNAPPY_MAGIC) - 4 + _SNAPPY_VERSIONS_BYTES)
            continue
        packed_bytes = int.from_bytes(length)
        if len(length) < 4 or packed_bytes > MAX_BLOCK_BYTES:
            raise DamagedError("damaged, or cut off between two blocks")
        packed = file.read(packed_bytes)
        plain_bytes = _varint(packed[:5])
        if len(packed) < packed_bytes or plain_bytes > MAX_BLOCK_BYTES:
            raise DamagedError("damaged, or cut off within a block")
        try:
            yield pa.decompress(packed, plain_bytes, codec="snappy", asbytes=True)
        except OSError as error:
            raise DamagedError(str(error)) from None


def _varint(encoded: bytes) -> int:
    """Seven bits a byte, the lowest first: the length that a Snappy block begins with."""
    value = 0
    for place, byte in enumerate(encoded):
        value |= (byte & 0x7F) << (7 * place)
        if byte < 0x80:
            break
    return value
