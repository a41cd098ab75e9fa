"""Unpacking archives, honest and hostile."""

import gzip
import hashlib
import io
import os
import stat
import tarfile
import zipfile
import zlib

import pytest

from nodewise.core.errors import CorruptFileError, SourceError, UnsafeFileError
from nodewise.data import archives
from nodewise.data.archives import archive_stem, extract_archive

FILES = {"set/daisy/1.jpg": b"one", "set/daisy/2.jpg": b"", "set/großer Löwenzahn/3.jpg": b"three" * 500}
TEN_GB = 10 << 30
TAR_MODES = {".tar": "w", ".tar.gz": "w:gz", ".tgz": "w:gz"}


def make_tar(path, entries, mode="w"):
    """Entries: (name, content), or a TarInfo."""
    with tarfile.open(path, mode) as tar:
        for entry in entries:
            if isinstance(entry, tarfile.TarInfo):
                tar.addfile(entry)
                continue
            info = tarfile.TarInfo(entry[0])
            info.size = len(entry[1])
            tar.addfile(info, io.BytesIO(entry[1]))
    return path


def make_zip(path, entries):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as container:
        for name, content in entries:
            container.writestr(name, content)
    return path


def make(path, entries):
    suffix = path.name.removeprefix("set")
    return make_zip(path, entries) if suffix == ".zip" else make_tar(path, entries, TAR_MODES[suffix])


def special(name, kind, target=""):
    info = tarfile.TarInfo(name)
    info.type = kind
    info.linkname = target
    return info


def contents(folder):
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def assert_refused(tmp_path, archive, error, match=None):
    """The archive is refused, and apart from it the folder is as empty as it was."""
    with pytest.raises(error, match=match) as caught:
        extract_archive(archive, tmp_path / "out" / "dest")
    assert str(archive) in caught.value.message
    assert [path.name for path in tmp_path.rglob("*")] in ([archive.name], [archive.name, "out"], ["out", archive.name])


@pytest.fixture(params=[".tar", ".tar.gz", ".tgz", ".zip"])
def archive(tmp_path, request):
    return make(tmp_path / f"set{request.param}", FILES.items())


def test_files_come_out_as_they_were(tmp_path, archive):
    extract_archive(archive, tmp_path / "dest")
    assert contents(tmp_path / "dest") == FILES
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(["dest", archive.name])


def test_folders_and_backslashes_come_out(tmp_path):
    folder = special("./empty", tarfile.DIRTYPE)
    extract_archive(make_tar(tmp_path / "a.tar", [special("./", tarfile.DIRTYPE), folder]), tmp_path / "a")
    assert (tmp_path / "a" / "empty").is_dir()
    extract_archive(make_zip(tmp_path / "b.zip", [("x/", b""), ("x\\y.png", b"1")]), tmp_path / "b")
    assert contents(tmp_path / "b") == {"x/y.png": b"1"}


def test_existing_folder_is_left_as_it_is(tmp_path, archive):
    (tmp_path / "dest").mkdir()
    (tmp_path / "dest" / "mine").write_bytes(b"1")
    extract_archive(archive, tmp_path / "dest")
    assert contents(tmp_path / "dest") == {"mine": b"1"}


@pytest.mark.parametrize(
    "name", ["../evil", "/evil", "set/../../evil", "set/..", "..\\evil", "\\evil", "a/b/../../../out/evil"]
)
@pytest.mark.parametrize("suffix", [".tar", ".tgz", ".zip"])
def test_name_outside_of_the_folder_is_refused(tmp_path, name, suffix):
    archive = make(tmp_path / f"set{suffix}", [("set/good.jpg", b"1"), (name, b"2"), ("set/later.jpg", b"3")])
    assert_refused(tmp_path, archive, UnsafeFileError, "lies outside")


@pytest.mark.parametrize("suffix", [".tar", ".tgz"])
@pytest.mark.parametrize("target", ["/etc/passwd", "../..", "good.jpg"])
@pytest.mark.parametrize(
    "kind",
    [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.BLKTYPE, tarfile.FIFOTYPE, b"Z"],
    ids=["symlink", "hard link", "character device", "block device", "fifo", "unknown"],
)
def test_links_and_devices_in_a_tar_are_refused(tmp_path, kind, target, suffix):
    entries = [("set/good.jpg", b"1"), special("set/link", kind, target), ("set/link/x", b"2")]
    assert_refused(tmp_path, make(tmp_path / f"set{suffix}", entries), UnsafeFileError, "a link, a device")


@pytest.mark.parametrize("suffix", [".tar", ".tgz"])
def test_file_with_holes_in_a_tar_is_refused(tmp_path, suffix):
    # Ten gigabytes in a tar of ten kilobytes: a file that is one hole.
    hole = special("set/hole", tarfile.REGTYPE)
    hole.pax_headers = {"GNU.sparse.major": "0", "GNU.sparse.map": "0,0", "GNU.sparse.size": str(10 << 30)}
    archive = make(tmp_path / f"set{suffix}", [hole])
    assert_refused(tmp_path, archive, UnsafeFileError, "a sparse file")


