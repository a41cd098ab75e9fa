"""``tf.train.Example`` of one labelled image, without TensorFlow or protobuf.

The features: ``class`` (int64) and ``image`` (bytes); ``key`` (bytes, the record's name) and, for raw pixels alone,
``shape`` (int64: height, width, channels). The messages (tensorflow/core/example/example.proto and feature.proto)::

    Example   { Features features = 1; }
    Features  { map<string, Feature> feature = 1; }         an entry is a message { string key = 1; Feature value = 2; }
    Feature   { oneof kind { BytesList bytes_list = 1; FloatList float_list = 2; Int64List int64_list = 3; } }
    BytesList { repeated bytes value = 1; }
    Int64List { repeated int64 value = 1 [packed]; }

Wire format: https://protobuf.dev/programming-guides/encoding/.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import lru_cache
from typing import NamedTuple, TypeVar

__all__ = [
    "HEAD_BYTES",
    "TAIL_BYTES",
    "Example",
    "ExampleError",
    "ImageSpan",
    "decode_example",
    "encode_example",
    "find_image",
]

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_BYTES_LIST, _INT64_LIST = 1, 3
_KINDS = (1, 2, 3)
_MASK = 0xFFFF_FFFF_FFFF_FFFF

HEAD_BYTES, TAIL_BYTES = 80, 256
"""At least what :func:`encode_example` puts before the image and, with a key of less than 100 bytes, behind it."""

# What stands before and after the image where this module wrote it, each length a varint that is not looked at.
_LENGTH = rb"[\x80-\xff]{0,4}[\x00-\x7f]"
_HEAD = re.compile(
    rb"\x0a%b\x0a.\x0a\x05class\x12.\x1a.\x0a.([\x80-\xff]{0,9}[\x00-\x7f])"
    rb"\x0a%b\x0a\x05image\x12%b\x0a%b\x0a(%b)" % ((_LENGTH,) * 5),
    re.DOTALL,
)
_SHAPE_ENTRY = re.compile(rb"\x0a.\x0a\x05shape\x12.\x1a.\x0a.(%b)(%b)(%b)" % ((_LENGTH,) * 3), re.DOTALL)
_KEY_HEAD_BYTES = 13  # of a key of less than 100 bytes; a longer one is left to the general parser

_Value = TypeVar("_Value")


class ExampleError(ValueError):
    """Bytes that are no Example with one image and one class. Whoever read them adds file and record."""


class Example(NamedTuple):
    """One labelled image.

    Attributes:
        image: An image file (JPEG, PNG, WebP) or, with a ``shape``, the pixels: uint8, row by row, RGB.
        label: Class number, 64 bits with sign.
        shape: Height, width and channels of raw pixels; None if ``image`` is a file.
        key: Name of the record; "" where a file has none.
    """

    image: bytes
    label: int
    shape: tuple[int, int, int] | None = None
    key: str = ""


class ImageSpan(NamedTuple):
    """Where the image of a record stands in its bytes: from ``start`` up to ``stop``."""

    start: int
    stop: int
    label: int
    shape: tuple[int, int, int] | None


def encode_example(example: Example) -> bytes:
    """Serialise one labelled image; features that it has not (no key, no shape) are left out.

    The same input gives the same bytes everywhere: those of TensorFlow's deterministic serialisation, keys sorted.

    Raises:
        ExampleError: The label does not fit into 64 bits, or ``image`` has not as many bytes as ``shape`` says.
    """
    image, label, shape, _ = example
    if not -(1 << 63) <= label < 1 << 63:
        raise ExampleError(f"label {label} does not fit into a signed 64-bit integer")
    _check_shape(len(image), shape)
    tail = _key_entry(example.key.encode()) + (_shape_entry(shape) if shape else b"")
    return b"".join((_head(label, len(image), len(tail)), image, tail))


def decode_example(payload: bytes) -> Example:
    """Read an Example back.

    Features may stand in any order; other features and unknown fields are passed over, packed and unpacked lists are
    both read, and repeated messages are merged, as protobuf does.

    Raises:
        ExampleError: The bytes are malformed, ``image`` or ``class`` is missing, a feature is of another type or has
            not the right number of values, or ``image`` has not as many bytes as ``shape`` says.
    """
    span, key = _scan(payload[:HEAD_BYTES], payload[-TAIL_BYTES:], len(payload))
    if span is None:
        return _parse(payload)
    return Example(payload[span.start : span.stop], span.label, span.shape, _key_text(key))


def find_image(head: bytes, tail: bytes, payload_bytes: int) -> ImageSpan | None:
    """Where the image of an Example stands that :func:`encode_example` made; None for any other bytes.

    Takes a few microseconds and does not touch the image: for readers, which take the rest to :func:`decode_example`.

    Args:
        head: The first bytes of the payload: :data:`HEAD_BYTES` of them, or all before the image.
        tail: The last bytes of the payload: :data:`TAIL_BYTES` of them, or all behind the image.
    """
    return _scan(head, tail, payload_bytes)[0]


def _scan(first: bytes, last: bytes, payload_bytes: int) -> tuple[ImageSpan | None, bytes]:
    """The image's place and the key, guessed. The guess is right if encoding it gives the bytes that are there."""
    head = _HEAD.match(first)
    if head is None:
        return None, b""
    start = head.end()
    image_bytes = _from_varint(head[2])
    stop = start + image_bytes
    tail_bytes = payload_bytes - stop
    if not 0 <= tail_bytes <= len(last):
        return None, b""
    tail = last[len(last) - tail_bytes :]
    key = b""
    if tail[2:7] == b"\x0a\x03key" and len(tail) > _KEY_HEAD_BYTES:
        key = tail[_KEY_HEAD_BYTES : _KEY_HEAD_BYTES + tail[_KEY_HEAD_BYTES - 1]]
    shape_entry = tail[_KEY_HEAD_BYTES + len(key) :] if key else tail
    shape = _shape_of(shape_entry) if shape_entry else None
    label = _signed(_from_varint(head[1]))
    if (shape_entry and shape is None) or tail[: len(tail) - len(shape_entry)] != _key_entry(key):
        return None, b""
    if head[0] != _head(label, image_bytes, tail_bytes) or (shape and not _fits(image_bytes, shape)):
        return None, b""
    return ImageSpan(start, stop, label, shape), key


