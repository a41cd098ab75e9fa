"""Tar files of labelled images."""

import importlib.util
import io
import itertools
import json
import os
import subprocess
import sys
import tarfile

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nodewise.core.errors import CorruptFileError
from nodewise.images.codecs import encode_png
from nodewise.shards.examples import Example, ExampleError
from nodewise.shards.tars import (
    TAR_END,
    decode_tar_record,
    encode_tar_record,
    find_tar_image,
    locate_tar_records,
    read_tar_records,
)

JPEG, PNG, WEBP = b"\xff\xd8 a picture", b"\x89PNG a picture", b"RIFF\0\0\0\0WEBP a picture"
PIXELS = np.arange(2 * 3 * 3, dtype=np.uint8).reshape(2, 3, 3)
EXAMPLES = [
    Example(JPEG, 3, None, "train-00000-000000"),
    Example(PNG, 0, None, "train-00000-000001"),
    Example(PIXELS.tobytes(), -12, (2, 3, 3), "train-00000-000002"),
    Example(WEBP + bytes(600), 2**40, None, "train-00000-000003"),
]


def read_until_damage(path):
    found = []
    try:
        found.extend(map(decode_tar_record, read_tar_records(path)))
    except (CorruptFileError, ExampleError) as error:
        return found, error
    return found, None


def tar_of(*files, kind=tarfile.PAX_FORMAT, **changes):
    """A tar that Python's tarfile made, of (name, content)."""
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w", format=kind) as tar:
        for name, content in files:
            info = tarfile.TarInfo(name)
            info.size = len(content)
            for attribute, value in changes.items():
                setattr(info, attribute, value)
            tar.addfile(info, io.BytesIO(content))
    return stream.getvalue()


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "train-00000-4.tar"
    path.write_bytes(b"".join(map(encode_tar_record, EXAMPLES)) + TAR_END)
    return path


def test_examples_come_back(path):
    assert read_until_damage(path) == (EXAMPLES, None)


def test_tarfile_finds_the_same_bytes_as_it_would_write(path):
    with tarfile.open(path) as tar:
        files = [(member.name, tar.extractfile(member).read()) for member in tar]
    assert [name.rpartition("-")[2] for name, _ in files] == [
        "000000.jpg", "000000.cls", "000001.png", "000001.cls", "000002.npy", "000002.cls", "000003.webp", "000003.cls"
    ]  # fmt: skip
    assert [content for name, content in files if name.endswith("cls")] == [b"3", b"0", b"-12", b"1099511627776"]
    assert (np.load(io.BytesIO(files[4][1])) == PIXELS).all()
    assert files[0][1] == JPEG
    theirs = tar_of(*files, kind=tarfile.USTAR_FORMAT)
    assert path.read_bytes().rstrip(b"\0") == theirs.rstrip(b"\0")


@pytest.mark.parametrize("shape", [(1, 1, 3), (192, 192, 3), (10_000, 2, 3)])
def test_raw_pixels_are_stored_as_numpy_does(shape):
    pixels = np.zeros(shape, np.uint8)
    stream = io.BytesIO()
    np.save(stream, pixels)
    assert stream.getvalue() in encode_tar_record(Example(pixels.tobytes(), 0, shape, "k"))


def test_image_is_found_in_an_array_without_a_copy_of_it():
    record = np.frombuffer(encode_tar_record(EXAMPLES[2]), np.uint8)
    span = find_tar_image(record)
    assert record[span.start : span.stop].tobytes() == PIXELS.tobytes()
    assert (span.label, span.shape) == (-12, (2, 3, 3))


@pytest.mark.parametrize(
    "files",
    [
        [("a/1.jpg", JPEG), ("a/1.cls", b"7"), ("a/2.cls", b" 8\n"), ("a/2.jpg", JPEG)],
        [
            ("a/1.json", b"{}"),
            ("a/1.cls", b"7"),
            ("a/1.jpg", JPEG),
            ("a/2.m.png", b""),
            ("a/2.JPEG", JPEG),
            ("a/2.cls", b"8"),
        ],
    ],
)
@pytest.mark.parametrize("kind", [tarfile.PAX_FORMAT, tarfile.GNU_FORMAT, tarfile.USTAR_FORMAT])
def test_files_of_others_are_read_in_any_order(tmp_path, files, kind):
    path = tmp_path / "a.tar"
    path.write_bytes(tar_of(*files, kind=kind, mtime=1.5 if kind == tarfile.PAX_FORMAT else 1))
    assert read_until_damage(path) == ([Example(JPEG, 7, None, "a/1"), Example(JPEG, 8, None, "a/2")], None)


