"""Labelled images in tar files, as WebDataset reads them: ``<key>.jpg`` and ``<key>.cls`` side by side.

Files of one record follow one another and share the name up to the first dot. The image's suffix says what it is: jpg,
png, webp, or npy for raw pixels (uint8, height x width x 3); ``cls`` holds the class number in decimal digits. Other
files of a record are passed over. The headers are those of POSIX (ustar); what follows is padded to 512 bytes, and two
blocks of zeros end the file. A tar has checksums of its headers alone: a flipped bit in an image is found, if at all,
when the image is decoded.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from nodewise.core.errors import CorruptFileError
from nodewise.shards.examples import Example, ExampleError, ImageSpan

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = [
    "TAR_END",
    "decode_tar_record",
    "encode_tar_record",
    "find_tar_image",
    "locate_tar_records",
    "read_tar_records",
]

TAR_END = bytes(1024)
"""What ends a tar file."""

_BLOCK = 512
_MAX_FILE_BYTES = 8**11 - 1
_MAX_NAME_BYTES = 100
_MAX_PAX_BYTES = 1 << 20
_IMAGE_SUFFIXES = ("jpg", "jpeg", "png", "webp", "npy")
_MAGIC = ((b"\xff\xd8", b"jpg"), (b"\x89PNG", b"png"), (b"RIFF", b"webp"))

# Owner, group and time are 0 and names are absent, so that the same records give the same bytes.
_BEFORE_SIZE = b"0000644\0" + b"0000000\0" * 2
_AFTER_SIZE = b"00000000000\0"
_AFTER_CHECKSUM = b"0" + bytes(100) + b"ustar\x0000" + bytes(247)
_FIXED_SUM = sum(_BEFORE_SIZE + _AFTER_SIZE + _AFTER_CHECKSUM) + 8 * ord(" ")

_NPY_MAGIC = b"\x93NUMPY\x01\x00"
_NPY_HEAD = re.compile(
    rb"\x93NUMPY\x01\x00..\{'descr': '\|u1', 'fortran_order': False, 'shape': \((\d{1,9}), (\d{1,9}), 3\), \} *\n",
    re.DOTALL,
)


class _Member(NamedTuple):
    """A file in a tar: ``start`` of its (first) header, ``data`` of its bytes, ``stop`` of the padded whole."""

    name: str
    start: int
    data: int
    size: int
    stop: int

    @property
    def key(self) -> str:
        """The name up to the first dot of its last part."""
        folder, slash, name = self.name.rpartition("/")
        return folder + slash + name.partition(".")[0]

    @property
    def suffix(self) -> str:
        return self.name.rpartition("/")[2].partition(".")[2].lower()


class _TarError(ValueError):
    """What is wrong with a tar, and the byte of its header."""

    def __init__(self, reason: str, offset: int) -> None:
        super().__init__(reason)
        self.offset = offset


def encode_tar_record(example: Example) -> bytes:
    """The two files of a record, as they stand in a tar: the image and the class number.

    Raises:
        ExampleError: The image is neither JPEG, PNG nor WebP and has no shape, has not as many bytes as its shape says,
            or the key is empty, longer than 95 bytes, or has a dot in it.
    """
    key = example.key.encode()
    if example.shape is not None:
        height, width, channels = example.shape
        if channels != 3 or height * width * 3 != len(example.image):
            raise ExampleError(f"{len(example.image)} bytes of pixels are no image of shape {example.shape}")
        suffix, head = b"npy", _npy_head(height, width)
    else:
        found = next((suffix for magic, suffix in _MAGIC if example.image.startswith(magic)), None)
        if found is None:
            raise ExampleError("the image is neither JPEG, PNG nor WebP")
        suffix, head = found, b""
    if not key or b"." in key or len(key) + 5 > _MAX_NAME_BYTES:
        raise ExampleError(f"{example.key!r} cannot name a file in a tar")
    label = b"%d" % example.label
    size = len(head) + len(example.image)
    return b"".join(
        (
            _header(b"%b.%b" % (key, suffix), size),
            head,
            example.image,
            bytes(-size % _BLOCK),
            _header(b"%b.cls" % key, len(label)),
            label,
            bytes(-len(label) % _BLOCK),
        )
    )


def read_tar_records(path: Path) -> Iterator[bytes]:
    """Yield the records of a file, one at a time: the files of one key, with their headers, as they stand there.

    Raises:
        CorruptFileError: The file cannot be read, ends too early, or has a header that is damaged or of anything but a
            regular file. The records before were yielded; ``record`` counts them, ``offset`` is that of the header.
    """
    for _, _, record in _walk(path, with_data=True):
        yield record


def locate_tar_records(path: Path) -> Iterator[tuple[int, int]]:
    """Yield offset and length of each record, from the headers alone.

    Raises:
        CorruptFileError: As :func:`read_tar_records` does.
    """
    for offset, length, _ in _walk(path, with_data=False):
        yield offset, length


def _walk(path: Path, *, with_data: bool) -> Iterator[tuple[int, int, bytes]]:
    """Yield offset, length and bytes of each record; the bytes are empty if they are not asked for."""
    try:
        stream = path.open("rb", buffering=0)
    except OSError as error:
        raise CorruptFileError(str(path), f"cannot be opened: {error.strerror}") from error
    with stream:
        number = 0
        try:
            for start, stop in _runs(lambda offset, size: os.pread(stream.fileno(), size, offset)):
                yield start, stop - start, os.pread(stream.fileno(), stop - start, start) if with_data else b""
                number += 1
        except _TarError as error:
            raise CorruptFileError(str(path), str(error), record=number, offset=error.offset) from error
        except OSError as error:
            raise CorruptFileError(str(path), f"cannot be read: {error.strerror}", record=number) from error


def _runs(read: Callable[[int, int], bytes]) -> Iterator[tuple[int, int]]:
    """Yield start and stop of the files that have one key."""
    key, start, stop = None, 0, 0
    try:
        for member in _members(read):
            if member.key != key and key is not None:
                yield start, stop
                start = member.start
            key, stop = member.key, member.stop
    except (OSError, _TarError):
        # The damage may lie behind a record that is whole.
        if key is not None:
            yield start, stop
        raise
    if key is not None:
        yield start, stop


def find_tar_image(record: bytes | NDArray[np.uint8]) -> ImageSpan:
    """Where the image of a record stands in its bytes, which are those that :func:`locate_tar_records` names.

    Raises:
        ExampleError: There is not exactly one image and one class number, or one of them is malformed.
    """
    return _find(record)[0]


def decode_tar_record(record: bytes) -> Example:
    """Read a record back, from the bytes that :func:`locate_tar_records` names.

    Raises:
        ExampleError: As :func:`find_tar_image` does.
    """
    span, key = _find(record)
    return Example(record[span.start : span.stop], span.label, span.shape, key)


def _find(record: bytes | NDArray[np.uint8]) -> tuple[ImageSpan, str]:
    image = label = None
    try:
        members = list(_members(lambda offset, size: bytes(record[offset : offset + size]), stop=len(record)))
    except _TarError as error:
        raise ExampleError(str(error)) from error
    for member in members:
        if member.suffix in _IMAGE_SUFFIXES:
            if image is not None:
                raise ExampleError(f"{member.name!r} is a second image of its record")
            image = member
        elif member.suffix == "cls":
            label = _label(member, bytes(record[member.data : member.data + member.size]))
    name = members[0].name if members else ""
    if image is None:
        raise ExampleError(f"there is no image beside {name!r}")
    if label is None:
        raise ExampleError(f"there is no class number (.cls) beside {name!r}")
    start, stop, shape = image.data, image.data + image.size, None
    if image.suffix == "npy":
        head = _NPY_HEAD.match(bytes(record[start : min(stop, start + _BLOCK)]))
        if head is None:
            raise ExampleError(f"{image.name!r} is no array of bytes of shape (height, width, 3)")
        shape = (int(head[1]), int(head[2]), 3)
        start += head.end()
        if shape[0] * shape[1] * 3 != stop - start or start == stop:
            raise ExampleError(f"{image.name!r} has not as many bytes as its shape says")
    return ImageSpan(start, stop, label, shape), image.key


def _label(member: _Member, text: bytes) -> int:
    if not re.fullmatch(rb"\s*-?\d{1,19}\s*", text):
        raise ExampleError(f"{member.name!r} holds no class number: {text[:20]!r}")
    return int(text)


def _members(read: Callable[[int, int], bytes], *, stop: int | None = None) -> Iterator[_Member]:
    """Yield the regular files, from their headers alone, up to the end mark or to ``stop``."""
    offset = start = 0
    long_name = None
    while offset != stop:
        header = read(offset, _BLOCK)
        if len(header) == _BLOCK and not header.strip(b"\0") and stop is None and long_name is None:
            if read(offset + _BLOCK, _BLOCK) == bytes(_BLOCK):
                return
            raise _TarError("the file ends within the end-of-archive mark", offset)
        name, size, kind = _parse_header(header, offset)
        data = offset + _BLOCK
        offset = data + size + -size % _BLOCK
        if kind == b"x" and size <= _MAX_PAX_BYTES:
            # An extended header: how tarfile keeps fractions of seconds, and names of more than 100 bytes.
            long_name = _pax_name(read(data, size), start)
            continue
        if kind not in (b"0", b"\0"):
            raise _TarError(f"{name!r} is no regular file (type {kind.decode('latin-1')!r})", start)
        # The last byte of a file of that length has to be there.
        if size and len(read(data + size - 1, 1)) < 1:
            raise _TarError(f"the file ends within {name!r}, which should have {size} bytes", start)
        yield _Member(long_name or name, start, data, size, offset)
        start, long_name = offset, None


def _parse_header(header: bytes, offset: int) -> tuple[str, int, bytes]:
    """Name, size and type of a file. A _TarError says what is wrong."""
    if len(header) < _BLOCK:
        raise _TarError("the file ends without an end-of-archive mark", offset)
    try:
        checksum = int(header[148:156].strip(b"\0 "), 8)
        size = int(header[124:136].strip(b"\0 ") or b"0", 8)
        name = header[:100].partition(b"\0")[0].decode()
        if header[257:263] == b"ustar\0" and (folder := header[345:500].partition(b"\0")[0]):
            name = f"{folder.decode()}/{name}"
    except ValueError as error:
        raise _TarError("the file's header is damaged", offset) from error
    if checksum != sum(header[:148]) + 8 * ord(" ") + sum(header[156:]) or size < 0:
        raise _TarError("the header does not match its checksum", offset)
    return name, size, header[156:157]


def _pax_name(records: bytes, offset: int) -> str | None:
    """The name in an extended header, whose records are lines of ``length key=value``."""
    try:
        names = [
            line.partition("=")[2] for line in records.decode().split("\n") if line.partition(" ")[2][:5] == "path="
        ]
    except UnicodeDecodeError as error:
        raise _TarError("an extended header is not UTF-8", offset) from error
    return names[-1] if names else None


def _header(name: bytes, size: int) -> bytes:
    if size > _MAX_FILE_BYTES:
        raise ExampleError(f"an image of {size} bytes is longer than a tar can hold")
    digits = b"%011o\0" % size
    checksum = _FIXED_SUM + sum(name) + sum(digits)
    return b"".join((name.ljust(100, b"\0"), _BEFORE_SIZE, digits, _AFTER_SIZE, b"%06o\0 " % checksum, _AFTER_CHECKSUM))


def _npy_head(height: int, width: int) -> bytes:
    """What ``numpy.save`` writes before the pixels."""
    text = b"{'descr': '|u1', 'fortran_order': False, 'shape': (%d, %d, 3), }" % (height, width)
    length = -(-(len(_NPY_MAGIC) + 2 + len(text) + 1) // 64) * 64
    return b"%b%b%b\n" % (
        _NPY_MAGIC,
        (length - 10).to_bytes(2, "little"),
        text.ljust(length - 11),
    )
