"""Lists of images that may be millions long: arrays, never an object per image."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import repeat
from typing import overload

import numpy as np
from numpy.typing import NDArray

__all__ = ["ImageList", "ImageRef"]


@dataclass(frozen=True, slots=True)
class ImageRef:
    """One image: its file, relative to the source's root with ``/`` between folders, and its class number.

    ``row`` is its place in the file where the file is a batch.
    """

    path: str
    label: int
    row: int | None = None

    @property
    def name(self) -> str:
        """For people and lists, as text in any encoding: bytes that are no UTF-8 are written ``\\xff``."""
        path = os.fsencode(self.path).decode(errors="backslashreplace")
        return path if self.row is None else f"{path}#{self.row}"


class ImageList(Sequence[ImageRef]):
    """A sequence of :class:`ImageRef` that takes as many bytes per image as the longest path has, and eight more.

    A slice is a view; :meth:`take` copies, so that its result pickles without the rest of the list.

    Args:
        paths: File names in the file system's encoding, shape (n,), dtype ``S``.
        labels: Class numbers, shape (n,).
        rows: Rows in batch files, shape (n,); None if each file is one image.
    """

    __slots__ = ("labels", "paths", "rows")

    def __init__(
        self, paths: NDArray[np.bytes_], labels: NDArray[np.int32], rows: NDArray[np.int32] | None = None
    ) -> None:
        self.paths = paths
        self.labels = labels
        self.rows = rows

    @classmethod
    def of(cls, refs: Iterable[ImageRef]) -> ImageList:
        """The list of a few refs; all have rows, or none has."""
        found = list(refs)
        rows = [ref.row for ref in found if ref.row is not None]
        return cls(
            np.array([os.fsencode(ref.path) for ref in found], dtype=np.bytes_),
            np.array([ref.label for ref in found], np.int32),
            np.array(rows, np.int32) if rows else None,
        )

    @classmethod
    def join(cls, parts: Sequence[ImageList]) -> ImageList:
        """One list after the other; all have rows, or none has."""
        if not parts:
            return cls.of([])
        rows = [part.rows for part in parts if part.rows is not None]
        return cls(
            np.concatenate([part.paths for part in parts]),
            np.concatenate([part.labels for part in parts]),
            np.concatenate(rows) if rows else None,
        )

    def __len__(self) -> int:
        return len(self.labels)

    @overload
    def __getitem__(self, index: int) -> ImageRef: ...
    @overload
    def __getitem__(self, index: slice) -> ImageList: ...
    def __getitem__(self, index: int | slice) -> ImageRef | ImageList:
        if isinstance(index, slice):
            return ImageList(self.paths[index], self.labels[index], None if self.rows is None else self.rows[index])
        row = None if self.rows is None else int(self.rows[index])
        return ImageRef(os.fsdecode(bytes(self.paths[index])), int(self.labels[index]), row)

    def __iter__(self) -> Iterator[ImageRef]:
        rows = repeat(None) if self.rows is None else self.rows.tolist()
        return map(ImageRef, map(os.fsdecode, self.paths.tolist()), self.labels.tolist(), rows)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Sequence) and list(self) == list(other)

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"ImageList({len(self)} images)"

    def take(self, indices: NDArray[np.intp]) -> ImageList:
        """The images with these numbers, in this order."""
        rows = None if self.rows is None else self.rows[indices]
        return ImageList(self.paths[indices], self.labels[indices], rows)

    def in_order(self) -> ImageList:
        """Sorted by path and row."""
        if self.rows is None:
            return self.take(np.argsort(self.paths, kind="stable"))
        return self.take(np.lexsort((self.rows, self.paths)))
