"""The readers by name: what each needs and what it can read, known without importing its library."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec

from nodewise.core.errors import UnknownNameError
from nodewise.readers.base import Reader, ReadSource, SourceKind

__all__ = ["OWN_READER", "READERS", "ReaderKind", "find_readers"]

OWN_READER = "nodewise"

_ANY = frozenset(("jpeg", "png", "webp", "raw", "unchanged"))
_TAR = frozenset(("jpeg", "png", "raw"))
"""What the decoders of webdataset and Ray Data know, which go by the suffix of a name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReaderKind:
    """A reader that can be had.

    Attributes:
        target: ``module:class``.
        packages: That must be installed.
        reads: Kinds of sources that it reads, and the encodings of records that it decodes there.
    """

    name: str
    target: str
    packages: tuple[str, ...] = ()
    reads: Mapping[SourceKind, frozenset[str]]

    def missing(self) -> str | None:
        """Why it cannot be had on this machine; None if it can."""
        for package in self.packages:
            if find_spec(package) is None:
                return f"the package {package} is not installed"
        return None

    def unfit(self, source: ReadSource) -> str | None:
        """Why it cannot read the source; None if it can."""
        if source.kind not in self.reads:
            return f"it does not read {_KIND_NAMES[source.kind]}"
        if source.encoding is not None and source.encoding not in self.reads[source.kind]:
            return f"it does not decode {source.encoding} records"
        return None

    def load(self) -> type[Reader]:
        """Import its library."""
        module, _, name = self.target.partition(":")
        loaded: type[Reader] = getattr(import_module(f"nodewise.readers.{module}"), name)
        return loaded


_KIND_NAMES = {"images": "image files", "tfrecord": "TFRecord files", "webdataset": "WebDataset tar files"}

READERS = {
    reader.name: reader
    for reader in (
        ReaderKind(
            name=OWN_READER,
            target="own:OwnReader",
            reads={"images": _ANY, "tfrecord": _ANY, "webdataset": _ANY},
        ),
        ReaderKind(
            name="tf.data",
            target="tensorflow:TensorFlowReader",
            packages=("tensorflow",),
            reads={"images": _ANY, "tfrecord": _ANY},
        ),
        ReaderKind(
            name="torch",
            target="torch:TorchReader",
            packages=("torch",),
            reads={"images": _ANY, "tfrecord": _ANY},
        ),
        ReaderKind(
            name="webdataset",
            target="webdataset:WebDatasetReader",
            packages=("webdataset", "torch"),
            reads={"webdataset": _TAR},
        ),
        ReaderKind(
            name="ray.data",
            target="ray:RayReader",
            packages=("ray", "pandas"),
            reads={"images": _ANY, "tfrecord": _ANY, "webdataset": _TAR},
        ),
    )
}


def find_readers(names: tuple[str, ...] | None) -> list[ReaderKind]:
    """The readers of these names, in the order of :data:`READERS`; all of them for None.

    Raises:
        UnknownNameError: There is no such reader.
    """
    for name in names or ():
        if name not in READERS:
            raise UnknownNameError("reader", name, READERS)
    return [reader for reader in READERS.values() if names is None or reader.name in names]
