"""Downloading, against a real server on this machine."""

import contextlib
import functools
import hashlib
import http.server
import re
import socket
import threading

import pytest

from nodewise.core.errors import DownloadError
from nodewise.data.download import check_file, download

CONTENT = bytes((i * i + i // 7) % 256 for i in range(100_000))
MD5 = "md5:" + hashlib.md5(CONTENT).hexdigest()
SHA256 = "sha256:" + hashlib.sha256(CONTENT).hexdigest()


class Handler(http.server.BaseHTTPRequestHandler):
    """Serves CONTENT. ``script`` says what happens to each request in turn; then all go well."""

    def do_GET(self):
        wanted = self.headers.get("Range")
        self.server.ranges.append(wanted)
        step = self.server.script.pop(0) if self.server.script else "whole"
        start = int(re.fullmatch(r"bytes=(\d+)-", wanted)[1]) if wanted and self.server.supports_range else 0
        if isinstance(step, int):
            self.send_error(step)
            return
        if self.path == "/moved":
            self.send_response(302)
            self.send_header("Location", "/file")
            self.end_headers()
            return
        if start >= len(CONTENT):
            self.send_error(416)
            return
        self.send_response(206 if start else 200)
        if start:
            first = 0 if step == "other range" else start
            self.send_header("Content-Range", f"bytes {first}-{len(CONTENT) - 1}/{len(CONTENT)}")
        body = CONTENT[start:]
        if step != "no length":
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body[: len(body) // 2] if step in ("cut", "no length") else body)

    def log_message(self, *args):
        pass


@pytest.fixture
def server(monkeypatch):
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as running:
        running.script, running.ranges, running.supports_range = [], [], True
        running.url = f"http://127.0.0.1:{running.server_port}/file"
        thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield running
        running.shutdown()
        thread.join()


class Recorder:
    """Collects what a download reports."""

    def __init__(self):
        self.stages, self.steps = [], 0

    def stage(self, name, total=None):
        self.stages.append((name, total))
        self.steps = 0

    def advance(self, steps=1, detail=""):
        self.steps += steps

    def done(self, detail=""):
        pass


fetch = functools.partial(download, size=len(CONTENT), checksum=SHA256, pause_s=0.01)


def files(folder):
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize("checksum", [MD5, SHA256, None])
def test_file_arrives_whole(tmp_path, server, checksum):
    target = tmp_path / "new" / "set.tgz"
    assert download(server.url, target, size=len(CONTENT), checksum=checksum) == target
    assert target.read_bytes() == CONTENT
    assert files(target.parent) == ["set.tgz"]
    assert server.ranges == [None]


def test_progress_is_in_bytes(tmp_path, server):
    (tmp_path / "a.part").write_bytes(CONTENT[:300])
    recorder = Recorder()
    fetch(server.url, tmp_path / "a", progress=recorder)
    assert recorder.stages == [("download a", 100_000)]
    assert recorder.steps == 100_000


def test_redirect_is_followed(tmp_path, server):
    fetch(server.url.replace("/file", "/moved"), tmp_path / "a")
    assert (tmp_path / "a").read_bytes() == CONTENT


@pytest.mark.parametrize("cut", ["cut", "no length"])
def test_broken_connection_is_taken_up_where_it_stopped(tmp_path, server, cut):
    server.script = [cut, cut]
    fetch(server.url, tmp_path / "a")
    assert (tmp_path / "a").read_bytes() == CONTENT
    assert server.ranges == [None, "bytes=50000-", "bytes=75000-"]


def test_later_call_goes_on_where_the_first_one_failed(tmp_path, server):
    server.script = ["cut"] * 3
    with pytest.raises(DownloadError, match=r"tried 3 times"):
        fetch(server.url, tmp_path / "a")
    assert files(tmp_path) == ["a.part"]
    fetch(server.url, tmp_path / "a")
    assert server.ranges[-1] == "bytes=87500-"
    assert (tmp_path / "a").read_bytes() == CONTENT


def test_server_without_ranges_starts_again(tmp_path, server):
    server.supports_range = False
    server.script = ["cut"]
    fetch(server.url, tmp_path / "a")
    assert server.ranges == [None, "bytes=50000-"]
    assert (tmp_path / "a").read_bytes() == CONTENT


def test_part_that_is_longer_than_the_file_starts_again(tmp_path, server):
    (tmp_path / "a.part").write_bytes(b"x" * 200_000)
    fetch(server.url, tmp_path / "a")
    assert server.ranges == ["bytes=200000-", None]
    assert (tmp_path / "a").read_bytes() == CONTENT


def test_server_that_sends_another_range_is_not_believed(tmp_path, server):
    (tmp_path / "a.part").write_bytes(CONTENT[:10])
    server.script = ["other range"]
    fetch(server.url, tmp_path / "a")
    assert (tmp_path / "a").read_bytes() == CONTENT


def test_whole_part_is_not_fetched_again(tmp_path, server):
    (tmp_path / "a.part").write_bytes(CONTENT)
    fetch(server.url, tmp_path / "a")
    assert server.ranges == []
    assert (tmp_path / "a").read_bytes() == CONTENT


@pytest.mark.parametrize("status", [429, 500, 503])
def test_busy_server_is_asked_again(tmp_path, server, status):
    server.script = [status, status]
    fetch(server.url, tmp_path / "a")
    assert len(server.ranges) == 3


@pytest.mark.parametrize("status", [403, 404])
def test_refusal_is_final(tmp_path, server, status):
    server.script = [status]
    with pytest.raises(DownloadError, match=f"the server answered {status} [A-Z][A-Za-z ]+$") as caught:
        fetch(server.url, tmp_path / "a")
    assert len(server.ranges) == 1
    assert server.url in caught.value.message
    assert str(tmp_path / "a") in caught.value.hint


@pytest.mark.parametrize(
    "published", [{"checksum": "md5:" + "0" * 32}, {"checksum": "sha256:" + "0" * 64}, {"size": 99_999}], ids=str
)
def test_other_content_is_removed(tmp_path, server, published):
    with pytest.raises(DownloadError, match="not the published file") as caught:
        fetch(server.url, tmp_path / "a", **published)
    assert files(tmp_path) == []
    assert str(tmp_path / "a") in caught.value.hint


def test_part_of_another_file_is_removed_in_the_end(tmp_path, server):
    (tmp_path / "a.part").write_bytes(b"x" * 50_000)
    with pytest.raises(DownloadError, match="not the published file: sha256"):
        fetch(server.url, tmp_path / "a")
    assert files(tmp_path) == []


def test_without_server_the_error_says_what_was_tried_and_what_to_do(tmp_path):
    with contextlib.closing(socket.socket()) as taken:
        taken.bind(("127.0.0.1", 0))  # nobody listens
        url = f"http://127.0.0.1:{taken.getsockname()[1]}/set.tgz"
        with pytest.raises(DownloadError, match=r"refused.*\(tried 3 times\)") as caught:
            fetch(url, tmp_path / "set.tgz")
    assert caught.value.message.startswith(url)
    assert caught.value.hint.endswith(f"put it at {tmp_path / 'set.tgz'}")


def test_address_that_makes_no_sense_is_a_download_error(tmp_path):
    with pytest.raises(DownloadError, match="could not be fetched"):
        fetch("nonsense://x/y", tmp_path / "a")


def test_check_file_says_what_differs(tmp_path):
    path = tmp_path / "a"
    path.write_bytes(b"abc")
    assert check_file(path, size=3, checksum="md5:900150983cd24fb0d6963f7d28e17f72") is None
    assert check_file(path, size=1234, checksum=None) == "3 bytes instead of 1,234"
    assert check_file(path, size=None, checksum="md5:0").startswith("md5 900150983cd24fb0d6963f7d28e17f72 instead")
