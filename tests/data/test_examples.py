"""tf.train.Example by hand."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nodewise.data.examples import ExampleError, decode_example, encode_example

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


def test_example_of_known_bytes():
    # tf.train.Example(...).SerializeToString(deterministic=True) of TensorFlow 2.21.
    expected = "0a200a0e0a05636c61737312051a030a01030a0e0a05696d61676512050a030a0178"
    assert encode_example(b"x", 3).hex() == expected


@given(image=st.binary(max_size=400), label=st.integers(-(2**63), 2**63 - 1))
def test_any_image_and_label_come_back(image, label):
    assert decode_example(encode_example(image, label)) == (image, label)


def test_negative_label_takes_ten_bytes_in_two_complement():
    assert bytes.fromhex("0a0affffffffffffffffff01") in encode_example(b"", -1)
    assert decode_example(encode_example(b"", -1)) == (b"", -1)


@pytest.mark.parametrize("label", [2**63, -(2**63) - 1])
def test_label_beyond_64_bits_is_refused(label):
    with pytest.raises(ExampleError, match="64-bit"):
        encode_example(b"", label)


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
    assert decode_example(payload) == (b"xy", 7)


@pytest.mark.parametrize(
    ("payload", "reason"),
    [
        (b"", "no feature 'image'"),
        (example(IMAGE_ENTRY), "no feature 'class'"),
        (example(class_entry(b""), IMAGE_ENTRY), "'class' has 0 values"),
        (example(class_entry(b"\x0a\x02\x01\x02"), IMAGE_ENTRY), "'class' has 2 values"),
        (example(CLASS + field(2, field(1, field(1, b"7"))), IMAGE_ENTRY), "'class' is not a list of int64"),
        (example(class_entry(b"\x08\x07"), IMAGE + field(2, field(3, b"\x08\x07"))), "'image' is not a list of bytes"),
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


@given(st.binary(max_size=60))
def test_any_bytes_end_in_a_value_or_an_example_error(payload):
    try:
        decode_example(payload)
    except ExampleError:
        return


@given(cut=st.integers(0, 33))
def test_cut_example_is_an_error(cut):
    with pytest.raises(ExampleError):
        decode_example(encode_example(b"x", 3)[:cut])