def test_long_names_of_extended_headers_and_of_two_fields_are_read(tmp_path):
    path = tmp_path / "a.tar"
    for kind, key in ((tarfile.PAX_FORMAT, "ä" * 120), (tarfile.USTAR_FORMAT, f"{'x' * 80}/{'y' * 80}")):
        path.write_bytes(tar_of((f"{key}.cls", b"1"), (f"{key}.png", PNG), kind=kind))
        assert read_until_damage(path) == ([Example(PNG, 1, None, key)], None)


@pytest.mark.skipif(importlib.util.find_spec("webdataset") is None, reason="webdataset is not installed")
def test_webdataset_reads_ours_and_we_read_theirs(tmp_path):
    examples = [
        Example(encode_png(PIXELS), 3, None, "train-00000-000000"),
        Example(PIXELS.tobytes(), -12, (2, 3, 3), "train-00000-000001"),
    ]
    (tmp_path / "ours.tar").write_bytes(b"".join(map(encode_tar_record, examples)) + TAR_END)
    code = """
import json, sys
import numpy as np, webdataset

rows = webdataset.WebDataset("ours.tar", shardshuffle=False).decode("rgb8")
print(json.dumps([[row["__key__"], row["cls"], row.get("png", row.get("npy")).tolist()] for row in rows]))
with webdataset.TarWriter("theirs.tar") as writer:
    writer.write({"__key__": "one", "jpg": b"\\xff\\xd8 a picture", "cls": 5, "json": {"a": 1}})
    writer.write({"__key__": "two", "cls": 6, "npy": np.arange(18, dtype=np.uint8).reshape(2, 3, 3)})
"""
    # A process of its own, because webdataset leaves files open, of which Python warns.
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) == [
        ["train-00000-000000", 3, PIXELS.tolist()],
        ["train-00000-000001", -12, PIXELS.tolist()],
    ]
    theirs = [Example(JPEG, 5, None, "one"), Example(PIXELS.tobytes(), 6, (2, 3, 3), "two")]
    assert read_until_damage(tmp_path / "theirs.tar") == (theirs, None)


def test_cut_at_every_byte_is_found_after_the_whole_records(path):
    whole = path.read_bytes()
    ends = list(itertools.accumulate(len(encode_tar_record(example)) for example in EXAMPLES))
    for cut in range(0, len(whole), 1 if os.environ.get("NODEWISE_TEST_ALL") == "1" else 7):
        path.write_bytes(whole[:cut])
        found, error = read_until_damage(path)
        complete = sum(end <= cut for end in ends)
        assert error is not None
        # The last record may be whole but for its padding.
        assert found == EXAMPLES[: len(found)]
        assert len(found) in (complete, complete - (cut not in ends))
        assert str(path) in str(error) or isinstance(error, ExampleError)


def test_every_flipped_bit_of_a_header_is_found(path):
    whole = path.read_bytes()
    start = len(encode_tar_record(EXAMPLES[0]))
    for byte, bit in itertools.product(range(512), range(8) if os.environ.get("NODEWISE_TEST_ALL") == "1" else (0, 5)):
        damaged = bytearray(whole)
        damaged[start + byte] ^= 1 << bit
        path.write_bytes(damaged)
        found, error = read_until_damage(path)
        if error is None:
            # A space and a zero byte both end the digits of the checksum, and zeros may stand before them.
            assert 148 <= byte < 156
            assert found == EXAMPLES
        else:
            assert found == EXAMPLES[:1]
            assert (error.path, error.record, error.offset) == (str(path), 1, start)


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.DIRTYPE, tarfile.CHRTYPE])
def test_anything_but_regular_files_is_refused(tmp_path, kind):
    path = tmp_path / "a.tar"
    good = encode_tar_record(EXAMPLES[0])
    path.write_bytes(good + tar_of(("b.jpg", b""), type=kind, linkname="/etc/passwd"))
    found, error = read_until_damage(path)
    assert found == EXAMPLES[:1]
    assert (error.record, error.offset) == (1, len(good))
    assert (
        "'b.jpg' is no regular file" in error.reason if kind != tarfile.DIRTYPE else "no regular file" in error.reason
    )


