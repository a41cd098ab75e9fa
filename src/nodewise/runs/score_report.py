"""The page of a scoring: what stands in the result, and the images that the model was most wrong about."""

from __future__ import annotations

import shlex
from itertools import accumulate
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from nodewise.jobs.score import ScoreJob
from nodewise.report.score_page import WrongImage, write_score_page
from nodewise.runs.session import Session
from nodewise.shards.manifest import Manifest
from nodewise.shards.record_files import RecordFiles
from nodewise.specs.results import ScoreResult

__all__ = ["write_score_report"]

IMAGES_SHOWN = 12


def write_score_report(
    paths: set[Path], session: Session, job: ScoreJob, manifest: Manifest, result: ScoreResult
) -> None:
    """Write the page to these files. Called when the cluster is gone: nobody pays for the drawing."""
    wrong = _wrong_images(job.folder, manifest, _surest_errors(Path(result.predictions_path)))
    for path in paths:
        write_score_page(
            path,
            result,
            wrong=wrong,
            model=str(job.model_path),
            shards=str(job.folder),
            command=shlex.join(session.run.provenance["command"]),
        )


def _surest_errors(predictions: Path) -> list[dict[str, Any]]:
    """The wrong predictions of the highest probability; one file at a time is in memory."""
    order = [("probability", "descending"), ("record", "ascending")]
    surest: pa.Table | None = None
    for path in sorted(predictions.glob("part-*.parquet")):
        table = pq.read_table(path)
        errors = table.filter(pc.not_equal(table["label"], table["predicted"])).replace_schema_metadata()
        errors = errors if surest is None else pa.concat_tables([surest, errors])
        surest = errors.sort_by(order).slice(0, IMAGES_SHOWN)
    return [] if surest is None else list(surest.to_pylist())


def _wrong_images(folder: Path, manifest: Manifest, errors: list[dict[str, Any]]) -> list[WrongImage]:
    if manifest.image is None:
        return []
    shape = (manifest.image["height"], manifest.image["width"], manifest.image["channels"])
    files = RecordFiles(folder, manifest.shards, shape, verify=True)
    lengths = [shard.records for shard in manifest.shards]
    starts = dict(zip((shard.path for shard in manifest.shards), accumulate(lengths[:-1], initial=0), strict=True))
    images = []
    for error in errors:
        shard, _, number = error["record"].rpartition(":")
        pixels, _ = files.load(starts[shard] + int(number), np.empty(shape, np.uint8))
        images.append(
            WrongImage(
                pixels=pixels,
                label=error["label_name"],
                predicted=error["predicted_name"],
                probability=error["probability"],
                record=error["record"],
            )
        )
    return images
