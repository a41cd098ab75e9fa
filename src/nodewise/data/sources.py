"""Collections of labelled images: folders with a sub-folder per class, and CIFAR-10's batches."""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from nodewise.core.errors import SourceError, SpecError
from nodewise.core.units import format_count
from nodewise.data.image_list import ImageList, ImageRef
from nodewise.data.unpickle import load_cifar_batch, load_class_names
from nodewise.images.codecs import ImageError, image_size
from nodewise.specs.job import Split

__all__ = ["CIFAR10_CLASSES", "DEFAULT_SIZE", "ChangedFileError", "ImageSource", "open_source", "read_image", "select"]

DEFAULT_SIZE = 192
"""Side of the square that photos are brought to, in pixels."""

CIFAR10_CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")

_SMALL_SIDE = 32
_SUFFIXES = (".jpg", ".jpeg", ".png", ".webp")
_SUFFIX = re.compile(rb"\.(jpe?g|png|webp)\Z", re.IGNORECASE)
_BATCH_NAME = re.compile(r"data_batch_\d+")
_NAMES_AT_ONCE = 1 << 16


class ChangedFileError(ImageError):
    """A file that somebody changed while it was read."""


@dataclass(frozen=True, slots=True)
class ImageSource:
    """What is in a collection; no image was read.

    Attributes:
        root: The folder that the refs start from; below the one that was asked for if that one is a mere wrapping.
        classes: Names of the class folders in order of their code points, which is the order of the class numbers; or
            those that CIFAR-10's ``batches.meta`` gives.
        splits: ``train`` always, ``test`` where the source brings one; by class, then by name or by batch and row.
        default_size: Side of the square to bring the images to if nothing else is asked for; None: leave them as they
            are.
    """

    root: Path
    kind: Literal["folder", "cifar10"]
    classes: tuple[str, ...]
    splits: dict[Split, ImageList]
    default_size: int | None


def open_source(path: Path) -> ImageSource:
    """List the images in a folder.

    It is one of: a folder with a sub-folder per class, with JPEG, PNG or WebP files in it (by suffix, in any case); one
    with such folders below ``train`` and ``test``; one with CIFAR-10's Python batches; or a folder that holds one of
    these and no other folder. Hidden files and files beside the class folders are passed over.

    Raises:
        SourceError: The path is missing or no folder, there are no images, a class has none (or is in only one of
            ``train`` and ``test``).
        UnsafeFileError, CorruptFileError: A batch is hostile or damaged.
    """
    if not path.exists():
        raise SourceError(f"{path}: no such folder", hint="`nodewise datasets list` shows data sets that have names")
    if not path.is_dir():
        raise SourceError(f"{path}: not a folder", hint="name the folder that holds the class folders, or an archive")
    root = path
    below = _folders(path)
    if len(below) == 1 and not _batches(path) and _holds_classes(below[0]):
        root = below[0]
    return _open_batches(root) if _batches(root) else _open_folders(root)


def read_image(root: Path, ref: ImageRef) -> bytes | NDArray[np.uint8]:
    """The file of an image, or its pixels (32, 32, 3), read-only, if it is a row of a batch.

    A process keeps the batches that it has read (31 MB each, at most six).

    Raises:
        ImageError: The file cannot be read.
        ChangedFileError: Its length or time of change was another after reading than before.
    """
    try:
        if ref.row is None:
            # Joined as text: a Path costs as much as opening the file.
            return _read_unchanged(f"{root}/{ref.path}")
        path = root / ref.path
        status = path.stat()
    except OSError as error:
        raise ImageError(f"cannot be read: {error.strerror}") from error
    images = _cached_batch(path, status.st_size, status.st_mtime_ns)
    if ref.row >= len(images):
        raise ImageError(f"the batch has only {len(images)} images")
    row: NDArray[np.uint8] = images[ref.row]
    return row


