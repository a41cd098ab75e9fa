"""Job ``score``: shards and a model -> predictions as Parquet, one file per shard.

Torch is imported inside the tasks.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from nodewise.core.errors import InputError, SourceError
from nodewise.core.files import TEMP_PREFIX, atomic_writer
from nodewise.metering.meter import TaskMeter
from nodewise.shards.manifest import Manifest, split_shards
from nodewise.specs.job import ScoreSpec
from nodewise.specs.results import ShardInfo

__all__ = ["ScoreJob", "ScoreOutcome", "claim_predictions"]


@dataclass(frozen=True, slots=True)
class ScoreOutcome:
    """Records of a shard that were scored, and how many of the predictions are right."""

    records: int
    right: int


class ScoreJob:
    """One task per shard; a task that is tried again writes the same file.

    Raises:
        InputError, CorruptFileError: The model file is missing, damaged, or made for other images.
        SourceError: There are no records to score.
    """

    name = "score"

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
        if not self._shards:
            raise SourceError(f"{folder} has no records in split {self.split!r}")
        self._folder, self._model_path, self._spec = folder, model_path, spec

    def task(self, dest: Path) -> ScoreTask:
        """The task that writes its predictions to the folder ``dest``."""
        return ScoreTask(
            folder=self._folder,
            model_path=self._model_path,
            dest=dest,
            batch_size=self._spec.batch_size or 256,
            search_path=os.getcwd(),
        )

    def plan(self) -> list[tuple[int, ShardInfo]]:
        return list(enumerate(self._shards))

    def combine(self, outcomes: Sequence[ScoreOutcome]) -> ScoreOutcome:
        """The sums."""
        return ScoreOutcome(
            records=sum(outcome.records for outcome in outcomes), right=sum(outcome.right for outcome in outcomes)
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
    """What a task does: predict every record of one shard and write ``part-<index>.parquet``.

    Columns: record (``<shard>:<number>``), label and predicted (class numbers), label_name and predicted_name, and
    probability (of the predicted class, 0 to 1).
    """

    folder: Path
    model_path: Path
    dest: Path
    batch_size: int
    search_path: str

    def __call__(self, numbered: tuple[int, ShardInfo], meter: TaskMeter) -> ScoreOutcome:
        """Score one shard.

        Raises:
            CorruptFileError: The shard or the model file is damaged.
        """
        import pyarrow as pa
        import pyarrow.parquet as pq
        import torch

        from nodewise.training.records import load_records, to_input

        index, shard = numbered
        network, info = _model(self.model_path, self.model_path.stat().st_mtime_ns, self.search_path)
        records = load_records(self.folder, [shard], info.image_shape, meter)
        probabilities, predicted = [], []
        with torch.inference_mode():
            for start in range(0, len(records.labels), self.batch_size):
                logits = network(to_input(records.images[start : start + self.batch_size]))
                best = torch.softmax(logits, dim=1).max(dim=1)
                probabilities.append(best.values)
                predicted.append(best.indices)
        labels, answers = records.labels.numpy(), torch.cat(predicted).numpy()
        names = pa.array(info.classes)
        table = pa.table(
            {
                "record": [f"{shard.path}:{number}" for number in range(len(labels))],
                "label": labels,
                "predicted": answers,
                "label_name": names.take(pa.array(labels)),
                "predicted_name": names.take(pa.array(answers)),
                "probability": torch.cat(probabilities).numpy(),
            }
        )
        path = self.dest / f"part-{index:05d}.parquet"
        with meter.writing(), atomic_writer(path) as stream:
            pq.write_table(table, stream)
        meter.count(records=len(labels), written_bytes=path.stat().st_size)
        return ScoreOutcome(records=len(labels), right=int((labels == answers).sum()))


@lru_cache(maxsize=1)
def _model(path: Path, _modified_ns: int, search_path: str) -> tuple[Any, Any]:
    """A process scores many shards with one model. A slot is one core, so the network gets one thread."""
    import torch

    from nodewise.training.model_file import load_model

    torch.set_num_threads(1)
    return load_model(path, search_path=search_path)
