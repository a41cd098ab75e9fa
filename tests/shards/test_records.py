"""TFRecord framing."""

import io
import itertools
import os
import struct

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nodewise.core.errors import CorruptFileError
from nodewise.shards.records import (
    MAX_RECORD_BYTES,
    PAYLOAD_START,
    PAYLOAD_STOP,
    check_frame,
    frame_record,
    locate_frames,
    read_records,
    write_record,
)

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


def test_every_flipped_bit_of_the_middle_record_is_found(tmp_path):
    path = tmp_path / "a"
    good = frame_record(b"first")
    for byte, bit in itertools.product(range(len(good)), range(8)):
        damaged = bytearray(good)
        damaged[byte] ^= 1 << bit
        path.write_bytes(frame_record(b"zeroth") + damaged + frame_record(b"last"))
        found, error = read_until_damage(path)
        assert found == [b"zeroth"]
        assert (error.record, error.offset) == (1, 22)
        assert "checksum" in error.reason
        with pytest.raises(ValueError, match="checksum"):
            check_frame(bytes(damaged))


def test_frames_are_located_without_their_payloads(tmp_path):
    path = tmp_path / "a"
    write_three(path)
    assert list(locate_frames(path)) == [(0, 21), (21, 16), (37, 28)]
    data = bytearray(path.read_bytes())
    data[12] ^= 1
    path.write_bytes(data)
    assert list(locate_frames(path)) == [(0, 21), (21, 16), (37, 28)]
    data[21] ^= 1
    path.write_bytes(data)
    frames = locate_frames(path)
    assert next(frames) == (0, 21)
    with pytest.raises(CorruptFileError) as caught:
        next(frames)
    assert (caught.value.record, caught.value.offset) == (1, 21)


@pytest.mark.parametrize("payload", [b"", b"x" * 100])
def test_frame_is_checked_in_one_piece_or_several(payload):
    frame = frame_record(payload)
    assert frame[PAYLOAD_START:PAYLOAD_STOP] == payload
    array = np.frombuffer(frame, np.uint8)
    check_frame(frame)
    check_frame(array)
    middle = PAYLOAD_START + len(payload) // 2
    check_frame(array[:PAYLOAD_START], array[PAYLOAD_START:middle], array[middle:])
    for wrong in (frame + b"x", frame[:-1], frame[:15], b""):
        with pytest.raises(ValueError, match=r"ends within|not where the next one begins"):
            check_frame(wrong)


@settings(deadline=None, max_examples=10_000 if os.environ.get("NODEWISE_TEST_ALL") == "1" else 200)
@given(data=st.binary(max_size=120), starts_well=st.booleans())
def test_any_bytes_end_in_records_or_an_error_of_their_file(tmp_path_factory, data, starts_well):
    path = tmp_path_factory.getbasetemp() / "any-records"
    path.write_bytes(frame_record(b"good") * starts_well + data)
    found, error = read_until_damage(path)
    assert found[:1] == [b"good"] * starts_well
    assert error is not None or b"".join(map(frame_record, found)) == path.read_bytes()


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
