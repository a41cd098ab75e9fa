"""Where the records of a shard begin."""

import os

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nodewise.core.errors import CorruptFileError
from nodewise.shards.examples import Example
from nodewise.shards.files import write_shards
from nodewise.shards.index import locate_records
from nodewise.shards.names import index_path
from nodewise.shards.records import frame_record

FRAMES = frame_record(b"first"), frame_record(b""), frame_record(b"third record")
SPANS = [[0, 21], [21, 16], [37, 28]]


@pytest.fixture
def shard(tmp_path):
    path = tmp_path / "train-00000-3.tfrec"
    path.write_bytes(b"".join(FRAMES))
    return path


def test_records_are_located_without_an_index(shard):
    found = locate_records(shard)
    assert found.dtype == np.int64
    assert found.tolist() == SPANS


def test_an_index_that_agrees_is_believed(shard):
    # Only an index could know this: the file is damaged where a walk through it would end.
    shard.write_bytes(b"?" * 65)
    index_path(shard).write_text("0 21\n21 16\n37 28\n")
    assert locate_records(shard).tolist() == SPANS


@pytest.mark.parametrize(
    "text",
    [
        "",
        "0 21\n21 16\n",  # ends too early
        "0 21\n21 16\n37 29\n",
        "0 21\n22 15\n37 28\n",  # a gap
        "0 37\n37 28",  # agrees, but not with the records: see the next test
        "0 21\n21 16\n37 28\n65",
        "0 21\n21 1\n22 43\n",  # shorter than any frame
        "21 16\n0 21\n37 28\n",
        "1 20\n21 16\n37 28\n",
        "a b\n",
        "0.5 2\n",
        "99999999999999999999 1\n",
        "-5 70\n",
        "\0\0\0\0",
    ],
)
def test_an_index_that_does_not_agree_with_its_file_is_not_used(shard, text):
    index_path(shard).write_text(text)
    assert locate_records(shard).tolist() in (SPANS, [[0, 37], [37, 28]])
    if text != "0 37\n37 28":
        assert locate_records(shard).tolist() == SPANS


@settings(deadline=None, max_examples=10_000 if os.environ.get("NODEWISE_TEST_ALL") == "1" else 200)
@given(content=st.binary(max_size=40) | st.text(alphabet="0123456789 \n-", max_size=40).map(str.encode))
def test_any_index_gives_spans_that_cover_the_file(tmp_path_factory, content):
    path = tmp_path_factory.getbasetemp() / "any-index.tfrec"
    path.write_bytes(b"".join(FRAMES))
    index_path(path).write_bytes(content)
    spans = locate_records(path)
    assert spans[:, 1].sum() == 65
    assert spans[:, 0].tolist() == [0, *spans[:, 1].cumsum()[:-1].tolist()]


def test_written_index_has_a_line_for_each_frame(tmp_path):
    (shard,) = write_shards(tmp_path, "train", 0, [Example(bytes(length), 0) for length in (5, 0, 300)])
    # An empty image takes 15 bytes, its class 16, its key of 18 letters 31, the message 2 and the frame 16. From 128
    # bytes on each of the four lengths before the image, and that of the message, takes two bytes.
    assert index_path(tmp_path / shard.path).read_text() == "0 85\n85 80\n165 385\n"


def test_records_of_a_tar_are_located(tmp_path):
    images = [b"\xff\xd8" + bytes(length) for length in (0, 510, 511)]
    (shard,) = write_shards(tmp_path, "train", 0, [Example(image, 0) for image in images], shard_format="webdataset")
    # Two headers, the class number in a block, and one or two blocks of the image.
    assert locate_records(tmp_path / shard.path).tolist() == [[0, 2048], [2048, 2048], [4096, 2560]]


def test_empty_and_missing_files(tmp_path):
    empty = tmp_path / "empty.tfrec"
    empty.write_bytes(b"")
    assert locate_records(empty).shape == (0, 2)
    for name in ("none.tfrec", "none.tar"):
        with pytest.raises(CorruptFileError, match="cannot be opened"):
            locate_records(tmp_path / name)