def _read_unchanged(path: str) -> bytes:
    # By descriptor: a file object costs as much again as the reading itself.
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        before = os.fstat(descriptor)
        if not stat.S_ISREG(before.st_mode):
            raise ImageError("cannot be read: not a file")
        # One byte more than there should be, to see whether the file has grown.
        data = os.read(descriptor, before.st_size + 1)
        while 0 < len(data) < before.st_size and (more := os.read(descriptor, before.st_size + 1 - len(data))):
            data += more
        after = os.fstat(descriptor)
    finally:
        os.close(descriptor)
    if len(data) != before.st_size or (after.st_size, after.st_mtime_ns) != (before.st_size, before.st_mtime_ns):
        raise ChangedFileError("changed while it was read")
    return data


def select(source: ImageSource, *, sample: float, test_fraction: float, seed: int) -> dict[Split, ImageList]:
    """Choose the images of a run: a sample, a held-out part, a random order. Both splits are always in the result.

    Each split is sampled on its own, to the nearest whole number. If the source has no test split, ``test_fraction`` of
    each class (to the nearest, at least one image stays) is moved from train to test. The result depends on the images
    and the arguments alone: not on the machine, the file system, or the versions of Python and NumPy.

    Args:
        sample: Share of the images, in (0, 1].
        test_fraction: Share to hold out, in [0, 1).
        seed: At least 0.

    Raises:
        SpecError: An argument is out of its range.
        SourceError: The sample is so small that no image is left.
    """
    if not 0 < sample <= 1:
        raise SpecError(f"sample is {sample}, and must be above 0 and at most 1")
    if not 0 <= test_fraction < 1:
        raise SpecError(f"test_fraction is {test_fraction}, and must be at least 0 and below 1")
    if seed < 0:
        raise SpecError(f"seed is {seed}, and must be at least 0")
    train = _sample(source.splits["train"], sample, seed, stream=0)
    own_test = source.splits.get("test")
    test = _sample(own_test, sample, seed, stream=1) if own_test is not None else train[:0]
    if not len(train) and not len(test):
        total = sum(len(images) for images in source.splits.values())
        largest = max(len(images) for images in source.splits.values())
        raise SourceError(
            f"{source.root}: a sample of {sample} of its {format_count(total)} images takes none",
            hint=f"a sample of {1 / largest:.2g} takes one",
        )
    if own_test is None:
        train, test = _hold_out(train, test_fraction, seed, stream=2)
    return {
        "train": train.take(_shuffled(len(train), seed, stream=3)),
        "test": test.take(_shuffled(len(test), seed, stream=4)),
    }


def _sample(images: ImageList, share: float, seed: int, *, stream: int) -> ImageList:
    ordered = images.in_order()
    chosen = _shuffled(len(ordered), seed, stream=stream)[: _nearest(len(ordered) * share)]
    return ordered.take(np.sort(chosen))


def _hold_out(images: ImageList, fraction: float, seed: int, *, stream: int) -> tuple[ImageList, ImageList]:
    """Split a list that is in order, into lists that are in order."""
    order = _shuffled(len(images), seed, stream=stream)
    is_test = np.zeros(len(images), bool)
    for label in np.unique(images.labels):
        members = order[images.labels[order] == label]
        is_test[members[: min(_nearest(len(members) * fraction), len(members) - 1)]] = True
    return images.take(np.flatnonzero(~is_test)), images.take(np.flatnonzero(is_test))


def _shuffled(length: int, seed: int, *, stream: int) -> NDArray[np.intp]:
    # By raw PCG64 numbers, which NumPy promises never to change (NEP 19); Generator.permutation has no such promise.
    keys = np.random.PCG64(np.random.SeedSequence([seed, stream])).random_raw(length)
    return np.argsort(keys, kind="stable")


def _nearest(value: float) -> int:
    return int(value + 0.5)


def _open_batches(root: Path) -> ImageSource:
    names = _batches(root)
    meta = root / "batches.meta"
    parts: dict[Split, list[ImageList]] = {"train": [], "test": []}
    for name in names:
        _, labels = load_cifar_batch(root / name)
        parts["test" if name == "test_batch" else "train"].append(
            ImageList(
                np.full(len(labels), os.fsencode(name)),
                np.asarray(labels, np.int32),
                np.arange(len(labels), dtype=np.int32),
            )
        )
    splits = {split: ImageList.join(lists) for split, lists in parts.items() if lists}
    return ImageSource(
        root=root,
        kind="cifar10",
        classes=load_class_names(meta) if meta.is_file() else CIFAR10_CLASSES,
        splits=splits,
        default_size=None,
    )