@pytest.mark.parametrize(
    ("files", "reason"),
    [
        ([("a.jpg", JPEG)], r"no class number \(.cls\) beside 'a.jpg'"),
        ([("a.cls", b"1")], "no image beside 'a.cls'"),
        ([("a.jpg", JPEG), ("a.png", PNG), ("a.cls", b"1")], "'a.png' is a second image"),
        ([("a.jpg", JPEG), ("a.cls", b"cat")], "'a.cls' holds no class number: b'cat'"),
        ([("a.jpg", JPEG), ("a.cls", b"1" * 30)], "'a.cls' holds no class number"),
        ([("a.npy", b"\x93NUMPY"), ("a.cls", b"1")], "'a.npy' is no array of bytes"),
    ],
)
def test_records_without_image_and_class_say_what_is_wrong(tmp_path, files, reason):
    path = tmp_path / "a.tar"
    path.write_bytes(tar_of(*files))
    (record,) = read_tar_records(path)
    with pytest.raises(ExampleError, match=reason):
        decode_tar_record(record)


@pytest.mark.parametrize("array", [np.zeros((2, 2, 4), np.uint8), np.zeros((2, 2, 3)), np.zeros((2, 2), np.uint8)])
def test_arrays_that_are_no_images_are_refused(tmp_path, array):
    stream = io.BytesIO()
    np.save(stream, array)
    path = tmp_path / "a.tar"
    path.write_bytes(tar_of(("a.npy", stream.getvalue()), ("a.cls", b"1")))
    (record,) = read_tar_records(path)
    with pytest.raises(ExampleError, match="no array of bytes of shape"):
        decode_tar_record(record)


def test_array_of_another_length_than_its_shape_is_refused(tmp_path):
    record = bytearray(encode_tar_record(EXAMPLES[2]))
    record[record.index(b"(2, 3, 3)") + 1] = ord("3")
    with pytest.raises(ExampleError, match="not as many bytes as its shape"):
        decode_tar_record(bytes(record))


@pytest.mark.parametrize(
    ("example", "reason"),
    [
        (Example(b"GIF89a", 0, None, "k"), "neither JPEG, PNG nor WebP"),
        (Example(bytes(6), 0, (1, 1, 3), "k"), "no image of shape"),
        (Example(JPEG, 0, None, ""), "cannot name a file"),
        (Example(JPEG, 0, None, "a.b"), "cannot name a file"),
        (Example(JPEG, 0, None, "k" * 96), "cannot name a file"),
    ],
)
def test_what_a_tar_cannot_hold_is_refused(example, reason):
    with pytest.raises(ExampleError, match=reason):
        encode_tar_record(example)


MANY = settings(deadline=None, max_examples=10_000 if os.environ.get("NODEWISE_TEST_ALL") == "1" else 200)


@MANY
@given(st.data())
def test_any_bytes_end_in_records_or_an_error_of_ours(tmp_path_factory, data):
    path = tmp_path_factory.getbasetemp() / "any.tar"
    content = bytearray(b"".join(map(encode_tar_record, EXAMPLES[:2])) + TAR_END)
    for _ in range(data.draw(st.integers(0, 4))):
        place = data.draw(st.integers(0, len(content) - 1))
        content[place : place + data.draw(st.integers(0, 3))] = data.draw(st.binary(max_size=600))
    path.write_bytes(content)
    read_until_damage(path)
    try:
        spans = list(locate_tar_records(path))
    except CorruptFileError:
        return
    assert all(0 <= offset < offset + length <= len(content) for offset, length in spans)


@MANY
@given(st.binary(max_size=1200))
def test_any_record_bytes_end_in_an_example_or_its_error(record):
    try:
        decode_tar_record(record)
    except ExampleError:
        return
