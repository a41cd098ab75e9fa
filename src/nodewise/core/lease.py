"""One writer per folder: a lease that is renewed while its owner lives, and numbered so that an old owner is refused.

A lease is a file ``.lease-<number>`` in the folder, made with ``O_EXCL``, so that of two contenders one gets it. Who
finds one that was not renewed for :data:`LEASE_S` seconds (its owner is dead, stopped or cut off) makes the next number
and takes over. Before each commit the owner looks whether its own lease still stands and is the last: the fencing token
of Burrows, "The Chubby lock service" (OSDI 2006), section 2.4, with the check on the owner's side, as a file system
offers no other. What remains is the moment between that look and the rename.
"""

from __future__ import annotations

import json
import os
import re
import threading
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from nodewise.core.errors import FolderInUseError, LeaseLostError
from nodewise.core.files import disk_full_named
from nodewise.core.owner import Owner

__all__ = ["LEASE_S", "Lease", "hold_folder"]

LEASE_S = 30.0
"""Seconds after which a lease that was not renewed may be taken over."""

_NAME = re.compile(r"\.lease-(\d+)")
_BEGINNER = "another run that began in this moment"


@dataclass(frozen=True, slots=True)
class Lease:
    """What a worker needs to know in order to ask whether it may still commit; picklable."""

    folder: Path
    number: int
    owner: str

    @property
    def path(self) -> Path:
        return self.folder / f".lease-{self.number}"

    def is_held(self) -> bool:
        """Whether no other run has taken the folder over."""
        return _owner_of(self.path) == self.owner and not (self.folder / f".lease-{self.number + 1}").exists()

    def check(self) -> None:
        """To be called directly before every commit.

        Raises:
            LeaseLostError: Another run has taken the folder over.
        """
        if not self.is_held():
            raise LeaseLostError(
                f"{self.folder}: another run took this folder over, since this one did not answer for {LEASE_S:.0f} s",
                hint="nothing more was written by this run; start it again if its result is still wanted",
            )


@contextmanager
def hold_folder(folder: Path) -> Iterator[Lease]:
    """Hold a folder, which is made if need be, for the length of the block; a thread renews the lease.

    Raises:
        FolderInUseError: Another run holds it; the message says who. Known within one second.
        DiskFullError: There is no space even for the lease.
    """
    with disk_full_named(folder):
        folder.mkdir(parents=True, exist_ok=True)
        lease = _acquire(folder)
    over = threading.Event()
    keeper = threading.Thread(target=_renew, args=(lease, over), name="renew-lease", daemon=True)
    keeper.start()
    try:
        yield lease
    finally:
        over.set()
        keeper.join()
        if lease.is_held():
            lease.path.unlink(missing_ok=True)


def _acquire(folder: Path) -> Lease:
    held = sorted(int(match[1]) for path in folder.iterdir() if (match := _NAME.fullmatch(path.name)))
    number = held[-1] if held else 0
    if held:
        _refuse_if_held(folder, folder / f".lease-{number}")
    lease = Lease(folder, number + 1, uuid.uuid4().hex)
    try:
        with lease.path.open("x") as stream:
            json.dump({"owner": lease.owner, **asdict(Owner.current())}, stream)
    except FileExistsError:
        raise FolderInUseError(folder, _BEGINNER) from None
    except OSError:
        lease.path.unlink(missing_ok=True)
        raise
    for old in held:
        (folder / f".lease-{old}").unlink(missing_ok=True)
    return lease


def _refuse_if_held(folder: Path, path: Path) -> None:
    try:
        text, written_at = path.read_text(), path.stat().st_mtime
    except FileNotFoundError:
        return  # released in this moment
    holder = _BEGINNER
    # A lease without content is being written in this moment, or its writer was killed in such a moment.
    with suppress(ValueError, KeyError):
        facts = json.loads(text)
        owner = Owner(host=facts["host"], pid=facts["pid"], started_at=facts["started_at"])
        if owner.is_gone():
            return
        holder = f"process {owner.pid} on {owner.host}"
    if _now_there(folder) - written_at < LEASE_S:
        raise FolderInUseError(folder, holder)


def _now_there(folder: Path) -> float:
    """The time by the clock that the folder's file times come from, which may be another machine's."""
    probe = folder / f".lease-clock-{uuid.uuid4().hex[:12]}"
    try:
        probe.touch()
        return probe.stat().st_mtime
    finally:
        probe.unlink(missing_ok=True)


def _renew(lease: Lease, over: threading.Event) -> None:
    while not over.wait(LEASE_S / 6):
        # That it is gone, or cannot be reached, is found out at the next commit.
        with suppress(OSError):
            os.utime(lease.path)


def _owner_of(path: Path) -> str | None:
    try:
        owner = json.loads(path.read_text())["owner"]
    except (OSError, ValueError, KeyError):
        return None
    return str(owner)