def _head(label: int, image_bytes: int, tail_bytes: int) -> bytes:
    """All that stands before the image."""
    class_entry, image_head = _class_entry(label), _image_head(image_bytes)
    rest = len(class_entry) + len(image_head) + image_bytes + tail_bytes
    return b"\x0a%b%b%b" % (_varint(rest), class_entry, image_head)


# Few different ones come again and again: classes, lengths of keys, lengths of raw images.
@lru_cache(maxsize=4096)
def _class_entry(label: int) -> bytes:
    return _entry(b"class", _field(_INT64_LIST, _field(1, _varint(label & _MASK))))


@lru_cache(maxsize=4096)
def _image_head(image_bytes: int) -> bytes:
    head = b"\x0a" + _varint(image_bytes)
    for tag in (b"\x0a", b"\x0a\x05image\x12", b"\x0a"):
        head = tag + _varint(len(head) + image_bytes) + head
    return head


def _key_entry(key: bytes) -> bytes:
    if not key:
        return b""
    if len(key) < 100:  # so short that each length takes one byte
        size = len(key)
        return b"\x0a%c\x0a\x03key\x12%c\x0a%c\x0a%c%b" % (size + 11, size + 4, size + 2, size, key)
    return _entry(b"key", _field(_BYTES_LIST, _field(1, key)))


@lru_cache(maxsize=64)
def _shape_entry(shape: tuple[int, int, int]) -> bytes:
    return _entry(b"shape", _field(_INT64_LIST, _field(1, b"".join(map(_varint, shape)))))


@lru_cache(maxsize=64)
def _shape_of(entry: bytes) -> tuple[int, int, int] | None:
    """The shape that :func:`_shape_entry` makes these bytes of."""
    match = _SHAPE_ENTRY.fullmatch(entry)
    if match is None:
        return None
    shape = (_from_varint(match[1]), _from_varint(match[2]), _from_varint(match[3]))
    return shape if _shape_entry(shape) == entry else None


def _fits(image_bytes: int, shape: tuple[int, int, int]) -> bool:
    height, width, channels = shape
    return channels == 3 and height > 0 and width > 0 and height * width * 3 == image_bytes


def _check_shape(image_bytes: int, shape: tuple[int, int, int] | None) -> None:
    if shape is not None and not _fits(image_bytes, shape):
        raise ExampleError(f"{image_bytes} bytes of pixels are no image of shape {shape}")


