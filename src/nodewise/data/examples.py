"""``tf.train.Example`` with the features ``image`` (bytes) and ``class`` (int64), without TensorFlow or protobuf.

The messages (tensorflow/core/example/example.proto and feature.proto)::

    Example   { Features features = 1; }
    Features  { map<string, Feature> feature = 1; }         an entry is a message { string key = 1; Feature value = 2; }
    Feature   { oneof kind { BytesList bytes_list = 1; FloatList float_list = 2; Int64List int64_list = 3; } }
    BytesList { repeated bytes value = 1; }
    Int64List { repeated int64 value = 1 [packed]; }

Wire format: https://protobuf.dev/programming-guides/encoding/.
"""

from __future__ import annotations

from collections.abc import Iterator

__all__ = ["ExampleError", "decode_example", "encode_example"]

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_BYTES_LIST, _INT64_LIST = 1, 3
_KINDS = (1, 2, 3)


class ExampleError(ValueError):
    """Bytes that are no Example with one image and one class. Whoever read them adds file and record."""


def encode_example(image: bytes, label: int) -> bytes:
    """Serialise one image (encoded, JPEG or PNG) and its class number.

    The same input gives the same bytes everywhere: those of TensorFlow's deterministic serialisation, keys sorted.

    Raises:
        ExampleError: The label does not fit into 64 bits.
    """
    if not -(1 << 63) <= label < 1 << 63:
        raise ExampleError(f"label {label} does not fit into a signed 64-bit integer")
    packed = _varint(label & 0xFFFF_FFFF_FFFF_FFFF)
    features = _entry(b"class", _field(_INT64_LIST, _field(1, packed))) + _entry(
        b"image", _field(_BYTES_LIST, _field(1, image))
    )
    return _field(1, features)


def decode_example(payload: bytes) -> tuple[bytes, int]:
    """Read an Example back: ``(image, label)``.

    Features may stand in any order; other features and unknown fields are passed over, packed and unpacked lists are
    both read, and repeated messages are merged, as protobuf does.

    Raises:
        ExampleError: The bytes are malformed, a feature is missing or of another type, or has not exactly one value.
    """
    features: dict[bytes, memoryview] = {}
    for entry in _submessages(_merged(_submessages(memoryview(payload), 1)), 1):
        keys = list(_submessages(entry, 1))
        features[bytes(keys[-1]) if keys else b""] = _merged(_submessages(entry, 2))
    images = list(_submessages(_values(features, "image", _BYTES_LIST, "bytes"), 1))
    labels = list(_integers(_values(features, "class", _INT64_LIST, "int64")))
    for name, count in (("image", len(images)), ("class", len(labels))):
        if count != 1:
            raise ExampleError(f"feature {name!r} has {count} values instead of one")
    return bytes(images[0]), labels[0]


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
            return value & 0xFFFF_FFFF_FFFF_FFFF, position
    raise ExampleError("malformed protobuf: a number of more than ten bytes")


def _varint(value: int) -> bytes:
    encoded = bytearray()
    while value >= 0x80:
        encoded.append(value & 0x7F | 0x80)
        value >>= 7
    encoded.append(value)
    return bytes(encoded)


def _signed(value: int) -> int:
    return value - (1 << 64) if value >= 1 << 63 else value


def _field(number: int, content: bytes) -> bytes:
    return _varint(number << 3 | _BYTES) + _varint(len(content)) + content


def _entry(key: bytes, feature: bytes) -> bytes:
    return _field(1, _field(1, key) + _field(2, feature))
