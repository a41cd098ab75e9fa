"""Fetch one public file, going on where an interrupted attempt stopped."""

from __future__ import annotations

import hashlib
import os
import re
import time
from pathlib import Path

import httpx

from nodewise.core.errors import DownloadError
from nodewise.core.progress import SILENT, Progress
from nodewise.core.units import format_count

__all__ = ["ATTEMPTS", "check_file", "download"]

ATTEMPTS = 3

_TIMEOUT = httpx.Timeout(30.0, connect=10.0)
_TRANSIENT_STATUS = frozenset((408, 425, 429, 500, 502, 503, 504))
_CONTENT_RANGE = re.compile(r"bytes (\d+)-")


class _AttemptError(Exception):
    """This attempt failed; ``transient``: another one may not."""

    def __init__(self, reason: str, *, transient: bool = True) -> None:
        super().__init__(reason)
        self.transient = transient


def download(
    url: str,
    target: Path,
    *,
    size: int | None = None,
    checksum: str | None = None,
    progress: Progress = SILENT,
    pause_s: float = 1.0,
) -> Path:
    """Fetch ``url`` into the file ``target``, which appears only when it is whole and right.

    Until then the bytes are in ``<target>.part``. What an earlier attempt left there is kept, if the server can send
    the rest (status 206); else the file is fetched from its start. Failures that may pass (no connection, a connection
    that breaks, an overloaded server) are tried :data:`ATTEMPTS` times, waiting ``pause_s`` and then twice as long.

    Args:
        size: Length in bytes, if known.
        checksum: ``md5:`` or ``sha256:`` and hexadecimal digits, if known.
    Raises:
        DownloadError: The file could not be fetched (the hint says where to put it by hand), or it is not the published
            one, in which case it was removed.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    part = target.with_name(target.name + ".part")
    failure: Exception | None = None
    for attempt in range(ATTEMPTS):
        if attempt:
            time.sleep(pause_s * 2 ** (attempt - 1))
        try:
            _fetch(url, part, size, progress)
            break
        except _AttemptError as error:
            if not error.transient:
                raise _failed(url, target, str(error)) from error
            failure = error
        except httpx.TransportError as error:
            failure = error
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise _failed(url, target, str(error)) from error
    else:
        reason = f"{str(failure) or type(failure).__name__} (tried {ATTEMPTS} times)"
        raise _failed(url, target, reason) from failure
    mismatch = check_file(part, size=size, checksum=checksum)
    if mismatch:
        part.unlink()
        raise DownloadError(
            f"{url}: what came is not the published file: {mismatch}; it was removed",
            hint=f"try again, or put the right file at {target.absolute()}",
        )
    os.replace(part, target)
    progress.done()
    return target


def check_file(path: Path, *, size: int | None, checksum: str | None) -> str | None:
    """Compare a file with its published length and checksum: None if it is right, else what differs."""
    found = path.stat().st_size
    if size is not None and found != size:
        return f"{format_count(found)} bytes instead of {format_count(size)}"
    if checksum is not None:
        algorithm, _, expected = checksum.partition(":")
        with path.open("rb") as stream:
            digest = hashlib.file_digest(stream, algorithm).hexdigest()
        if digest != expected:
            return f"{algorithm} {digest} instead of {expected}"
    return None


def _fetch(url: str, part: Path, size: int | None, progress: Progress) -> None:
    """One attempt: add to ``part`` until it is whole."""
    have = part.stat().st_size if part.exists() else 0
    if size is not None and have == size:
        return
    # Identity: the bytes are those of the file, also where a server would call .gz an encoding.
    headers = {"Accept-Encoding": "identity"}
    if have:
        headers["Range"] = f"bytes={have}-"
    with httpx.stream("GET", url, headers=headers, follow_redirects=True, timeout=_TIMEOUT) as response:
        if have and response.status_code == httpx.codes.REQUESTED_RANGE_NOT_SATISFIABLE:
            part.unlink()
            raise _AttemptError("the server cannot go on where the last attempt stopped")
        if not response.is_success:
            answer = f"the server answered {response.status_code} {response.reason_phrase}"
            raise _AttemptError(answer, transient=response.status_code in _TRANSIENT_STATUS)
        if not _continues(response, have):
            have = 0
        progress.stage(f"download {part.name.removesuffix('.part')}", total=size)
        progress.advance(have)
        with part.open("ab" if have else "wb") as stream:
            # In the pieces in which they come: if the connection breaks, none of them is lost in a buffer.
            for chunk in response.iter_raw():
                stream.write(chunk)
                have += len(chunk)
                progress.advance(len(chunk))
                if size is not None and have > size:
                    return  # not the file that we want; the check says so
            stream.flush()
            os.fsync(stream.fileno())
    if size is not None and have < size:
        raise _AttemptError(f"the connection ended after {format_count(have)} of {format_count(size)} bytes")


def _continues(response: httpx.Response, have: int) -> bool:
    """Whether the body starts where our part ends; a server may ignore the range, or answer with another one."""
    if response.status_code != httpx.codes.PARTIAL_CONTENT:
        return False
    match = _CONTENT_RANGE.match(response.headers.get("Content-Range", ""))
    if match is None or int(match[1]) != have:
        raise _AttemptError("the server sent another part of the file than was asked for")
    return True


def _failed(url: str, target: Path, reason: str) -> DownloadError:
    return DownloadError(
        f"{url} could not be fetched: {reason}",
        hint=f"check the network and try again, or fetch it elsewhere and put it at {target.absolute()}",
    )