def _parse(payload: bytes) -> Example:
    """Read an Example that anyone wrote."""
    features: dict[bytes, memoryview] = {}
    for entry in _submessages(_merged(_submessages(memoryview(payload), 1)), 1):
        keys = list(_submessages(entry, 1))
        features[bytes(keys[-1]) if keys else b""] = _merged(_submessages(entry, 2))
    image = bytes(_single("image", list(_submessages(_values(features, "image", _BYTES_LIST, "bytes"), 1))))
    label = _single("class", list(_integers(_values(features, "class", _INT64_LIST, "int64"))))
    key, shape = "", None
    if b"key" in features:
        name = _single("key", list(_submessages(_values(features, "key", _BYTES_LIST, "bytes"), 1)))
        key = _key_text(bytes(name))
    if b"shape" in features:
        sides = list(_integers(_values(features, "shape", _INT64_LIST, "int64")))
        if len(sides) != 3:
            raise ExampleError(f"feature 'shape' has {len(sides)} values instead of three")
        shape = (sides[0], sides[1], sides[2])
        _check_shape(len(image), shape)
    return Example(image, label, shape, key)


def _key_text(key: bytes) -> str:
    try:
        return key.decode()
    except UnicodeDecodeError as error:
        raise ExampleError("feature 'key' is not UTF-8") from error


def _single(name: str, values: list[_Value]) -> _Value:
    if len(values) != 1:
        raise ExampleError(f"feature {name!r} has {len(values)} values instead of one")
    return values[0]


def _values(features: dict[bytes, memoryview], name: str, kind: int, type_name: str) -> memoryview:
    """The list message of a feature, which must be of the given kind (the number of the oneof's field)."""
    if name.encode() not in features:
        raise ExampleError(f"there is no feature {name!r}")
    parts: list[memoryview] = []
    found = None
    for number, value in _fields(features[name.encode()]):
        if number in _KINDS and isinstance(value, memoryview):
            # Of a oneof, the last member stands; the same member again is merged into the one before.
            parts = [*parts, value] if number == found else [value]
            found = number
    if found != kind:
        raise ExampleError(f"feature {name!r} is not a list of {type_name}")
    return _merged(iter(parts))


def _integers(message: memoryview) -> Iterator[int]:
    for number, value in _fields(message):
        if number != 1:
            continue
        if isinstance(value, int):
            yield _signed(value)
            continue
        position = 0
        while position < len(value):
            unsigned, position = _read_varint(value, position)
            yield _signed(unsigned)


def _submessages(message: memoryview, number: int) -> Iterator[memoryview]:
    for field_number, value in _fields(message):
        if field_number == number and isinstance(value, memoryview):
            yield value


def _merged(parts: Iterator[memoryview]) -> memoryview:
    # Merging messages is the same as parsing their bytes one after the other.
    found = list(parts)
    return found[0] if len(found) == 1 else memoryview(b"".join(found))


def _fields(message: memoryview) -> Iterator[tuple[int, int | memoryview]]:
    """Yield the number and value of each field: an int for varints, else the bytes."""
    position = 0
    while position < len(message):
        tag, position = _read_varint(message, position)
        number, wire_type = tag >> 3, tag & 7
        if number == 0:
            raise ExampleError("malformed protobuf: field number 0")
        if wire_type == _VARINT:
            value, position = _read_varint(message, position)
            yield number, value
            continue
        if wire_type == _BYTES:
            length, position = _read_varint(message, position)
        elif wire_type in (_FIXED64, _FIXED32):
            length = 8 if wire_type == _FIXED64 else 4
        else:
            raise ExampleError(f"malformed protobuf: wire type {wire_type}")
        if length > len(message) - position:
            raise ExampleError("malformed protobuf: a field is longer than its message")
        if wire_type == _BYTES:
            yield number, message[position : position + length]
        position += length


def _read_varint(data: memoryview, position: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 70, 7):
        if position >= len(data):
            raise ExampleError("malformed protobuf: it ends within a number")
        byte = data[position]
        position += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value & _MASK, position
    raise ExampleError("malformed protobuf: a number of more than ten bytes")


def _from_varint(encoded: bytes) -> int:
    """The number of a varint that is whole."""
    value = 0
    for byte in reversed(encoded):
        value = value << 7 | byte & 0x7F
    return value & _MASK


def _varint(value: int) -> bytes:
    if value < 0x80:
        return b"%c" % value
    if value < 0x4000:
        return b"%c%c" % (value & 0x7F | 0x80, value >> 7)
    return b"%c%b" % (value & 0x7F | 0x80, _varint(value >> 7))


def _signed(value: int) -> int:
    return value - (1 << 64) if value >= 1 << 63 else value


def _field(number: int, content: bytes) -> bytes:
    return _varint(number << 3 | _BYTES) + _varint(len(content)) + content


def _entry(key: bytes, feature: bytes) -> bytes:
    return _field(1, _field(1, key) + _field(2, feature))
