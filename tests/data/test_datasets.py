"""Named data sets, and what a source stands for."""

import dataclasses
import functools
import http.server
import io
import os
import pickle
import tarfile
import threading

import numpy as np
import pytest
from PIL import Image

from nodewise.core.errors import CorruptFileError, DownloadError, SourceError, UnknownNameError
from nodewise.data import datasets
from nodewise.data.datasets import fetch, list_datasets, resolve_source
from nodewise.data.sources import open_source
from nodewise.images.codecs import encode_png


def make_cifar_archive(path):
    data = pickle.dumps({b"data": np.zeros((2, 3072), np.uint8), b"labels": [1, 2]}, 2)
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w:gz") as tar:
        for name in ("data_batch_1", "test_batch"):
            info = tarfile.TarInfo(f"cifar-10-batches-py/{name}")
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return path


def make_photos(folder):
    (folder / "daisy").mkdir(parents=True)
    (folder / "daisy" / "1.png").write_bytes(encode_png(np.zeros((4, 4, 3), np.uint8)))
    return folder


@pytest.fixture
def home(tmp_path):
    return tmp_path / "datasets"


@pytest.fixture
def published(tmp_path, monkeypatch):
    """A small CIFAR-10 archive on a server of this machine takes the place of the published one."""
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    archive = make_cifar_archive(tmp_path / "www" / "cifar-10-python.tar.gz")

    class Handler(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *args):
            pass

    handler = functools.partial(Handler, directory=archive.parent)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        entry = dataclasses.replace(
            datasets._PUBLISHED["cifar10"],
            url=f"http://127.0.0.1:{server.server_port}/{archive.name}",
            bytes=archive.stat().st_size,
            checksum="sha256:" + datasets.hashlib.sha256(archive.read_bytes()).hexdigest(),
        )
        monkeypatch.setitem(datasets._PUBLISHED, "cifar10", entry)
        yield archive
        server.shutdown()
        thread.join()


def test_catalogue_says_what_is_there(home):
    infos = {info.name: info for info in list_datasets(home)}
    assert list(infos) == ["digits", "cifar10", "flowers"]
    assert not any(info.present for info in infos.values())
    assert (infos["digits"].bytes, infos["cifar10"].bytes, infos["flowers"].bytes) == (0, 170_498_071, 228_813_984)
    assert infos["cifar10"].path == str(home / "cifar-10-python.tar.gz")
    assert all(info.licence and info.description for info in infos.values())
    (home / "digits").mkdir(parents=True)
    (home / "flower_photos.tgz").write_bytes(b"")
    assert [info.present for info in list_datasets(home)] == [True, False, True]


def test_digits_are_written_as_images(home):
    folder = fetch("digits", home)
    assert folder == home / "digits"
    source = open_source(folder)
    assert source.classes == tuple("0123456789")
    assert source.default_size is None
    assert len(source.splits["train"]) == 1797
    # The first five of the set are 0, 1, 2, 3, 4.
    assert all((folder / str(i) / f"000{i}.png").is_file() for i in range(5))
    image = Image.open(folder / "0" / "0000.png")
    # First rows of the set: 0 0 5 13 9 1 0 0 and 0 0 13 15 10 15 5 0, in sixteenths; 5/16 of 255 is 79.7.
    assert (image.mode, image.size) == ("L", (8, 8))
    assert np.array(image)[:2].tolist() == [[0, 0, 80, 207, 143, 16, 0, 0], [0, 0, 207, 239, 159, 239, 80, 0]]
    assert [path.name for path in home.iterdir()] == ["digits"]


def test_digits_are_made_when_asked_for_and_only_once(home, tmp_path):
    folder = resolve_source("digits", home, tmp_path)
    marker = folder / "0" / "0000.png"
    before = marker.stat().st_mtime_ns
    assert resolve_source("digits", home, tmp_path) == folder
    assert marker.stat().st_mtime_ns == before


