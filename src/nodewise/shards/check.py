"""Are the shards whole? Every checksum, image, class number and count, and where the first fault of each file is."""

from __future__ import annotations

import os
import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import zip_longest
from pathlib import Path

from nodewise.core.errors import CorruptFileError
from nodewise.core.files import sha256_of
from nodewise.core.progress import SILENT, Progress
from nodewise.core.units import format_count
from nodewise.shards.examples import Example
from nodewise.shards.inspect import ShardFile, ShardFiles, find_shards, label_name
from nodewise.shards.manifest import MANIFEST_NAME, Manifest
from nodewise.shards.names import index_path
from nodewise.shards.pixels import example_pixels
from nodewise.specs.results import CheckResult, FaultyRecord

__all__ = ["check_shards"]

_LINE_BYTES = 64
"""Two numbers of 64 bits and what is around them."""


def check_shards(path: Path, progress: Progress = SILENT) -> CheckResult:
    """Read every byte of the shards at a path, decode every image, and compare all with the manifest.

    ``path`` is a folder of shards or one file. After a fault inside a record whose length is sound (its checksum, its
    image, its class) the next record is looked at; after a fault between records the next file. What merely follows
    from a fault that is listed (a checksum of the file, a count) is not listed again. Without a manifest there are no
    classes, sizes and checksums of files to compare with, which a note to ``progress`` says.

    Runs on all cores of this process, a file to a thread, and holds one record and its pixels in each. The result is
    the same however they take turns: faults stand in order of file and record.

    Raises:
        SourceError: There is no such path, or it holds no shards.
    """
    started = time.perf_counter()
    found = find_shards(path)
    if found.manifest is None:
        progress.note(f"without a {MANIFEST_NAME}, classes, sizes and checksums of files cannot be compared")
    bad = _faults_of_folder(found)
    classes: Counter[str] = Counter()
    counted: dict[str, Counter[str]] = {}
    faulty_splits = set()
    stop = threading.Event()
    progress.stage("check", total=sum(file.num_records or 0 for file in found.files) or None)
    with ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool:
        try:
            for file, findings in zip(found.files, pool.map(_Checker(found.manifest, stop), found.files), strict=True):
                bad += findings.bad
                classes += findings.classes
                counted.setdefault(file.split, Counter()).update(findings.classes)
                if any(fault.path == str(file.path) for fault in findings.bad):
                    faulty_splits.add(file.split)
                progress.advance(file.num_records or 0)
        finally:
            # Whatever interrupts us: the threads end with the record that they are at.
            stop.set()
    if found.manifest is not None and path.is_dir():
        bad += _faults_of_counts(found, found.manifest, counted, faulty_splits)
    seconds = time.perf_counter() - started
    records = classes.total()
    progress.done(f"{format_count(records / seconds)} records/s")
    return CheckResult(
        records=records, bad=tuple(bad), shards=len(found.files), classes=dict(sorted(classes.items())), seconds=seconds
    )


def _faults_of_folder(found: ShardFiles) -> list[FaultyRecord]:
    bad = []
    if found.manifest_fault is not None:
        bad.append(_whole(found.folder / MANIFEST_NAME, found.manifest_fault.reason))
    return bad + [_whole(path, f"{MANIFEST_NAME} does not know this shard") for path in found.unlisted]


def _faults_of_counts(
    found: ShardFiles, manifest: Manifest, counted: dict[str, Counter[str]], faulty_splits: set[str]
) -> Iterator[FaultyRecord]:
    """Counts by class are compared where all shards of a split are whole."""
    for split, by_class in manifest.counts.items():
        if split in faulty_splits:
            continue
        in_shards = counted.get(split, Counter())
        for name in sorted(by_class.keys() | in_shards.keys()):
            said, there = by_class.get(name, 0), in_shards[name]
            if said != there:
                reason = f"counts say {said} of class {name!r} in {split!r}, its shards hold {there}"
                yield _whole(found.folder / MANIFEST_NAME, reason)


