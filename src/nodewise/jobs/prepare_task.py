"""What a task of the job ``prepare`` does: the images of one partition -> its shards."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

from nodewise.core.errors import CorruptFileError
from nodewise.core.lease import Lease
from nodewise.data.image_list import ImageList
from nodewise.data.sources import ChangedFileError, read_image
from nodewise.images.codecs import ImageError
from nodewise.images.transform import Transform
from nodewise.metering.meter import TaskMeter
from nodewise.shards.examples import Example
from nodewise.shards.files import write_shards
from nodewise.specs.job import ShardFormat, Split
from nodewise.specs.results import ShardInfo, SkippedImage

__all__ = ["Outcome", "Partition", "PrepareTask"]


@dataclass(frozen=True, slots=True)
class Partition:
    """The images of one shard, or of a few where their length is bounded in bytes."""

    split: Split
    index: int
    images: ImageList


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What a task made of its partition: no shard if none of the images could be decoded.

    ``counts`` has the records per class number, ``shapes`` the different (height, width) of the stored images.
    """

    split: Split
    index: int
    shards: tuple[ShardInfo, ...]
    counts: tuple[int, ...]
    shapes: tuple[tuple[int, int], ...]
    skipped: tuple[SkippedImage, ...]


@dataclass(slots=True)
class _Tally:
    counts: list[int]
    shapes: set[tuple[int, int]] = field(default_factory=set)
    skipped: list[SkippedImage] = field(default_factory=list)
    read_bytes: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class PrepareTask:
    """Decode, bring to size and encode the images of a partition, and write its shards."""

    root: Path
    dest: Path
    lease: Lease
    transform: Transform
    shard_format: ShardFormat
    shard_bytes: int | None
    strict: bool
    num_classes: int

    def __call__(self, partition: Partition, meter: TaskMeter) -> Outcome:
        """Write the shards of one partition.

        If a file changes while it is read, the partition is done once more.

        Raises:
            CorruptFileError: A file changed both times; or an image cannot be decoded, and ``strict`` is set.
            DiskFullError: There is no space for the shard.
            LeaseLostError: Another run has taken the folder over.
        """
        try:
            return self._write(partition, meter)
        except ChangedFileError:
            pass
        try:
            return self._write(partition, meter)
        except ChangedFileError as error:
            name, reason = error.args
            hint = "run it again when nothing writes to the source"
            raise CorruptFileError(name, f"{reason}, and again when it was read once more", hint=hint) from None

    def _write(self, partition: Partition, meter: TaskMeter) -> Outcome:
        tally = _Tally([0] * self.num_classes)
        with ExitStack() as ending:
            shards = write_shards(
                self.dest,
                partition.split,
                partition.index,
                self._examples(partition, tally, meter, ending),
                shard_format=self.shard_format,
                max_bytes=self.shard_bytes,
                before_commit=self.lease.check,
                owner=self.lease.owner,
            )
        meter.count(
            records=sum(tally.counts),
            read_bytes=tally.read_bytes,
            written_bytes=sum(shard.bytes for shard in shards),
        )
        return Outcome(
            split=partition.split,
            index=partition.index,
            shards=shards,
            counts=tuple(tally.counts),
            shapes=tuple(sorted(tally.shapes)),
            skipped=tuple(tally.skipped),
        )

    def _examples(self, partition: Partition, tally: _Tally, meter: TaskMeter, ending: ExitStack) -> Iterator[Example]:
        for ref in partition.images:
            try:
                with meter.reading():
                    data = read_image(self.root, ref)
                image, shape, is_raw = self.transform(data)
            except ChangedFileError as error:
                raise ChangedFileError(ref.name, str(error)) from None
            except ImageError as error:
                if self.strict:
                    hint = "without --strict it is listed and left out"
                    raise CorruptFileError(ref.name, str(error), hint=hint) from None
                tally.skipped.append(SkippedImage(path=ref.name, reason=str(error)))
                continue
            tally.read_bytes += len(data) if isinstance(data, bytes) else data.nbytes
            tally.counts[ref.label] += 1
            tally.shapes.add(shape[:2])
            yield Example(image, ref.label, shape if is_raw else None)
        # The kernel has written what came before while images were worked on; for the rest the task waits.
        ending.enter_context(meter.writing())
