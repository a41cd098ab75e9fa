"""TFRecord framing."""

import io
import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nodewise.core.errors import CorruptFileError
from nodewise.data.records import MAX_RECORD_BYTES, frame_record, read_records, write_record

PAYLOADS = [b"first", b"", b"third record"]


def write_three(path):
    with path.open("wb") as stream:
        return [write_record(stream, payload) for payload in PAYLOADS]


def read_until_damage(path):
    found = []
    reader = read_records(path)
    try:
        while (payload := next(reader, None)) is not None:
            found.append(payload)
    except CorruptFileError as error:
        return found, error
    return found, None


def test_record_of_known_bytes():
    # Written by TensorFlow 2.21: tf.io.TFRecordWriter(...).write(b"abc").
    assert frame_record(b"abc").hex() == "0300000000000000" + "b099490e" + b"abc".hex() + "6e57f121"


def test_written_bytes_are_returned(tmp_path):
    assert write_three(tmp_path / "a") == [21, 16, 28]
    assert (tmp_path / "a").stat().st_size == 65


@settings(deadline=None)
@given(payloads=st.lists(st.binary(max_size=300), max_size=5))
def test_any_payloads_come_back(tmp_path_factory, payloads):
    path = tmp_path_factory.mktemp("records") / "a"
    path.write_bytes(b"".join(map(frame_record, payloads)))
    assert list(read_records(path)) == payloads


def test_cut_at_every_byte_is_found_after_the_whole_records(tmp_path):
    path = tmp_path / "a"
    lengths = write_three(path)
    whole = path.read_bytes()
    starts = [0, lengths[0], lengths[0] + lengths[1], len(whole)]
    for cut in range(len(whole)):
        path.write_bytes(whole[:cut])
        found, error = read_until_damage(path)
        complete = sum(end <= cut for end in starts[1:])
        assert found == PAYLOADS[:complete]
        if cut in starts:
            assert error is None  # no record is damaged; the count in a shard's name tells that some are missing
        else:
            assert (error.record, error.offset) == (complete, starts[complete])
            assert str(path) in error.message


@pytest.mark.parametrize("byte", [0, 7, 8, 11, 12, 16, 17, 20])
@pytest.mark.parametrize("bit", [0, 7])
def test_flipped_bit_is_found_in_every_field_of_the_middle_record(tmp_path, byte, bit):
    path = tmp_path / "a"
    damaged = bytearray(frame_record(b"first"))
    damaged[byte] ^= 1 << bit
    path.write_bytes(frame_record(b"zeroth") + damaged + frame_record(b"last"))
    found, error = read_until_damage(path)
    assert found == [b"zeroth"]
    assert (error.record, error.offset) == (1, 22)
    assert "checksum" in error.reason


@pytest.mark.parametrize("length", [MAX_RECORD_BYTES + 1, 2**63, 1000])
def test_length_that_its_checksum_confirms_is_not_believed(tmp_path, length):
    packed = struct.pack("<Q", length)
    crc = frame_record(packed)[-4:]  # the masked CRC of the payload, which here is the length
    path = tmp_path / "a"
    path.write_bytes(packed + crc + b"x" * 100)
    found, error = read_until_damage(path)
    assert found == []
    assert str(length) in error.reason


def test_payload_beyond_the_limit_is_not_written():
    class Huge(bytes):
        def __len__(self):
            return MAX_RECORD_BYTES + 1

    stream = io.BytesIO()
    with pytest.raises(ValueError, match="longer than"):
        write_record(stream, Huge())
    assert stream.getvalue() == b""


def test_missing_file_and_folder_are_errors_of_their_path(tmp_path):
    with pytest.raises(CorruptFileError, match="cannot be opened"):
        list(read_records(tmp_path / "none"))
    with pytest.raises(CorruptFileError, match="Is a directory"):
        list(read_records(tmp_path))