@dataclass(slots=True)
class _Findings:
    """What there is in one file: whole records by class, and faults."""

    classes: Counter[str] = field(default_factory=Counter)
    bad: list[FaultyRecord] = field(default_factory=list)


class _Checker:
    """Checks one file after the other; any number of threads may call it."""

    def __init__(self, manifest: Manifest | None, stop: threading.Event) -> None:
        self._manifest = manifest
        self._stop = stop

    def __call__(self, file: ShardFile) -> _Findings:
        findings = _Findings()
        if not file.path.is_file():
            findings.bad.append(_whole(file.path, "is not a file" if file.path.exists() else "is missing"))
            return findings
        records = 0
        try:
            with file.path.open("rb") as stream:
                for record, (offset, length) in enumerate(file.locate()):
                    if self._stop.is_set():
                        return findings
                    records += 1
                    try:
                        example = file.read(stream, offset, length)
                        self._check_example(example)
                    except ValueError as error:
                        findings.bad.append(_fault(file.path, str(error), record, offset))
                    else:
                        findings.classes[label_name(example.label, self._manifest)] += 1
            if not findings.bad:
                findings.bad += _fault_of_file(file, records)
            findings.bad += _fault_of_index(file)
        except OSError as error:
            findings.bad.append(_whole(file.path, f"cannot be read: {error.strerror}"))
        except CorruptFileError as error:
            findings.bad.append(_fault(file.path, error.reason, error.record, error.offset))
        return findings

    def _check_example(self, example: Example) -> None:
        """A ValueError says what is wrong with a record that could be read."""
        if example.label < 0:
            raise ValueError(f"class number {example.label} is negative")
        height, width, _ = example_pixels(example).shape
        if (manifest := self._manifest) is None:
            return
        if example.label >= len(manifest.classes):
            raise ValueError(f"class number {example.label}, but there are only {len(manifest.classes)} classes")
        if (example.shape is not None) != (manifest.encoding == "raw"):
            raise ValueError(f"the image is {'raw pixels' if example.shape else 'a file'}, not {manifest.encoding}")
        if manifest.image is not None:
            expected = manifest.image.get("height"), manifest.image.get("width")
            if (height, width) != expected:
                raise ValueError(f"the image is {width} x {height} pixels instead of {expected[1]} x {expected[0]}")


def _fault_of_index(file: ShardFile) -> Iterator[FaultyRecord]:
    """The first line of the index that does not say where its record is; nothing if there is no index."""
    path = index_path(file.path)
    try:
        with path.open("rb") as stream:
            lines = iter(lambda: stream.readline(_LINE_BYTES), b"")
            for record, (line, span) in enumerate(zip_longest(lines, file.locate())):
                if line is None or span is None:
                    yield _whole(path, f"it has {'fewer' if line is None else 'more'} lines than the shard has records")
                    return
                if line.split() != [b"%d" % number for number in span]:
                    said = line.decode(errors="backslashreplace").rstrip()
                    reason = f"line {record + 1} says {said!r}; the record is at {span[0]}, {span[1]} bytes long"
                    yield _fault(path, reason, record, span[0])
                    return
    except FileNotFoundError:
        return
    except OSError as error:
        yield _whole(path, f"cannot be read: {error.strerror}")


def _fault_of_file(file: ShardFile, records: int) -> Iterator[FaultyRecord]:
    """What is wrong with a file whose records are all whole."""
    expected = file.info.records if file.info else file.num_records
    if expected is not None and records != expected:
        yield _whole(file.path, f"it holds {records} records instead of {expected}")
    elif file.info is not None:
        size = file.path.stat().st_size
        if size != file.info.bytes:
            yield _whole(file.path, f"it is {size} bytes long instead of {file.info.bytes}")
        elif sha256_of(file.path) != file.info.sha256:
            yield _whole(file.path, f"its records are whole, but its SHA-256 is not that of {MANIFEST_NAME}")


def _fault(path: Path, reason: str, record: int | None, offset: int | None) -> FaultyRecord:
    return FaultyRecord(path=str(path), record=record, offset=offset, reason=reason)


def _whole(path: Path, reason: str) -> FaultyRecord:
    return _fault(path, reason, None, None)