def test_data_set_is_fetched_and_unpacked(home, tmp_path, published):
    assert fetch("cifar10", home) == home / "cifar-10-python.tar.gz"
    assert (home / "cifar-10-python.tar.gz").read_bytes() == published.read_bytes()
    folder = resolve_source("cifar10", home, tmp_path)
    assert folder.parent == home / "extracted"
    assert folder.name.startswith("cifar-10-python-")
    assert open_source(folder).root == folder / "cifar-10-batches-py"


def test_file_put_there_by_hand_is_used_if_it_is_right(home, published):
    home.mkdir()
    (home / "cifar-10-python.tar.gz").write_bytes(published.read_bytes())
    published.unlink()  # nothing to be fetched
    assert fetch("cifar10", home) == home / "cifar-10-python.tar.gz"


def test_file_put_there_by_hand_that_is_another_one_is_reported_and_kept(home, published):
    home.mkdir()
    (home / "cifar-10-python.tar.gz").write_bytes(b"something else")
    with pytest.raises(DownloadError, match="is not the published file: 14 bytes instead of"):
        fetch("cifar10", home)
    assert (home / "cifar-10-python.tar.gz").read_bytes() == b"something else"


@pytest.mark.parametrize("name", ["cifar10", "flowers"])
def test_data_set_that_was_not_fetched_says_how(home, tmp_path, name):
    with pytest.raises(SourceError, match=f"the data set '{name}' is not on this machine") as caught:
        resolve_source(name, home, tmp_path)
    assert f"nodewise datasets fetch {name}" in caught.value.hint
    assert str(home) in caught.value.hint


def test_unknown_name_has_near_ones(home):
    with pytest.raises(UnknownNameError, match="unknown data set 'cifar-10'") as caught:
        fetch("cifar-10", home)
    assert caught.value.hint == "did you mean 'cifar10'?"


def test_folder_is_returned_as_it_is(home, tmp_path):
    photos = make_photos(tmp_path / "photos")
    assert resolve_source("photos", home, tmp_path) == photos
    assert resolve_source(str(photos), home, tmp_path / "elsewhere") == photos
    assert not home.exists()


def test_name_means_the_data_set_and_dot_slash_the_folder(home, tmp_path):
    make_photos(tmp_path / "digits")
    assert resolve_source("digits", home, tmp_path) == home / "digits"
    assert resolve_source("./digits", home, tmp_path) == tmp_path / "digits"


def test_archive_is_unpacked_once_and_again_when_it_changed(home, tmp_path):
    archive = make_cifar_archive(tmp_path / "my.tar.gz")
    first = resolve_source("my.tar.gz", home, tmp_path)
    marker = first / "marker"
    marker.touch()
    assert resolve_source(str(archive), home, tmp_path / "elsewhere") == first
    assert marker.exists()
    os.utime(archive, ns=(1, 1))
    second = resolve_source("my.tar.gz", home, tmp_path)
    assert second != first
    assert second.name.startswith("my-")
    assert len(second.name) == len("my-") + 12


def test_damaged_archive_leaves_nothing(home, tmp_path):
    archive = make_cifar_archive(tmp_path / "my.tgz")
    archive.write_bytes(archive.read_bytes()[:-20])
    with pytest.raises(CorruptFileError, match=r"my\.tgz"):
        resolve_source("my.tgz", home, tmp_path)
    assert list((home / "extracted").iterdir()) == []


def test_what_is_no_source_is_an_input_error(home, tmp_path):
    with pytest.raises(SourceError, match="cifar-10: no such folder, archive or data set") as caught:
        resolve_source("cifar-10", home, tmp_path)
    assert caught.value.hint == "did you mean 'cifar10'?"
    with pytest.raises(SourceError, match="no such folder") as caught:
        resolve_source("some/where", home, tmp_path)
    assert "digits" in caught.value.hint
    (tmp_path / "notes.txt").write_text("x")
    with pytest.raises(SourceError, match="neither a folder nor an archive"):
        resolve_source("notes.txt", home, tmp_path)
