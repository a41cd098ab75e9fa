"""Which readers there are, and what each can read."""

from __future__ import annotations

from pathlib import Path

import pytest

from nodewise.core.errors import UnknownNameError
from nodewise.readers.base import ReadSource
from nodewise.readers.registry import READERS, ReaderKind, find_readers


def source(kind: str, encoding: str | None) -> ReadSource:
    return ReadSource(
        name="x",
        kind=kind,  # type: ignore[arg-type]
        encoding=encoding,
        folder=Path(),
        files=(),
        shape=(8, 8, 3),
    )


def test_all_readers_are_found_or_those_that_are_named_in_one_order() -> None:
    assert [reader.name for reader in find_readers(None)] == ["nodewise", "tf.data", "torch", "webdataset", "ray.data"]
    assert [reader.name for reader in find_readers(("torch", "nodewise"))] == ["nodewise", "torch"]


def test_an_unknown_reader_is_an_error_that_helps() -> None:
    with pytest.raises(UnknownNameError, match="unknown reader 'tfdata'") as caught:
        find_readers(("nodewise", "tfdata"))
    assert caught.value.near[0] == "tf.data"


def test_our_own_reader_needs_nothing_and_reads_everything() -> None:
    own = READERS["nodewise"]
    assert own.missing() is None
    assert own.unfit(source("images", None)) is None
    for kind in ("tfrecord", "webdataset"):
        for encoding in ("jpeg", "png", "webp", "raw", "unchanged"):
            assert own.unfit(source(kind, encoding)) is None


@pytest.mark.parametrize(
    ("name", "kind", "encoding", "reason"),
    [
        ("webdataset", "images", None, "it does not read image files"),
        ("webdataset", "tfrecord", "jpeg", "it does not read TFRecord files"),
        ("tf.data", "webdataset", "jpeg", "it does not read WebDataset tar files"),
        ("torch", "webdataset", "jpeg", "it does not read WebDataset tar files"),
        ("webdataset", "webdataset", "webp", "it does not decode webp records"),
        ("ray.data", "webdataset", "unchanged", "it does not decode unchanged records"),
    ],
)
def test_what_a_reader_cannot_read_is_said(name: str, kind: str, encoding: str | None, reason: str) -> None:
    assert READERS[name].unfit(source(kind, encoding)) == reason


def test_a_package_that_is_not_installed_is_named() -> None:
    reader = ReaderKind(name="x", target="x:X", packages=("sys", "nowhere_to_be_found"), reads={})
    assert reader.missing() == "the package nowhere_to_be_found is not installed"
