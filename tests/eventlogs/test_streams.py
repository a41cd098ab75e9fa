from __future__ import annotations

import random
import resource
from pathlib import Path

import pytest

from nodewise.core.errors import InputError
from nodewise.eventlogs.streams import DamagedError, read_chunks

from .small_logs import CODECS, as_lines, lz4_blocks, pack, small_application, snappy_blocks

CONTENT = as_lines(small_application())
PACKED = [codec for codec in CODECS if codec != "plain"]


def read_all(path: Path) -> tuple[bytes, str | None]:
    """What can be had, and what was wrong with the rest."""
    content = b""
    try:
        for chunk in read_chunks(path):
            content += chunk
    except DamagedError as damage:
        return content, str(damage)
    return content, None


@pytest.mark.parametrize("codec", CODECS)
def test_a_file_is_unpacked_whatever_its_name(codec: str, tmp_path: Path) -> None:
    file = tmp_path / "application.lzf"
    file.write_bytes(pack(codec, CONTENT))

    assert read_all(file) == (CONTENT, None)


@pytest.mark.parametrize("codec", CODECS)
def test_files_joined_end_to_end_are_one(codec: str, tmp_path: Path) -> None:
    file = tmp_path / "log"
    file.write_bytes(pack(codec, CONTENT) + pack(codec, CONTENT))

    assert read_all(file) == (CONTENT * 2, None)


@pytest.mark.parametrize("codec", CODECS)
def test_it_is_told_how_much_of_the_file_was_read(codec: str, tmp_path: Path) -> None:
    file = tmp_path / "log"
    file.write_bytes(pack(codec, CONTENT))
    steps: list[int] = []

    for _ in read_chunks(file, steps.append):
        pass

    assert sum(steps) == file.stat().st_size
    assert min(steps) >= 0


@pytest.mark.parametrize("codec", PACKED)
def test_of_a_file_that_was_cut_off_all_is_read_that_is_there(codec: str, tmp_path: Path) -> None:
    # Does not pack well, so that every codec has written something by half of it; longer than a piece.
    content = random.Random(7).randbytes(700_000).hex().encode()
    packed = pack(codec, content)
    file = tmp_path / "log"
    file.write_bytes(packed[: len(packed) // 2])

    read, damage = read_all(file)

    assert content.startswith(read)
    # The block of 128 KiB (zstd) or 64 KiB (LZ4) that is cut through is lost, and no more.
    assert len(read) > len(content) / 2 - 2 * 131_072
    assert damage


@pytest.mark.parametrize("codec", ["lz4 blocks", "snappy blocks"])
def test_blocks_are_read_up_to_a_cut_at_every_byte(codec: str, tmp_path: Path) -> None:
    packed = pack(codec, CONTENT)
    file = tmp_path / "log"
    for cut in range(8, len(packed), 97):
        file.write_bytes(packed[:cut])

        read, _ = read_all(file)

        assert CONTENT.startswith(read)


@pytest.mark.parametrize("codec", PACKED)
def test_damage_never_raises_anything_else(codec: str, tmp_path: Path) -> None:
    packed = pack(codec, CONTENT)
    file = tmp_path / "log"
    draw = random.Random(5)
    for _ in range(60):
        damaged = bytearray(packed)
        for _ in range(3):
            damaged[draw.randrange(8, len(packed))] = draw.randrange(256)
        file.write_bytes(damaged)

        read, _ = read_all(file)

        assert len(read) < 1 << 24


def test_a_block_that_claims_to_be_huge_is_not_believed(tmp_path: Path) -> None:
    file = tmp_path / "log"
    lz4, snappy = bytearray(lz4_blocks(CONTENT)), bytearray(snappy_blocks(CONTENT))
    lz4[9:13] = snappy[16:20] = b"\x7f\xff\xff\xff"

    for damaged in (lz4, snappy):
        file.write_bytes(damaged)
        read, damage = read_all(file)
        assert (read, bool(damage)) == (b"", True)


def test_a_bomb_is_handed_on_in_small_pieces(tmp_path: Path) -> None:
    file = tmp_path / "log"
    file.write_bytes(pack("zstd", bytes(1 << 26)))
    assert file.stat().st_size < 1 << 14
    before_kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss

    sizes = [len(chunk) for chunk in read_chunks(file)]

    assert (sum(sizes), max(sizes)) == (1 << 26, 1 << 18)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before_kib < 40 * 1024


def test_lzf_is_refused_with_a_way_out(tmp_path: Path) -> None:
    file = tmp_path / "log"
    file.write_bytes(b"ZV\x01\x00\x10" + bytes(16))

    with pytest.raises(InputError, match="packed with LZF") as refused:
        list(read_chunks(file))

    assert "zstd" in str(refused.value.hint)


def test_a_file_that_is_gone_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"log cannot be read: No such file"):
        list(read_chunks(tmp_path / "log"))
