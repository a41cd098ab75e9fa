"""tf.train.Example by hand."""

import os

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nodewise.shards import examples
from nodewise.shards.examples import (
    HEAD_BYTES,
    TAIL_BYTES,
    Example,
    ExampleError,
    decode_example,
    encode_example,
    find_image,
)

# Every byte string that a reader may meet: 10,000 of them where all tests run with their full count.
MANY = settings(deadline=None, max_examples=10_000 if os.environ.get("NODEWISE_TEST_ALL") == "1" else 300)

CLASS = bytes.fromhex("0a05") + b"class"
IMAGE = bytes.fromhex("0a05") + b"image"


def field(number, content):
    assert len(content) < 128
    return bytes([number << 3 | 2, len(content)]) + content


def example(*entries, extra=b""):
    return field(1, b"".join(field(1, entry) for entry in entries)) + extra


def class_entry(int64_list):
    return CLASS + field(2, field(3, int64_list))


IMAGE_ENTRY = IMAGE + field(2, field(1, field(1, b"xy")))


def key_entry(text):
    return b"\x0a\x03key" + field(2, field(1, field(1, text)))


def shape_entry(int64_list):
    return b"\x0a\x05shape" + field(2, field(3, int64_list))


@st.composite
def any_examples(draw):
    label = draw(st.integers(-(2**63), 2**63 - 1) | st.integers(0, 300))
    key = draw(st.text(max_size=150, alphabet=st.characters(exclude_categories=["Cs"])))
    shape = draw(st.none() | st.tuples(st.integers(1, 200), st.integers(1, 4), st.just(3)))
    image = draw(st.binary(max_size=400)) if shape is None else bytes(shape[0] * shape[1] * 3)
    return Example(image, label, shape, key)


def decode_in_general(payload):
    """Through the parser for anyone's records, past the one for our own layout."""
    try:
        return examples._parse(payload)
    except ExampleError as error:
        return str(error)


def decode(payload):
    try:
        return decode_example(payload)
    except ExampleError as error:
        return str(error)


def test_example_of_known_bytes():
    # tf.train.Example(...).SerializeToString(deterministic=True) of TensorFlow 2.21.
    expected = "0a200a0e0a05636c61737312051a030a01030a0e0a05696d61676512050a030a0178"
    assert encode_example(Example(b"x", 3)).hex() == expected


@MANY
@given(any_examples())
def test_any_example_comes_back_by_both_parsers(value):
    payload = encode_example(value)
    assert decode_example(payload) == decode_in_general(payload) == value


@MANY
@given(value=any_examples(), data=st.data())
def test_both_parsers_say_the_same_of_a_changed_example(value, data):
    payload = bytearray(encode_example(value))
    for _ in range(data.draw(st.integers(1, 3))):
        place = data.draw(st.integers(0, len(payload) - 1))
        match data.draw(st.sampled_from(["set", "insert", "cut"])):
            case "set":
                payload[place] = data.draw(st.integers(0, 255))
            case "insert":
                payload[place:place] = data.draw(st.binary(max_size=4))
            case "cut" if len(payload) > 1:
                del payload[place : place + data.draw(st.integers(1, 4))]
        if not payload:
            break
    assert decode(bytes(payload)) == decode_in_general(bytes(payload))


@MANY
@given(
    entries=st.lists(
        st.sampled_from([CLASS, IMAGE, b"\x0a\x03key", b"\x0a\x05shape", b""]).flatmap(
            lambda name: st.tuples(
                st.just(name), st.sampled_from([1, 2, 3]), st.binary(max_size=12), st.sampled_from([1, 1, 2])
            )
        ),
        max_size=4,
    )
)
def test_both_parsers_say_the_same_of_any_features(entries):
    payload = example(*(name + field(2, field(kind, field(inner, value))) for name, kind, value, inner in entries))
    assert decode(payload) == decode_in_general(payload)


def test_image_is_found_in_our_own_layout_alone():
    value = Example(bytes(30000), 500, (100, 100, 3), "train-00007-000003")
    payload = encode_example(value)
    span = find_image(payload[:HEAD_BYTES], payload[-TAIL_BYTES:], len(payload))
    assert payload[: span.start].endswith(b"\x0a\xb0\xea\x01")  # 30,000 as a varint: 0x30, 0x6a, 1 in groups of 7 bits
    assert payload[span.start : span.stop] == bytes(30000)
    assert payload[span.stop :].startswith(b"\x0a\x1d\x0a\x03key")
    assert (span.label, span.shape) == (500, (100, 100, 3))
    # Cut exactly at the image it is the same; with one byte missing there is none.
    assert find_image(payload[: span.start], payload[span.stop :], len(payload)) == span
    assert find_image(payload[: span.start], payload[span.stop + 1 :], len(payload)) is None
    others = example(IMAGE_ENTRY, class_entry(b"\x08\x07"))
    assert find_image(others, others, len(others)) is None


