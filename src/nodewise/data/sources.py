"""Collections of labelled images: folders with a sub-folder per class, and CIFAR-10's batches."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Literal, TypeVar

import numpy as np
from numpy.typing import NDArray

from nodewise.core.errors import SourceError, SpecError
from nodewise.core.units import format_count
from nodewise.data.images import ImageError, image_size
from nodewise.data.unpickle import load_cifar_batch, load_class_names
from nodewise.specs.job import Split

__all__ = ["CIFAR10_CLASSES", "DEFAULT_SIZE", "ImageRef", "ImageSource", "open_source", "read_image", "select"]

DEFAULT_SIZE = 192
"""Side of the square that photos are brought to, in pixels."""

CIFAR10_CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")

_SMALL_SIDE = 32
_SUFFIXES = (".jpg", ".jpeg", ".png")
_BATCH_NAME = re.compile(r"data_batch_\d+")
_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class ImageRef:
    """One image: its file, relative to the source's root with ``/`` between folders, and its class number.

    ``row`` is its place in the file where the file is a batch.
    """

    path: str
    label: int
    row: int | None = None


@dataclass(frozen=True, slots=True)
class ImageSource:
    """What is in a collection; no image was read.

    Attributes:
        root: The folder that the refs start from; below the one that was asked for if that one is a mere wrapping.
        splits: ``train`` always, ``test`` where the source brings one; the refs in order of path and row.
        default_size: Side of the square to bring the images to if nothing else is asked for; None: leave them as they
            are.
    """

    root: Path
    kind: Literal["folder", "cifar10"]
    classes: tuple[str, ...]
    splits: dict[Split, list[ImageRef]]
    default_size: int | None


def open_source(path: Path) -> ImageSource:
    """List the images in a folder.

    It is one of: a folder with a sub-folder per class, with JPEG or PNG files in it (by suffix, in any case); one with
    such folders below ``train`` and ``test``; one with CIFAR-10's Python batches; or a folder that holds one of these
    and no other folder. Hidden files and files beside the class folders are passed over.

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
    """
    path = root / ref.path
    try:
        if ref.row is None:
            return path.read_bytes()
        status = path.stat()
    except OSError as error:
        raise ImageError(f"cannot be read: {error.strerror}") from error
    images = _cached_batch(path, status.st_size, status.st_mtime_ns)
    if ref.row >= len(images):
        raise ImageError(f"the batch has only {len(images)} images")
    row: NDArray[np.uint8] = images[ref.row]
    return row


def select(source: ImageSource, *, sample: float, test_fraction: float, seed: int) -> dict[Split, list[ImageRef]]:
    """Choose the images of a run: a sample, a held-out part, a random order. Both splits are always in the result.

    Each split is sampled on its own, to the nearest whole number. If the source has no test split, ``test_fraction`` of
    each class (to the nearest, at least one image stays) is moved from train to test. The result depends on the refs
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
    test_refs = source.splits.get("test")
    train = _sample(source.splits["train"], sample, seed, stream=0)
    test = _sample(test_refs or [], sample, seed, stream=1)
    if not train and not test:
        total = sum(len(refs) for refs in source.splits.values())
        largest = max(len(refs) for refs in source.splits.values())
        raise SourceError(
            f"{source.root}: a sample of {sample} of its {format_count(total)} images takes none",
            hint=f"a sample of {1 / largest:.2g} takes one",
        )
    if test_refs is None:
        train, test = _hold_out(train, test_fraction, seed, stream=2)
    return {"train": _shuffled(train, seed, stream=3), "test": _shuffled(test, seed, stream=4)}


def _sample(refs: Iterable[ImageRef], share: float, seed: int, *, stream: int) -> list[ImageRef]:
    ordered = sorted(refs, key=_place)
    return sorted(_shuffled(ordered, seed, stream=stream)[: _nearest(len(ordered) * share)], key=_place)


def _hold_out(
    refs: list[ImageRef], fraction: float, seed: int, *, stream: int
) -> tuple[list[ImageRef], list[ImageRef]]:
    by_label: dict[int, list[ImageRef]] = {}
    for ref in _shuffled(refs, seed, stream=stream):
        by_label.setdefault(ref.label, []).append(ref)
    train: list[ImageRef] = []
    test: list[ImageRef] = []
    for members in by_label.values():
        held_out = min(_nearest(len(members) * fraction), len(members) - 1)
        test += members[:held_out]
        train += members[held_out:]
    return sorted(train, key=_place), sorted(test, key=_place)


def _shuffled(items: Sequence[_T], seed: int, *, stream: int) -> list[_T]:
    # By raw PCG64 numbers, which NumPy promises never to change (NEP 19); Generator.permutation has no such promise.
    keys = np.random.PCG64(np.random.SeedSequence([seed, stream])).random_raw(len(items))
    return [items[index] for index in np.argsort(keys, kind="stable")]


def _nearest(value: float) -> int:
    return int(value + 0.5)


def _place(ref: ImageRef) -> tuple[str, int]:
    return ref.path, -1 if ref.row is None else ref.row


def _open_batches(root: Path) -> ImageSource:
    names = _batches(root)
    meta = root / "batches.meta"
    splits: dict[Split, list[ImageRef]] = {"train": [], "test": []}
    for name in names:
        _, labels = load_cifar_batch(root / name)
        split: Split = "test" if name == "test_batch" else "train"
        splits[split] += [ImageRef(name, label, row) for row, label in enumerate(labels)]
    if "test_batch" not in names:
        del splits["test"]
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
    splits: dict[Split, list[ImageRef]]
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


def _list_images(root: Path, folder: Path, classes: tuple[str, ...]) -> list[ImageRef]:
    refs = []
    for label, name in enumerate(classes):
        files = _image_names(folder / name)
        if not files:
            raise SourceError(
                f"{folder}: class folder {name!r} holds no images ({', '.join(_SUFFIXES)})",
                hint="put images of the class into it, or remove the folder",
            )
        prefix = (folder / name).relative_to(root).as_posix()
        refs += [ImageRef(f"{prefix}/{file}", label) for file in files]
    return refs


def _default_size(root: Path, refs: list[ImageRef]) -> int | None:
    for ref in refs:
        try:
            return None if max(image_size(root / ref.path)) <= _SMALL_SIDE else DEFAULT_SIZE
        except ImageError:
            continue  # reported when the image is prepared
    return DEFAULT_SIZE


def _holds_classes(folder: Path) -> bool:
    return bool(_batches(folder) or (_folders(folder) and not _image_names(folder)))


def _folders(folder: Path) -> list[Path]:
    if not folder.is_dir():
        return []
    return sorted(entry for entry in folder.iterdir() if entry.is_dir() and not _is_hidden(entry))


def _image_names(folder: Path) -> list[str]:
    return sorted(
        entry.name
        for entry in folder.iterdir()
        if entry.suffix.lower() in _SUFFIXES and not _is_hidden(entry) and entry.is_file()
    )


def _is_hidden(entry: Path) -> bool:
    # macOS adds a folder __MACOSX to every archive that it makes.
    return entry.name.startswith(".") or entry.name == "__MACOSX"
