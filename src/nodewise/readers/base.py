"""What is read, and what a reader is."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal, NamedTuple, Protocol

from nodewise.core.errors import NodewiseError

if TYPE_CHECKING:
    # Not even NumPy: what a reader's library takes to import is measured in processes that know this module.
    import numpy as np
    from numpy.typing import NDArray

__all__ = ["ReadBatch", "ReadSource", "Reader", "ReaderFaultError", "ReaderOptions", "SourceKind"]

SourceKind = Literal["images", "tfrecord", "webdataset"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadSource:
    """A folder of images or of shards, as every reader is given it.

    Attributes:
        name: For people; no two sources of a speed test share it.
        encoding: Of the records of shards, as the manifest has it; None for image files, which may be of any.
        files: Images, in the order in which they are to be read, or shards; relative to ``folder``.
        shape: Height, width and channels of the images that are delivered.
    """

    name: str
    kind: SourceKind
    encoding: str | None
    folder: Path
    files: tuple[str, ...]
    shape: tuple[int, int, int]

    @property
    def paths(self) -> list[Path]:
        return [self.folder / file for file in self.files]


@dataclass(frozen=True, slots=True, kw_only=True)
class ReaderOptions:
    """What a reader may use: so many threads or worker processes, and a folder for temporary files."""

    threads: int
    scratch: Path


class ReaderFaultError(NodewiseError):
    """A reader that did not deliver what it was asked for: its time would be no speed."""

    code = "reader_fault"


class ReadBatch(NamedTuple):
    """Images, shape (n, height, width, 3), uint8, RGB; and the id of each, as text or in UTF-8.

    The id of an image file is its path relative to the folder, that of a record its key.
    """

    pixels: NDArray[np.uint8]
    ids: Sequence[str] | Sequence[bytes]


class Reader(Protocol):
    """Reads one source, in one thread's hands. It is made open: everything that can be done once is done then."""

    def __init__(self, source: ReadSource, options: ReaderOptions) -> None: ...

    def batches(self, batch_size: int, batch_count: int) -> Generator[ReadBatch, None, None]:
        """So many batches from the source's beginning; fewer, or a smaller last one, if it has no more.

        Each record comes at most once. What a user would set up beforehand is set up by this call, nothing is read
        before the first batch is asked for, and closing the generator ends what it started.
        """

    def close(self) -> None:
        """Give everything back; nothing is called after this."""
