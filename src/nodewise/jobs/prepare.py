"""Job ``prepare``: images -> TFRecord shards and their manifest."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from nodewise.core.errors import CorruptFileError, JobFailedError, SourceError
from nodewise.data.images import ImageError, image_size, prepare_image
from nodewise.data.shards import (
    MANIFEST_NAME,
    Manifest,
    parse_shard_name,
    remove_leftovers,
    write_manifest,
    write_shard,
)
from nodewise.data.sources import ImageRef, ImageSource, read_image, select
from nodewise.metering.meter import TaskMeter
from nodewise.specs.job import PrepareSpec, Split
from nodewise.specs.results import ShardInfo, SkippedImage

__all__ = ["PrepareJob", "claim_folder"]


@dataclass(frozen=True, slots=True)
class Partition:
    """The images of one shard."""

    split: Split
    index: int
    refs: tuple[ImageRef, ...]


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a task made of its partition: no shard if none of the images could be decoded.

    ``counts`` has the records per class number, ``shapes`` the different (height, width) of the stored images.
    """

    shard: ShardInfo | None
    counts: tuple[int, ...]
    shapes: frozenset[tuple[int, int]]
    skipped: tuple[SkippedImage, ...]


class PrepareJob:
    """One task per shard. Which image goes where depends on the source and the seed alone, not on the engine."""

    name = "prepare"

    def __init__(self, source: ImageSource, dest: Path, spec: PrepareSpec) -> None:
        self._source = source
        self._dest = dest
        self._spec = spec
        self._size = spec.size or source.default_size
        self._chosen = select(source, sample=spec.sample, test_fraction=spec.test_fraction, seed=spec.seed)

    @property
    def size(self) -> int | None:
        """Side that every image will have; None: each keeps its own."""
        return self._size

    def task(self) -> PrepareTask:
        """What to do with each partition."""
        return PrepareTask(
            root=self._source.root,
            dest=self._dest,
            size=self._size,
            quality=self._spec.quality,
            strict=self._spec.strict,
            num_classes=len(self._source.classes),
        )

    def plan(self) -> list[Partition]:
        """The partitions, in order of split and index."""
        length = self._spec.shard_records
        return [
            Partition(split=split, index=start // length, refs=tuple(refs[start : start + length]))
            for split, refs in self._chosen.items()
            for start in range(0, len(refs), length)
        ]

    def combine(self, outcomes: Sequence[Outcome]) -> Manifest:
        """Write the manifest, which makes the shards a data set.

        Raises:
            JobFailedError: Not one image could be decoded.
        """
        skipped = tuple(image for outcome in outcomes for image in outcome.skipped)
        shards = tuple(outcome.shard for outcome in outcomes if outcome.shard is not None)
        if not shards:
            raise JobFailedError(
                f"{self._source.root}: none of the {len(skipped)} images could be decoded; "
                f"the first, {skipped[0].path}: {skipped[0].reason}",
                hint="are these JPEG or PNG files?",
            )
        counts: dict[Split, dict[str, int]] = {}
        for split in self._chosen:
            rows = [outcome.counts for outcome in outcomes if outcome.shard and outcome.shard.split == split]
            totals = [sum(column) for column in zip(*rows, strict=True)] or [0] * len(self._source.classes)
            counts[split] = dict(zip(self._source.classes, totals, strict=True))
        shapes = frozenset[tuple[int, int]]().union(*(outcome.shapes for outcome in outcomes))
        height, width = next(iter(shapes))
        manifest = Manifest(
            classes=self._source.classes,
            image={"height": height, "width": width, "channels": 3} if len(shapes) == 1 else None,
            transform={
                "size": self._size,
                "fit": "cover" if self._size else "unchanged",
                "resample": "bilinear" if self._size else None,
                "quality": self._spec.quality if self._size else None,
            },
            counts=counts,
            shards=shards,
            skipped=skipped,
            source=str(self._source.root),
            seed=self._spec.seed,
            sample=self._spec.sample,
            test_fraction=self._spec.test_fraction,
        )
        remove_leftovers(self._dest)
        write_manifest(self._dest, manifest)
        return manifest


def claim_folder(dest: Path, *, overwrite: bool) -> None:
    """Make the folder ready for new shards: absent, empty, or cleared of what an earlier ``prepare`` left.

    Shards without a manifest are those of a run that did not end well; they are cleared in any case.

    Raises:
        SourceError: It holds a prepared data set and ``overwrite`` is not asked for, or it holds other files.
    """
    if not dest.exists():
        return
    if not dest.is_dir():
        raise SourceError(f"{dest} is a file", hint="name a folder for the shards")
    remove_leftovers(dest)
    if (dest / MANIFEST_NAME).exists() and not overwrite:
        raise SourceError(f"{dest} holds prepared shards already", hint="name another folder, or use --overwrite")
    ours = [path for path in dest.iterdir() if path.name == MANIFEST_NAME or parse_shard_name(path.name)]
    others = sorted(path.name for path in set(dest.iterdir()) - set(ours))
    if others:
        raise SourceError(f"{dest} holds other files, such as {others[0]}", hint="name an empty or a new folder")
    # The manifest first: without it, what is left is no data set.
    for path in sorted(ours, key=lambda path: path.name != MANIFEST_NAME):
        path.unlink()


@dataclass(frozen=True, slots=True, kw_only=True)
class PrepareTask:
    """What a task does: decode, resize, crop and encode the images of one shard and write it."""

    root: Path
    dest: Path
    size: int | None
    quality: int
    strict: bool
    num_classes: int

    def __call__(self, partition: Partition, meter: TaskMeter) -> Outcome:
        """Write the shard of one partition.

        Raises:
            CorruptFileError: An image cannot be decoded, and ``strict`` is set.
        """
        counts = [0] * self.num_classes
        shapes: set[tuple[int, int]] = set()
        skipped: list[SkippedImage] = []

        def examples() -> Iterator[tuple[bytes, int]]:
            for ref in partition.refs:
                name = ref.path if ref.row is None else f"{ref.path}#{ref.row}"
                try:
                    data = read_image(self.root, ref)
                    image = prepare_image(data, size=self.size, quality=self.quality)
                except ImageError as error:
                    if self.strict:
                        hint = "without --strict it is listed and left out"
                        raise CorruptFileError(name, str(error), hint=hint) from None
                    skipped.append(SkippedImage(path=name, reason=str(error)))
                    continue
                meter.count(records=1, read_bytes=len(data) if isinstance(data, bytes) else data.nbytes)
                counts[ref.label] += 1
                shapes.add((self.size, self.size) if self.size else image_size(image))
                yield image, ref.label

        shard = write_shard(self.dest, partition.split, partition.index, examples())
        if shard is not None:
            meter.count(written_bytes=shard.bytes)
        return Outcome(shard=shard, counts=tuple(counts), shapes=frozenset(shapes), skipped=tuple(skipped))