@pytest.mark.parametrize("kind", [stat.S_IFLNK, stat.S_IFCHR, stat.S_IFBLK, stat.S_IFIFO, stat.S_IFSOCK])
def test_links_and_devices_in_a_zip_are_refused(tmp_path, kind):
    link = zipfile.ZipInfo("set/link")
    link.external_attr = (kind | 0o777) << 16
    archive = make_zip(tmp_path / "set.zip", [("set/good.jpg", b"1"), (link, b"/etc/passwd")])
    assert_refused(tmp_path, archive, UnsafeFileError, "a link or a device")


@pytest.mark.parametrize("suffix", [".tgz", ".zip"])
def test_bomb_is_refused_by_what_comes_out(tmp_path, suffix):
    archive = make(tmp_path / f"set{suffix}", [(f"{i}.png", bytes(3_000_000)) for i in range(3)])
    assert_refused(tmp_path, archive, UnsafeFileError, "more than 200 times its own size")


def test_bomb_of_ten_gigabytes_is_refused_before_it_is_written(tmp_path, monkeypatch):
    monkeypatch.setattr(archives, "_write_entry", pytest.fail)
    tgz = tmp_path / "set.tgz"
    piece = gzip.compress(bytes(TEN_GB // 160))
    header = tarfile.TarInfo("set/zeros.png")
    header.size = TEN_GB
    # Members of a gzip file follow one another.
    tgz.write_bytes(gzip.compress(header.tobuf()) + piece * 160 + gzip.compress(bytes(1024)))
    assert_refused(tmp_path, tgz, UnsafeFileError, "more than 200 times its own size")
    tgz.unlink()

    packer = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    piece = packer.compress(bytes(TEN_GB // 160)) + packer.flush(zlib.Z_FULL_FLUSH)
    archive = tmp_path / "set.zip"
    with zipfile.ZipFile(archive, "w") as container:
        container.writestr("set/zeros.png", piece * 160 + packer.flush())
        # Stored as it is; the directory says that it was packed.
        (info,) = container.infolist()
        info.compress_type, info.file_size = zipfile.ZIP_DEFLATED, TEN_GB
    assert_refused(tmp_path, archive, UnsafeFileError, "more than 200 times its own size")


@pytest.mark.parametrize("name", [b"", b"set/0001.png"], ids=["no names", "names"])
def test_zip_of_a_million_entries_is_refused_before_it_is_written(tmp_path, monkeypatch, name):
    monkeypatch.setattr(archives, "_write_entry", pytest.fail)
    directory = (b"PK\1\2" + bytes(24) + len(name).to_bytes(2, "little") + bytes(16) + name) * 1_000_000
    sizes = len(directory).to_bytes(4, "little") + bytes(6)
    archive = tmp_path / "set.zip"
    archive.write_bytes(directory + b"PK\5\6" + bytes(4) + b"\xff" * 4 + sizes)
    assert_refused(tmp_path, archive, UnsafeFileError, "more than 500,000 entries")


@pytest.mark.parametrize("suffix", [".tar", ".tgz"])
def test_tar_of_a_million_entries_is_refused(tmp_path, suffix, monkeypatch):
    count = 1_000_000
    if os.environ.get("NODEWISE_TEST_ALL") != "1":
        count //= 500
        monkeypatch.setattr(archives, "MAX_ENTRIES", archives.MAX_ENTRIES // 500)
    archive = tmp_path / f"set{suffix}"
    with archive.open("wb") if suffix == ".tar" else gzip.open(archive, "wb", 1) as stream:
        for number in range(count):
            # Names that do not shrink: each has noise enough that the ratio does not speak first.
            stream.write(tarfile.TarInfo(hashlib.sha256(number.to_bytes(4, "big")).hexdigest()).tobuf())
        stream.write(bytes(1024))
    assert_refused(tmp_path, archive, UnsafeFileError, f"more than {archives.MAX_ENTRIES:,} entries")


def test_bomb_behind_the_end_of_a_tar_is_refused(tmp_path):
    make_tar(tmp_path / "plain.tar", FILES.items())
    archive = tmp_path / "set.tgz"
    archive.write_bytes(gzip.compress((tmp_path / "plain.tar").read_bytes() + bytes(20_000_000)))
    (tmp_path / "plain.tar").unlink()
    assert_refused(tmp_path, archive, UnsafeFileError, "200 times")


def test_zip_that_lies_about_its_sizes_is_refused(tmp_path):
    archive = make_zip(tmp_path / "set.zip", [("a.png", bytes(5_000_000))])
    # Local header and directory say 100 bytes.
    archive.write_bytes(archive.read_bytes().replace((5_000_000).to_bytes(4, "little"), (100).to_bytes(4, "little")))
    assert_refused(tmp_path, archive, CorruptFileError)


@pytest.mark.parametrize("suffix", [".tar", ".zip"])
def test_limits_on_entries_and_bytes(tmp_path, suffix, monkeypatch):
    archive = make(tmp_path / f"set{suffix}", [(f"{i}.png", b"12345") for i in range(11)])
    monkeypatch.setattr(archives, "MAX_ENTRIES", 10)
    assert_refused(tmp_path, archive, UnsafeFileError, "more than 10 entries")
    monkeypatch.setattr(archives, "MAX_ENTRIES", 11)
    monkeypatch.setattr(archives, "MAX_UNPACKED_BYTES", 54)
    assert_refused(tmp_path, archive, UnsafeFileError, "more than 54 B")


def test_header_that_says_it_is_huge_is_not_read(tmp_path):
    info = tarfile.TarInfo("././@LongLink")
    info.type = tarfile.GNUTYPE_LONGNAME
    info.size = 1 << 32
    archive = tmp_path / "set.tar"
    archive.write_bytes(info.tobuf(tarfile.GNU_FORMAT) + bytes(1024))
    assert_refused(tmp_path, archive, UnsafeFileError, "header of 4294967296 bytes")


def test_cut_archive_is_corrupt_at_every_length(tmp_path, archive):
    whole = archive.read_bytes()
    # A tar ends in 1,024 zeros and more padding, which may be missing.
    content = len(whole.rstrip(b"\0")) if archive.suffix == ".tar" else len(whole)
    for cut in [*range(0, content, 61), content - 1]:
        archive.write_bytes(whole[:cut])
        assert_refused(tmp_path, archive, CorruptFileError)


def test_tar_cut_between_two_entries_is_corrupt(tmp_path):
    archive = make_tar(tmp_path / "set.tar", [("a", b"1"), ("b", b"2")])
    archive.write_bytes(archive.read_bytes()[:1024])
    assert_refused(tmp_path, archive, CorruptFileError, "no end-of-archive mark")


def test_damaged_header_does_not_end_a_tar_quietly(tmp_path):
    archive = make_tar(tmp_path / "set.tar", [("a", b"1"), ("b", b"2"), ("c", b"3")])
    damaged = bytearray(archive.read_bytes())
    damaged[1024] ^= 1
    archive.write_bytes(damaged)
    assert_refused(tmp_path, archive, CorruptFileError)


@pytest.mark.parametrize("suffix", [".tgz", ".zip"])
def test_flipped_bit_in_the_data_is_found(tmp_path, suffix):
    noise = bytes((i * i * 7 + i // 3) % 256 for i in range(20_000))
    archive = make(tmp_path / f"set{suffix}", [("a.jpg", noise)])
    damaged = bytearray(archive.read_bytes())
    damaged[len(damaged) // 2] ^= 4
    archive.write_bytes(damaged)
    assert_refused(tmp_path, archive, CorruptFileError)


def test_other_content_under_the_name_of_an_archive_is_corrupt(tmp_path):
    for suffix in (".tar", ".tgz", ".zip"):
        archive = tmp_path / f"set{suffix}"
        archive.write_bytes(b"<html>404</html>" * 100)
        assert_refused(tmp_path, archive, CorruptFileError)
        archive.unlink()


def test_name_that_is_file_and_folder_is_corrupt(tmp_path):
    for suffix in (".tar", ".zip"):
        archive = make(tmp_path / f"set{suffix}", [("a", b"1"), ("a/b", b"2")])
        assert_refused(tmp_path, archive, CorruptFileError, "'a/b' cannot be written")
        archive.unlink()


def test_encrypted_zip_is_an_input_error(tmp_path):
    archive = make_zip(tmp_path / "set.zip", [("a", b"1")])
    damaged = bytearray(archive.read_bytes())
    damaged[6] |= 1  # flags of the local header
    damaged[damaged.index(b"PK\x01\x02") + 8] |= 1  # and of the directory
    archive.write_bytes(damaged)
    assert_refused(tmp_path, archive, SourceError, "encrypted")


def test_missing_file_and_other_suffix_are_input_errors(tmp_path):
    with pytest.raises(SourceError, match="no such file"):
        extract_archive(tmp_path / "none.zip", tmp_path / "dest")
    (tmp_path / "a.rar").write_bytes(b"Rar!")
    with pytest.raises(SourceError, match=r"expected one of \.tar\.gz"):
        extract_archive(tmp_path / "a.rar", tmp_path / "dest")


@pytest.mark.parametrize(
    ("name", "stem"),
    [("flowers.tgz", "flowers"), ("a.b.TAR.GZ", "a.b"), ("x.tar", "x"), ("x.Zip", "x"), ("x.gz", None), ("x", None)],
)
def test_stem_is_the_name_without_the_suffix(tmp_path, name, stem):
    assert archive_stem(tmp_path / name) == stem
