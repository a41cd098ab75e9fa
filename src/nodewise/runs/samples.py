"""Images to show beside their predictions."""

from __future__ import annotations

from itertools import islice
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq

from nodewise.images.codecs import encode_png
from nodewise.report.html import PredictedImage
from nodewise.shards.files import read_shard
from nodewise.shards.manifest import Manifest
from nodewise.shards.pixels import example_pixels

__all__ = ["predicted_images"]

NUM_IMAGES = 9
SEED = 0


def predicted_images(shards: Path, manifest: Manifest, predictions: Path) -> list[PredictedImage]:
    """Nine scored records, drawn evenly at random (always the same ones), with what the model took them for.

    Args:
        shards: Folder of the shards that were scored.
        predictions: Folder of Parquet files that ``score`` wrote.
    """
    table = pq.read_table(predictions)
    count = min(NUM_IMAGES, table.num_rows)
    rows = np.sort(np.random.default_rng(SEED).choice(table.num_rows, count, replace=False))
    images = []
    for row in table.take(rows).to_pylist():
        name, _, number = row["record"].rpartition(":")
        shard = next(shard for shard in manifest.shards if shard.path == name)
        example = next(islice(read_shard(shards, shard), int(number), None))
        images.append(
            PredictedImage(
                png=encode_png(example_pixels(example)),
                label=row["label_name"],
                predicted=row["predicted_name"],
                probability=row["probability"],
            )
        )
    return images
