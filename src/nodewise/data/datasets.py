"""Data sets that have names, and how a name or a path becomes a folder of images."""

from __future__ import annotations

import difflib
import hashlib
import os
from dataclasses import dataclass
from pathlib import Path

from nodewise.core.errors import DownloadError, SourceError, UnknownNameError
from nodewise.core.progress import SILENT, Progress
from nodewise.data.archives import ARCHIVE_SUFFIXES, archive_stem, extract_archive
from nodewise.data.folders import whole_folder

__all__ = ["DatasetInfo", "fetch", "list_datasets", "resolve_source"]

DIGITS = "digits"


@dataclass(frozen=True, slots=True, kw_only=True)
class DatasetInfo:
    """A data set with a name.

    Attributes:
        bytes: What fetching it downloads; 0 if it is built in.
        present: Whether it is on this machine.
        path: Where it is, or would be: a folder, or the archive as it was published.
    """

    name: str
    description: str
    licence: str
    bytes: int
    present: bool
    path: str


@dataclass(frozen=True, slots=True, kw_only=True)
class _Published:
    """A public archive. ``checksum`` is ``md5:`` or ``sha256:`` and digits."""

    description: str
    licence: str
    url: str
    bytes: int
    checksum: str

    @property
    def file_name(self) -> str:
        return self.url.rpartition("/")[2]


_PUBLISHED = {
    # Length and MD5: https://www.cs.toronto.edu/~kriz/cifar.html.
    "cifar10": _Published(
        description="CIFAR-10: 60,000 colour images of 32x32 pixels in 10 classes (Krizhevsky, 2009)",
        licence="none stated; cite Krizhevsky, Learning Multiple Layers of Features from Tiny Images",
        url="https://www.cs.toronto.edu/~kriz/cifar-10-python.tar.gz",
        bytes=170_498_071,
        checksum="md5:c58f30108f718f92721af3b95e74349a",
    ),
    # Length and SHA-256: github tensorflow/datasets, tensorflow_datasets/datasets/tf_flowers/checksums.tsv.
    "flowers": _Published(
        description="TensorFlow Flowers: 3,670 photos of flowers in 5 classes",
        licence="Creative Commons Attribution 2.0; the photographers are in its LICENSE.txt",
        url="http://download.tensorflow.org/example_images/flower_photos.tgz",
        bytes=228_813_984,
        checksum="sha256:4c54ace7911aaffe13a365c34f650e71dd5bf1be0a58b464e5a7183e3e595d9c",
    ),
}

_NAMES = (DIGITS, *_PUBLISHED)


def list_datasets(datasets_dir: Path) -> list[DatasetInfo]:
    """All data sets that have names, the built-in one first."""
    digits = datasets_dir / DIGITS
    infos = [
        DatasetInfo(
            name=DIGITS,
            description="1,797 handwritten digits of 8x8 pixels in 10 classes, built in (scikit-learn, from UCI)",
            licence="Creative Commons Attribution 4.0 (UCI, Optical Recognition of Handwritten Digits)",
            bytes=0,
            present=digits.is_dir(),
            path=str(digits),
        )
    ]
    for name, published in _PUBLISHED.items():
        archive = datasets_dir / published.file_name
        infos.append(
            DatasetInfo(
                name=name,
                description=published.description,
                licence=published.licence,
                bytes=published.bytes,
                present=archive.is_file(),
                path=str(archive),
            )
        )
    return infos


def fetch(name: str, datasets_dir: Path, progress: Progress = SILENT) -> Path:
    """Get a data set onto this machine: its folder (``digits``), or the archive as it was published.

    One that is there already is checked and not fetched again, also if it was put there by hand.

    Raises:
        UnknownNameError: No data set has this name.
        DownloadError: It could not be fetched, or the file that is there is not the published one.
    """
    if name == DIGITS:
        return _build_digits(datasets_dir / DIGITS, progress)
    if name not in _PUBLISHED:
        raise UnknownNameError("data set", name, _NAMES)
    from nodewise.data.download import check_file, download

    published = _PUBLISHED[name]
    archive = datasets_dir / published.file_name
    if not archive.exists():
        return download(published.url, archive, size=published.bytes, checksum=published.checksum, progress=progress)
    mismatch = check_file(archive, size=published.bytes, checksum=published.checksum)
    if mismatch:
        raise DownloadError(
            f"{archive} is not the published file: {mismatch}",
            hint=f"remove it and run `nodewise datasets fetch {name}` again, or put {published.url} there",
        )
    return archive


def resolve_source(source: str, datasets_dir: Path, base: Path, progress: Progress = SILENT) -> Path:
    """The folder of images that a name or a path stands for; archives are unpacked the first time.

    A name of the catalogue always means that data set; a folder of the same name is written ``./digits``. Anything else
    is a path, relative to ``base``. ``digits`` is made when it is first asked for; the others have to be fetched. An
    archive is unpacked once per path, length and time of change, into ``<datasets_dir>/extracted``.

    Raises:
        SourceError: There is no such path, it is neither folder nor archive, or the data set was not fetched.
        UnsafeFileError, CorruptFileError: As :func:`~nodewise.data.archives.extract_archive` does.
    """
    if source == DIGITS:
        return fetch(DIGITS, datasets_dir, progress)
    published = _PUBLISHED.get(source)
    path = datasets_dir / published.file_name if published else base / Path(source).expanduser()
    if published and not path.is_file():
        raise SourceError(
            f"the data set {source!r} is not on this machine",
            hint=f"`nodewise datasets fetch {source}`, or put {published.file_name} at {path.absolute()}",
        )
    if path.is_dir():
        return path
    if not path.exists():
        near = difflib.get_close_matches(source.casefold(), _NAMES, n=1, cutoff=0.6)
        raise SourceError(
            f"{path}: no such folder, archive or data set",
            hint=f"did you mean {near[0]!r}?" if near else f"data sets that have names: {', '.join(_NAMES)}",
        )
    stem = archive_stem(path)
    if stem is None:
        raise SourceError(
            f"{path}: neither a folder nor an archive ({', '.join(ARCHIVE_SUFFIXES)})",
            hint="name the folder that holds the class folders",
        )
    status = path.stat()
    identity = f"{path.resolve()}\0{status.st_size}\0{status.st_mtime_ns}"
    dest = datasets_dir / "extracted" / f"{stem}-{hashlib.sha256(os.fsencode(identity)).hexdigest()[:12]}"
    extract_archive(path, dest, progress)
    return dest


def _build_digits(folder: Path, progress: Progress) -> Path:
    """Write scikit-learn's digits as ``<digit>/<number>.png``, grey; the number counts over all of them."""
    if folder.is_dir():
        return folder
    import numpy as np
    from sklearn.datasets import load_digits

    from nodewise.images.codecs import encode_png

    digits = load_digits()
    progress.stage("write digits", total=len(digits.target))
    with whole_folder(folder) as temporary:
        for number, (values, digit) in enumerate(zip(digits.images, digits.target, strict=True)):
            path = temporary / str(digit) / f"{number:04d}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            # Sixteen levels of ink on black, spread over the 256 of a PNG.
            path.write_bytes(encode_png(np.rint(values * (255 / 16)).astype(np.uint8)))
            progress.advance()
    progress.done()
    return folder
