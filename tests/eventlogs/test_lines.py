from __future__ import annotations

from pathlib import Path

import pytest

from nodewise.eventlogs import lines
from nodewise.eventlogs.lines import Line, read_lines

from .small_logs import pack


def lines_of(path: Path) -> list[Line]:
    return list(read_lines(path, lambda _: None))


def test_lines_have_numbers_and_empty_ones_are_left_out(tmp_path: Path) -> None:
    file = tmp_path / "log"
    file.write_bytes(b"one\r\n\n  \nfour\nfive without end")

    assert lines_of(file) == [(1, b"one", None), (4, b"four", None), (5, b"five without end", None)]


def test_a_line_may_go_over_many_pieces(tmp_path: Path) -> None:
    file = tmp_path / "log"
    long = b"x" * 1_000_000
    file.write_bytes(b"a\n" + long + b"\nb\n")

    assert [line.content for line in lines_of(file)] == [b"a", long, b"b"]


@pytest.mark.parametrize("end", [b"", b"\nafter\n"])
def test_a_line_that_is_too_long_is_passed_over_without_being_held(
    end: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lines, "MAX_LINE_BYTES", 1 << 20)
    file = tmp_path / "log"
    file.write_bytes(pack("zstd", b"before\n" + b" " * (1 << 26) + end))

    read = lines_of(file)

    assert read[:2] == [(1, b"before", None), (2, b"", "longer than 1 MiB")]
    assert read[2:] == ([(3, b"after", None)] if end else [])


def test_a_cut_in_a_packed_file_is_the_fault_of_its_last_line(tmp_path: Path) -> None:
    file = tmp_path / "log"
    packed = pack("snappy blocks", b"one\ntwo\nthree\n" * 1000)
    file.write_bytes(packed[:-20])

    *whole, last = lines_of(file)

    # The last of 14 blocks of 1024 bytes is lost: 13,312 bytes are 950 times 14 bytes and "one\ntwo\nthre".
    assert len(whole) == 2852
    assert last == (2853, b"", "the file is damaged or cut off here: damaged, or cut off within a block")
