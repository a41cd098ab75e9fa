"""Job ``score``: shards and a model -> predictions as Parquet, one file per task.

Torch is imported inside the tasks.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nodewise.core.errors import CorruptFileError, InputError, SourceError
from nodewise.core.files import TEMP_PREFIX, sha256_of
from nodewise.metering.meter import TaskMeter
from nodewise.shards.manifest import Manifest, fingerprint_of, split_shards
from nodewise.specs.job import ScoreSpec
from nodewise.training.score_parts import ScorePart, cut_parts

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa
    from numpy.typing import NDArray

__all__ = ["ScoreJob", "ScoreOutcome", "claim_predictions"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoreOutcome:
    """What was scored, by one task or by all.

    Attributes:
        counts: Records by label and predicted class, as class numbers; pairs that do not occur are left out.
        batch_size: Records per forward pass, of several the most frequent; None: an earlier attempt had done the task.
        forward_records_per_cpu_s: What the network does with images in memory, per second of one core, of several the
            median; None as above.
    """

    counts: Mapping[tuple[int, int], int]
    batch_size: int | None = None
    forward_records_per_cpu_s: float | None = None

    @property
    def records(self) -> int:
        return sum(self.counts.values())


class ScoreJob:
    """Equal parts of the records, each one task; a task that is tried again leaves the file that is there.

    Raises:
        InputError, CorruptFileError: The model file is missing, damaged, or made for other images.
        SourceError: There are no records to score.
    """

    name = "score"
    modules = tuple(f"nodewise.training.{name}" for name in ("scoring", "score_input", "score_table"))
    """What the tasks need, to be imported while the cluster starts."""

    def __init__(self, folder: Path, manifest: Manifest, model_path: Path, spec: ScoreSpec) -> None:
        from nodewise.training.model_file import read_model_info
        from nodewise.training.records import image_shape_of

        info = read_model_info(model_path)
        shape = image_shape_of(manifest, folder)
        if info.image_shape != shape:
            trained, given = (f"{width} x {height}" for _, height, width in (info.image_shape, shape))
            raise InputError(
                f"{model_path} was trained on images of {trained}, and {folder} holds images of {given}",
                hint=f"prepare them with --size {info.image_shape[1]}",
            )
        if info.classes != manifest.classes:
            raise InputError(
                f"{model_path} knows the classes {', '.join(info.classes)}; {folder} has {', '.join(manifest.classes)}",
                hint="score shards that were prepared from the same classes",
            )
        # What was never held out cannot be asked for, so the default falls back to all there is.
        self.split = spec.split if spec.split != "test" or split_shards(manifest, "test") else "all"
        self._shards = split_shards(manifest, self.split)
        if not any(shard.records for shard in self._shards):
            raise SourceError(f"{folder} has no records in split {self.split!r}")
        self.folder, self.model_path, self.classes = folder, model_path, info.classes
        self._spec, self._fingerprint = spec, fingerprint_of(manifest)

    def describe(self) -> dict[str, Any]:
        """Its settings, its model and its data, for the run's record."""
        return {
            **asdict(self._spec),
            "model": str(self.model_path),
            "data": str(self.folder),
            "data_fingerprint": self._fingerprint,
        }

    def task(self, dest: Path) -> ScoreTask:
        """The task that writes its predictions to the folder ``dest``."""
        return ScoreTask(
            folder=self.folder,
            model_path=self.model_path,
            dest=dest,
            batch_size=self._spec.batch_size,
            search_path=os.getcwd(),
            source=f"model {sha256_of(self.model_path)} data {self._fingerprint}",
        )

    def plan(self, num_slots: int = 1) -> tuple[ScorePart, ...]:
        """The parts for a cluster that runs so many tasks at the same time."""
        return cut_parts(self._shards, num_slots)

    def combine(self, outcomes: Sequence[ScoreOutcome]) -> ScoreOutcome:
        """All of them as one."""
        counts: Counter[tuple[int, int]] = Counter()
        for outcome in outcomes:
            counts.update(outcome.counts)
        sizes = Counter(outcome.batch_size for outcome in outcomes if outcome.batch_size is not None)
        rates = sorted(rate for rate in (outcome.forward_records_per_cpu_s for outcome in outcomes) if rate is not None)
        return ScoreOutcome(
            counts=dict(counts),
            batch_size=min(sizes, key=lambda size: (-sizes[size], size), default=None),
            forward_records_per_cpu_s=rates[len(rates) // 2] if rates else None,
        )


def claim_predictions(dest: Path) -> None:
    """Make the folder ready: absent, or cleared of the predictions of an earlier run.

    Raises:
        SourceError: It is a file, or holds other files.
    """
    if not dest.exists():
        return
    if not dest.is_dir():
        raise SourceError(f"{dest} is a file", hint="name a folder for the predictions")
    ours = [*dest.glob("part-*.parquet"), *dest.glob(f"{TEMP_PREFIX}*")]
    others = sorted(path.name for path in set(dest.iterdir()) - set(ours))
    if others:
        raise SourceError(f"{dest} holds other files, such as {others[0]}", hint="name an empty or a new folder")
    for path in ours:
        path.unlink()


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoreTask:
    """What a task does: predict every record of a part and write ``part-<number>.parquet``.

    There is exactly one prediction per record in the end, whatever dies and is tried again: parts have no record in
    common and the plan does not change; the name of a part's file follows from its number; the file appears whole, once
    (see :func:`~nodewise.training.score_table.write_predictions`); and what is counted is what stands in it.

    Attributes:
        source: Stands for the model and the shards, so that no file of another run is taken for one of this.
    """

    folder: Path
    model_path: Path
    dest: Path
    batch_size: int | None
    search_path: str
    source: str

    def __call__(self, part: ScorePart, meter: TaskMeter) -> ScoreOutcome:
        """Score one part, unless an earlier attempt has done it.

        Raises:
            CorruptFileError: A shard or the model file is damaged, or a label is of no class.
        """
        import numpy as np

        from nodewise.training.score_input import read_batches
        from nodewise.training.score_table import read_predictions, table_of, write_predictions
        from nodewise.training.scoring import load_scorer

        path = self.dest / f"part-{part.number:05d}.parquet"
        source = f"{self.source} from {part.shards[0].path}:{part.first}"
        table = read_predictions(path, source, part.records)
        if table is not None:
            meter.count(records=part.records)
            return ScoreOutcome(counts=_counts(table))
        scorer = load_scorer(self.model_path, search_path=self.search_path, batch_size=self.batch_size)
        batches = read_batches(self.folder, part, scorer.info.image_shape, scorer.batch_size, meter)
        found = [(labels, *scorer.predict(images)) for images, labels in batches]
        labels, predicted, probability = (np.concatenate(column) for column in zip(*found, strict=True))
        classes = scorer.info.classes
        self._check_labels(part, labels, len(classes))
        with meter.writing():
            table = write_predictions(path, table_of(part, classes, labels, predicted, probability), source)
        meter.count(records=part.records, read_bytes=part.read_bytes, written_bytes=path.stat().st_size)
        return ScoreOutcome(
            counts=_counts(table),
            batch_size=scorer.batch_size,
            forward_records_per_cpu_s=scorer.forward_records_per_cpu_s,
        )

    def _check_labels(self, part: ScorePart, labels: NDArray[np.int64], num_classes: int) -> None:
        wrong = ((labels < 0) | (labels >= num_classes)).nonzero()[0]
        if len(wrong):
            place, label = int(wrong[0]), int(labels[wrong[0]])
            for shard, numbers in part.spans():
                if place < len(numbers):
                    raise CorruptFileError(
                        str(self.folder / shard.path),
                        f"class number {label}, but there are {num_classes} classes",
                        record=numbers[place],
                    )
                place -= len(numbers)


def _counts(table: pa.Table) -> dict[tuple[int, int], int]:
    """Records by label and predicted class."""
    pairs = table.group_by(["label", "predicted"]).aggregate([([], "count_all")])
    labels, predicted, counts = (pairs[name].to_pylist() for name in ("label", "predicted", "count_all"))
    return {(label, guess): count for label, guess, count in zip(labels, predicted, counts, strict=True)}
