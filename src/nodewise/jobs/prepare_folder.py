"""The folder that ``prepare`` writes into: held by one run at a time, and a run that was cut off can go on."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

from nodewise.core.errors import SourceError
from nodewise.core.files import disk_full_named, write_atomic
from nodewise.core.lease import Lease, hold_folder
from nodewise.jobs.prepare_task import Outcome
from nodewise.shards.files import remove_leftovers
from nodewise.shards.manifest import MANIFEST_NAME, Manifest, write_manifest
from nodewise.shards.names import is_shard_file
from nodewise.specs.results import ShardInfo, SkippedImage

__all__ = ["SKIPPED_NAME", "PrepareFolder", "claim_folder"]

SKIPPED_NAME = "skipped.csv"
JOURNAL_NAME = ".journal.jsonl"


class PrepareFolder:
    """What has been done in the folder, on disk and in memory; made by :func:`claim_folder`.

    Attributes:
        done: Outcomes of the partitions that are done, by split and index.
        num_resumed: How many of them an earlier run had done, which did not come to its end.
    """

    def __init__(self, lease: Lease, fingerprint: str) -> None:
        self.lease = lease
        self.done = _read_journal(lease.folder, fingerprint)
        self.num_resumed = len(self.done)
        if not self.done:
            _clear(lease.folder)
            self._append({"fingerprint": fingerprint})

    @property
    def path(self) -> Path:
        return self.lease.folder

    @property
    def outcomes(self) -> list[Outcome]:
        """Of the partitions that are done, ``train`` before ``test``, then in order of index."""
        return sorted(self.done.values(), key=lambda outcome: (outcome.split != "train", outcome.index))

    @property
    def skipped(self) -> tuple[SkippedImage, ...]:
        """The images that could not be decoded, in that order."""
        return tuple(image for outcome in self.outcomes for image in outcome.skipped)

    def note(self, outcome: Outcome) -> None:
        """Keep what a task has done.

        Raises:
            LeaseLostError: Another run has taken the folder over.
        """
        self.done[outcome.split, outcome.index] = outcome
        self._append(asdict(outcome))

    def finish(self, manifest: Manifest) -> None:
        """Write the manifest, which makes the shards a data set.

        Raises:
            LeaseLostError: Another run has taken the folder over.
        """
        self.write_skipped()
        self.lease.check()
        write_manifest(self.path, manifest)
        (self.path / JOURNAL_NAME).unlink(missing_ok=True)

    def write_skipped(self) -> Path:
        """Write ``skipped.csv`` with the columns path and reason, unless nothing was skipped; returns its path."""
        path = self.path / SKIPPED_NAME
        if skipped := self.skipped:
            text = io.StringIO()
            rows = csv.writer(text, lineterminator="\n")
            rows.writerow(("path", "reason"))
            rows.writerows((image.path, image.reason) for image in skipped)
            write_atomic(path, text.getvalue())
        return path

    def _append(self, value: dict[str, Any]) -> None:
        path = self.path / JOURNAL_NAME
        self.lease.check()
        with disk_full_named(path), path.open("a") as stream:
            stream.write(json.dumps(value) + "\n")


@contextmanager
def claim_folder(dest: Path, fingerprint: str, *, overwrite: bool = False) -> Iterator[PrepareFolder]:
    """Hold the folder and make it ready for new shards, for the length of the block.

    It must be absent, empty, or hold what an earlier ``prepare`` left. Shards without a manifest are those of a run
    that did not end well: if it was the very same job, they are kept and the job goes on, else they are cleared.

    Args:
        fingerprint: Tells a job from every other one.
        overwrite: Clear also a prepared data set, and begin anew.

    Raises:
        SourceError: It holds a prepared data set and ``overwrite`` is not asked for, or it holds other files.
        FolderInUseError: Another run writes into it.
    """
    if dest.exists() and not dest.is_dir():
        raise SourceError(f"{dest} is a file", hint="name a folder for the shards")
    is_new = not dest.exists()
    folder: PrepareFolder | None = None
    try:
        with hold_folder(dest) as lease:
            try:
                remove_leftovers(dest)
                _refuse_foreign(dest)
                if (dest / MANIFEST_NAME).exists() and not overwrite:
                    raise SourceError(
                        f"{dest} holds prepared shards already", hint="name another folder, or use --overwrite"
                    )
                if overwrite:
                    _clear(dest)
                folder = PrepareFolder(lease, fingerprint)
                yield folder
            finally:
                # All but this run's own are else somebody else's.
                is_held = lease.is_held()
                remove_leftovers(dest, "" if is_held else lease.owner)
                if is_held and folder is not None and not folder.done:
                    (dest / JOURNAL_NAME).unlink(missing_ok=True)
    finally:
        # Of a run that came to nothing, not even the folder that it made stays.
        if is_new:
            with suppress(OSError):
                dest.rmdir()


def _is_ours(path: Path) -> bool:
    return path.name in (MANIFEST_NAME, SKIPPED_NAME, JOURNAL_NAME) or is_shard_file(path.name)


def _refuse_foreign(dest: Path) -> None:
    others = sorted(path.name for path in _visible(dest) if not _is_ours(path))
    if others:
        raise SourceError(f"{dest} holds other files, such as {others[0]}", hint="name an empty or a new folder")


def _visible(dest: Path) -> Iterable[Path]:
    return (path for path in dest.iterdir() if not path.name.startswith(".lease-"))


def _clear(dest: Path) -> None:
    # The manifest first: without it, what is left is no data set.
    for path in sorted(_visible(dest), key=lambda path: path.name != MANIFEST_NAME):
        path.unlink(missing_ok=True)


def _read_journal(dest: Path, fingerprint: str) -> dict[tuple[str, int], Outcome]:
    """What an unfinished run of the same job has done, as far as its shards are still there."""
    outcomes: dict[tuple[str, int], Outcome] = {}
    try:
        lines = (dest / JOURNAL_NAME).read_text().split("\n")
    except OSError:
        return outcomes
    if lines[0] != json.dumps({"fingerprint": fingerprint}):
        return outcomes
    for line in lines[1:]:
        # The last line may have been cut off.
        with suppress(ValueError, KeyError, TypeError, OSError):
            outcome = _outcome_of(json.loads(line))
            if all((dest / shard.path).stat().st_size == shard.bytes for shard in outcome.shards):
                outcomes[outcome.split, outcome.index] = outcome
    return outcomes


def _outcome_of(value: dict[str, Any]) -> Outcome:
    return Outcome(
        split=value["split"],
        index=value["index"],
        shards=tuple(ShardInfo(**shard) for shard in value["shards"]),
        counts=tuple(value["counts"]),
        shapes=tuple((height, width) for height, width in value["shapes"]),
        skipped=tuple(SkippedImage(**image) for image in value["skipped"]),
    )
