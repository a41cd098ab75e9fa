"""What is in the page cache: against what was really read, on real files."""

from __future__ import annotations

import mmap
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from nodewise.core.errors import InputError
from nodewise.data import pagecache
from nodewise.data.pagecache import CacheSnapshot, Extent, device_bytes, drop, warm

MIB = 1 << 20

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the page cache can be looked at on Linux only")


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """8 MiB on the disk, none of it in the page cache; skips where files cannot be dropped."""
    path = tmp_path / "file"
    path.write_bytes(os.urandom(8 * MIB))
    try:
        drop([path])
    except InputError as error:
        pytest.skip(f"{error.message}")
    return path


def read(path: Path, offset: int, length: int) -> None:
    """Read these bytes and, without read-ahead, no others."""
    descriptor = os.open(path, os.O_RDONLY)
    os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_RANDOM)
    for place in range(offset, offset + length, 1 << 16):
        os.pread(descriptor, 1 << 16, place)
    os.close(descriptor)


def about(share: float) -> Any:
    """Five points to either side: the system may drop a page whenever it likes."""
    return pytest.approx(share, abs=0.05)


def fraction(path: Path, offset: int, length: int) -> float | None:
    return CacheSnapshot([path]).cached_fraction([Extent(path, offset, length)])


def test_a_dropped_file_is_not_cached_and_looking_does_not_load_it(file: Path) -> None:
    assert fraction(file, 0, 8 * MIB) == 0.0
    assert fraction(file, 0, 8 * MIB) == 0.0


@pytest.mark.parametrize("warmed", [2, 4, 6])
def test_the_share_of_a_file_that_was_read_is_the_share_that_is_cached(file: Path, warmed: int) -> None:
    shares = []
    # More than once, since a system short of memory may take back what was just read.
    while len(shares) < 3 and shares[-1:] != [about(warmed / 8)]:
        drop([file])
        read(file, 0, warmed * MIB)
        shares.append(fraction(file, 0, 8 * MIB))
    assert shares[-1] == about(warmed / 8), shares


def test_only_the_bytes_asked_for_count(file: Path) -> None:
    read(file, 0, 4 * MIB)
    snapshot = CacheSnapshot([file])
    assert snapshot.cached_fraction([Extent(file, 0, 4 * MIB)]) == about(1.0)
    assert snapshot.cached_fraction([Extent(file, 4 * MIB, 4 * MIB)]) == 0.0
    # 1,000 bytes on either side of the edge, which is the edge of a page too.
    assert snapshot.cached_fraction([Extent(file, 4 * MIB - 1000, 2000)]) == about(0.5)
    # 300 cached bytes and 100 others, within one page each.
    assert snapshot.cached_fraction([Extent(file, 10, 300), Extent(file, 5 * MIB + 10, 100)]) == about(0.75)


def test_several_files_count_by_their_bytes(file: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.write_bytes(bytes(2 * MIB))  # just written, hence cached
    snapshot = CacheSnapshot([file, other])
    assert snapshot.cached_fraction([Extent(file, 0, 6 * MIB), Extent(other, 0, 2 * MIB)]) == about(0.25)


def test_a_snapshot_is_of_its_moment(file: Path) -> None:
    snapshot = CacheSnapshot([file])
    warm([file])
    assert snapshot.cached_fraction([Extent(file, 0, MIB)]) == 0.0
    assert fraction(file, 0, 8 * MIB) == about(1.0)


def test_no_bytes_have_no_share_and_an_empty_file_is_no_fault(tmp_path: Path) -> None:
    (tmp_path / "empty").touch()
    snapshot = CacheSnapshot([tmp_path / "empty"])
    assert snapshot.cached_fraction([]) is None
    assert snapshot.cached_fraction([Extent(tmp_path / "empty", 0, 0)]) is None
    assert snapshot.cached_pages == 0


def test_what_was_just_written_can_be_dropped(tmp_path: Path, file: Path) -> None:
    fresh = tmp_path / "fresh"
    fresh.write_bytes(os.urandom(MIB))
    drop([fresh, file])
    assert fraction(fresh, 0, MIB) == 0.0
    assert fresh.stat().st_size == MIB


def test_files_in_memory_cannot_be_dropped() -> None:
    if not Path("/dev/shm").is_dir():
        pytest.skip("no /dev/shm")
    path = Path("/dev/shm") / f"nodewise-test-{os.getpid()}"
    try:
        path.write_bytes(bytes(3 * 4096))
        with pytest.raises(InputError, match=r"cannot drop the page cache for .*: 3 pages stay"):
            drop([path])
    finally:
        path.unlink()


def test_a_mapped_page_cannot_be_dropped(file: Path) -> None:
    with file.open("rb") as stream, mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as mapped:
        assert len(mapped[:1]) == 1
        with pytest.raises(InputError, match="cannot drop"):
            drop([file])


@pytest.mark.parametrize("why", ["somebody else's file", "another system"])
def test_what_the_kernel_does_not_tell_is_not_guessed(file: Path, monkeypatch: pytest.MonkeyPatch, why: str) -> None:
    if why == "another system":
        monkeypatch.setattr(pagecache, "_mincore", lambda: None)
    else:
        # To a user who neither owns the file nor may write it the kernel says that all of it is cached.
        monkeypatch.setattr(os, "geteuid", lambda: file.stat().st_uid + 1)
        monkeypatch.setattr(os, "access", lambda *_: False)
    snapshot = CacheSnapshot([file])
    assert snapshot.cached_fraction([Extent(file, 0, MIB)]) is None
    assert snapshot.cached_pages is None
    with pytest.raises(InputError, match="cannot tell what is in the page cache"):
        drop([file])


def test_device_bytes_are_those_that_were_not_cached(file: Path) -> None:
    before = device_bytes()
    if before is None:
        pytest.skip("the system does not tell what a process read from the device")
    read(file, 0, 2 * MIB)
    read(file, 0, 2 * MIB)
    after = device_bytes()
    assert after is not None
    if after == before:
        pytest.skip("this file system does not account for what it reads")
    assert after - before == 2 * MIB


def test_device_bytes_include_those_of_children(file: Path) -> None:
    before = device_bytes()
    if before is None:
        pytest.skip("the system does not tell what a process read from the device")
    code = "import sys; open(sys.argv[1], 'rb').read(); print(flush=True); input()"
    command = [sys.executable, "-c", code, str(file)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        child.stdout.readline()
        alive = device_bytes()
        child.communicate("\n")
    ended = device_bytes()
    assert alive is not None
    assert ended is not None
    if alive == before:
        pytest.skip("this file system does not account for what it reads")
    assert alive - before >= 8 * MIB
    assert ended - before >= 8 * MIB


def test_device_bytes_are_none_where_nobody_tells(monkeypatch: pytest.MonkeyPatch) -> None:
    def absent(_pid: int) -> int:
        raise FileNotFoundError

    monkeypatch.setattr(pagecache, "_read_bytes", absent)
    assert device_bytes() is None