def test_records_without_key_and_shape_are_read():
    assert decode_example(example(class_entry(b"\x0a\x01\x07"), IMAGE_ENTRY)) == Example(b"xy", 7, None, "")


def test_negative_label_takes_ten_bytes_in_two_complement():
    payload = encode_example(Example(b"", -1))
    assert bytes.fromhex("0a0affffffffffffffffff01") in payload
    assert decode_example(payload) == Example(b"", -1)


@pytest.mark.parametrize("label", [2**63, -(2**63) - 1])
def test_label_beyond_64_bits_is_refused(label):
    with pytest.raises(ExampleError, match="64-bit"):
        encode_example(Example(b"", label))


@pytest.mark.parametrize("shape", [(2, 2, 3), (1, 2, 1), (0, 1, 3), (-1, -2, 3)])
def test_pixels_that_do_not_fit_their_shape_are_refused(shape):
    with pytest.raises(ExampleError, match="6 bytes of pixels are no image of shape"):
        encode_example(Example(bytes(6), 0, shape))


@pytest.mark.parametrize(
    "payload",
    [
        pytest.param(example(class_entry(b"\x0a\x01\x07"), IMAGE_ENTRY), id="packed"),
        pytest.param(example(class_entry(b"\x08\x07"), IMAGE_ENTRY), id="unpacked"),
        pytest.param(example(IMAGE_ENTRY, class_entry(b"\x08\x07")), id="image first"),
        pytest.param(
            example(field(1, b"other") + field(2, field(2, b"")), IMAGE_ENTRY, class_entry(b"\x08\x07")),
            id="third feature",
        ),
        pytest.param(
            example(
                IMAGE_ENTRY,
                class_entry(b"\x08\x07"),
                extra=field(9, b"?") + b"\x50\x05" + b"\x59" + b"8bytes.." + b"\x5d" + b"4bt.",
            ),
            id="unknown fields of all wire types",
        ),
        pytest.param(example(IMAGE_ENTRY) + example(class_entry(b"\x08\x07")), id="features in two parts"),
        pytest.param(example(class_entry(b"\x08\x01"), IMAGE_ENTRY, class_entry(b"\x08\x07")), id="last entry wins"),
        pytest.param(example(field(2, field(3, b"\x08\x07")) + CLASS, IMAGE_ENTRY), id="value before key"),
    ],
)
def test_what_protobuf_allows_is_read(payload):
    assert decode_example(payload) == Example(b"xy", 7)


@pytest.mark.parametrize(
    ("payload", "reason"),
    [
        (b"", "no feature 'image'"),
        (example(IMAGE_ENTRY), "no feature 'class'"),
        (example(class_entry(b""), IMAGE_ENTRY), "'class' has 0 values"),
        (example(class_entry(b"\x0a\x02\x01\x02"), IMAGE_ENTRY), "'class' has 2 values"),
        (example(CLASS + field(2, field(1, field(1, b"7"))), IMAGE_ENTRY), "'class' is not a list of int64"),
        (example(class_entry(b"\x08\x07"), IMAGE + field(2, field(3, b"\x08\x07"))), "'image' is not a list of bytes"),
        (example(class_entry(b"\x08\x07"), IMAGE_ENTRY, key_entry(b"\xff")), "'key' is not UTF-8"),
        (example(class_entry(b"\x08\x07"), IMAGE_ENTRY, shape_entry(b"\x0a\x02\x01\x03")), "'shape' has 2 values"),
        (
            example(class_entry(b"\x08\x07"), IMAGE_ENTRY, shape_entry(b"\x0a\x03\x01\x01\x03")),
            "2 bytes of pixels are no",
        ),
        (b"\x0a\x05abc", "longer than its message"),
        (b"\x0a", "ends within a number"),
        (b"\x00\x00", "field number 0"),
        (b"\x0b", "wire type 3"),
        (b"\x08" + b"\xff" * 10 + b"\x01", "more than ten bytes"),
    ],
)
def test_malformed_examples_say_what_is_wrong(payload, reason):
    with pytest.raises(ExampleError, match=reason):
        decode_example(payload)


@MANY
@given(st.binary(max_size=60))
def test_any_bytes_end_in_a_value_or_an_example_error(payload):
    assert decode(payload) == decode_in_general(payload)


@pytest.mark.parametrize("value", [Example(b"x", 3), Example(b"xyz", 3, (1, 1, 3), "key")])
def test_example_cut_at_any_byte_is_an_error(value):
    payload = encode_example(value)
    for cut in range(len(payload)):
        with pytest.raises(ExampleError):
            decode_example(payload[:cut])