def _batches(folder: Path) -> list[str]:
    """Names of the batch files in a folder; none unless there is one to train on."""
    names = [entry.name for entry in folder.iterdir() if _BATCH_NAME.fullmatch(entry.name) and entry.is_file()]
    if names and (folder / "test_batch").is_file():
        names.append("test_batch")
    return sorted(names)


@lru_cache(maxsize=6)
def _cached_batch(path: Path, _size: int, _modified_ns: int) -> NDArray[np.uint8]:
    images, _ = load_cifar_batch(path)
    images.setflags(write=False)
    return images


def _open_folders(root: Path) -> ImageSource:
    splits: dict[Split, ImageList]
    train, test = root / "train", root / "test"
    if _folders(train) and _folders(test):
        classes = _class_names(train)
        if (test_classes := _class_names(test)) != classes:
            odd = sorted(set(classes) ^ set(test_classes))[0]
            raise SourceError(
                f"{root}: class {odd!r} is in only one of 'train' and 'test'",
                hint="give both the same class folders",
            )
        splits = {"train": _list_images(root, train, classes), "test": _list_images(root, test, classes)}
    else:
        classes = _class_names(root)
        splits = {"train": _list_images(root, root, classes)}
    return ImageSource(
        root=root, kind="folder", classes=classes, splits=splits, default_size=_default_size(root, splits["train"])
    )


def _class_names(folder: Path) -> tuple[str, ...]:
    names = tuple(entry.name for entry in _folders(folder))
    if not names:
        raise SourceError(
            f"{folder}: no images found: there are no class folders",
            hint="put the images into one sub-folder per class, for example daisy/1.jpg and roses/1.jpg",
        )
    return names


def _list_images(root: Path, folder: Path, classes: tuple[str, ...]) -> ImageList:
    parts = []
    for label, name in enumerate(classes):
        paths = _image_paths(root, folder / name)
        if not len(paths):
            raise SourceError(
                f"{folder}: class folder {name!r} holds no images ({', '.join(_SUFFIXES)})",
                hint="put images of the class into it, or remove the folder",
            )
        parts.append(ImageList(paths, np.full(len(paths), label, np.int32)))
    return ImageList.join(parts)


def _image_paths(root: Path, folder: Path) -> NDArray[np.bytes_]:
    """The image files of a folder, relative to ``root``, sorted."""
    prefix = os.fsencode(folder.relative_to(root).as_posix()) + b"/"
    chunks = [np.empty(0, "S1")]
    names: list[bytes] = []
    for name in _image_names(folder):
        names.append(prefix + name)
        if len(names) == _NAMES_AT_ONCE:
            chunks.append(np.array(names, dtype=np.bytes_))
            names.clear()
    chunks.append(np.array(names, dtype=np.bytes_))
    return np.sort(np.concatenate(chunks))


def _default_size(root: Path, images: ImageList) -> int | None:
    for ref in images:
        try:
            return None if max(image_size(root / ref.path)) <= _SMALL_SIDE else DEFAULT_SIZE
        except ImageError:
            continue  # reported when the image is prepared
    return DEFAULT_SIZE


def _holds_classes(folder: Path) -> bool:
    return bool(_batches(folder) or (_folders(folder) and not any(_image_names(folder))))


def _folders(folder: Path) -> list[Path]:
    if not folder.is_dir():
        return []
    return sorted(entry for entry in folder.iterdir() if entry.is_dir() and not _is_hidden(entry))


def _image_names(folder: Path) -> Iterator[bytes]:
    """The image files of a folder, in the file system's order and encoding."""
    with os.scandir(os.fsencode(folder)) as entries:
        for entry in entries:
            if _SUFFIX.search(entry.name) and not entry.name.startswith(b".") and entry.is_file():
                yield entry.name


def _is_hidden(entry: Path) -> bool:
    # macOS adds a folder __MACOSX to every archive that it makes.
    return entry.name.startswith(".") or entry.name == "__MACOSX"
