"""Job ``prepare``: images -> shards and their manifest."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict
from importlib.metadata import version
from typing import Any, overload

import numpy as np

from nodewise.core.errors import JobFailedError
from nodewise.data.image_list import ImageList
from nodewise.data.sources import ImageSource, read_image, select
from nodewise.images.codecs import ImageError
from nodewise.images.transform import Transform
from nodewise.jobs.prepare_folder import PrepareFolder
from nodewise.jobs.prepare_task import Outcome, Partition, PrepareTask
from nodewise.shards.manifest import Manifest
from nodewise.specs.job import PrepareSpec, Split

__all__ = ["PrepareJob"]

_PROBED_IMAGES = 16
_SHARDS_PER_TASK = 4
_CODECS = ("nodewise", "numpy", "opencv-python-headless", "pillow", "simplejpeg")


class PrepareJob:
    """One task per shard. Which image goes where depends on the source and the settings alone, not on the engine."""

    name = "prepare"
    modules = ("nodewise.jobs.prepare_task",)

    def __init__(self, source: ImageSource, spec: PrepareSpec) -> None:
        self._source = source
        self._spec = spec
        self._transform = Transform.from_spec(spec, source.default_size)
        self._chosen = select(source, sample=spec.sample, test_fraction=spec.test_fraction, seed=spec.seed)
        self._max_bad = int(spec.max_bad * self.num_images + 1e-9)

    @property
    def size(self) -> int | None:
        """Side that every image will have; None: each keeps its own."""
        return self._transform.size

    @property
    def num_images(self) -> int:
        """Images to prepare, over both splits."""
        return sum(len(images) for images in self._chosen.values())

    def describe(self) -> dict[str, Any]:
        """Its settings and its images, for the run's record."""
        return {**asdict(self._spec), "data": str(self._source.root)}

    def fingerprint(self) -> str:
        """Tells this job from every other: the images by name, the settings, the versions of the codecs."""
        facts = {
            "spec": asdict(self._spec),
            "root": str(self._source.root),
            "classes": self._source.classes,
            "versions": {name: version(name) for name in _CODECS},
        }
        digest = hashlib.sha256(json.dumps(facts, sort_keys=True).encode())
        for images in self._chosen.values():
            for array in (images.paths, images.labels, images.rows):
                if array is not None:
                    digest.update(np.ascontiguousarray(array).view(np.uint8).data)
        return digest.hexdigest()

    def task(self, folder: PrepareFolder) -> PrepareTask:
        """What to do with each partition."""
        return PrepareTask(
            root=self._source.root,
            dest=folder.path,
            lease=folder.lease,
            transform=self._transform,
            shard_format=self._spec.shard_format,
            shard_bytes=self._spec.shard_bytes,
            strict=self._spec.strict,
            num_classes=len(self._source.classes),
        )

    def plan(self, folder: PrepareFolder) -> Sequence[Partition]:
        """The partitions that are not done yet, the longest first so that no slot is left with a long one at the end.

        Each is made when it is asked for.
        """
        length = self._partition_records()
        ranges = [
            (split, start // length, start, min(start + length, len(images)))
            for split, images in self._chosen.items()
            for start in range(0, len(images), length)
        ]
        todo = [part for part in ranges if (part[0], part[1]) not in folder.done]
        return _Partitions(self._chosen, sorted(todo, key=lambda part: part[2] - part[3]))

    def _partition_records(self) -> int:
        """Images per partition: a shard, or about four of them where their bytes are bounded."""
        if self._spec.shard_bytes is None:
            return self._spec.shard_records
        # Every engine must cut in the same places, so the length of a record is estimated here, from a few images.
        images = self._chosen["train"] if len(self._chosen["train"]) else self._chosen["test"]
        lengths = []
        for index in np.linspace(0, len(images) - 1, _PROBED_IMAGES).astype(int):
            try:
                lengths.append(len(self._transform(read_image(self._source.root, images[int(index)])).image))
            except ImageError:
                continue
        mean = sum(lengths) / len(lengths) if lengths else self._spec.shard_bytes
        return max(1, int(_SHARDS_PER_TASK * self._spec.shard_bytes / mean))

    def note(self, folder: PrepareFolder, outcome: Outcome) -> None:
        """Keep what a task has done.

        Raises:
            JobFailedError: More images than ``max_bad`` allows could not be decoded.
        """
        folder.note(outcome)
        skipped = sum(len(done.skipped) for done in folder.done.values()) if outcome.skipped else 0
        if skipped > self._max_bad:
            path = folder.write_skipped()
            first = folder.skipped[0]
            raise JobFailedError(
                f"{self._source.root}: {skipped:,} of {self.num_images:,} images could not be decoded, more than "
                f"max_bad = {self._spec.max_bad:g} allows; the first, {first.path}: {first.reason}",
                hint=f"{path} lists those found so far; --max-bad 0.1 would allow one in ten",
            )

    def combine(self, folder: PrepareFolder) -> Manifest:
        """Write the manifest, which makes the shards a data set.

        Raises:
            JobFailedError: Not one image could be decoded.
        """
        outcomes, skipped = folder.outcomes, folder.skipped
        shards = tuple(shard for outcome in outcomes for shard in outcome.shards)
        if not shards:
            raise JobFailedError(
                f"{self._source.root}: none of the {len(skipped)} images could be decoded; "
                f"the first, {skipped[0].path}: {skipped[0].reason}",
                hint="are these JPEG, PNG or WebP files?",
            )
        counts: dict[Split, dict[str, int]] = {}
        for split in self._chosen:
            rows = [outcome.counts for outcome in outcomes if outcome.split == split]
            totals = [sum(column) for column in zip(*rows, strict=True)] or [0] * len(self._source.classes)
            counts[split] = dict(zip(self._source.classes, totals, strict=True))
        shapes = {shape for outcome in outcomes for shape in outcome.shapes}
        height, width = next(iter(shapes))
        manifest = Manifest(
            classes=self._source.classes,
            image={"height": height, "width": width, "channels": 3} if len(shapes) == 1 else None,
            transform=self._describe_transform(),
            shard_format=self._spec.shard_format,
            encoding=self._transform.stored_encoding,
            counts=counts,
            shards=shards,
            skipped=skipped,
            source=str(self._source.root),
            seed=self._spec.seed,
            sample=self._spec.sample,
            test_fraction=self._spec.test_fraction,
        )
        folder.finish(manifest)
        return manifest

    def _describe_transform(self) -> dict[str, object]:
        transform = self._transform
        encoding = transform.stored_encoding
        return {
            "size": transform.size,
            "fit": transform.fit if transform.size else "unchanged",
            "resample": transform.resample if transform.size else None,
            "quality": transform.quality if encoding in ("jpeg", "webp") else None,
            "subsampling": transform.subsampling if encoding == "jpeg" else None,
            "optimize": transform.optimize if encoding == "jpeg" else None,
        }


class _Partitions(Sequence[Partition]):
    """Ranges of the chosen images, cut out when they are asked for."""

    def __init__(self, chosen: dict[Split, ImageList], ranges: list[tuple[Split, int, int, int]]) -> None:
        self._chosen = chosen
        self._ranges = ranges

    def __len__(self) -> int:
        return len(self._ranges)

    @overload
    def __getitem__(self, position: int) -> Partition: ...
    @overload
    def __getitem__(self, position: slice) -> Sequence[Partition]: ...
    def __getitem__(self, position: int | slice) -> Partition | Sequence[Partition]:
        if isinstance(position, slice):
            return _Partitions(self._chosen, self._ranges[position])
        split, index, start, stop = self._ranges[position]
        return Partition(split, index, self._chosen[split].take(np.arange(start, stop)))
