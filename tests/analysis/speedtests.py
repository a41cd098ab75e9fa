"""Speed tests made up from known costs, so that what the analysis finds can be held against them."""

from __future__ import annotations

import hashlib
import math
import random
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

from nodewise.analysis.speedtest import average, fit, write_sentence
from nodewise.specs.results import SpeedtestCell, SpeedtestResult

SIZES = (2, 4, 6, 8)
COUNTS = (3, 6, 12, 18)
STORED_BYTES = 27_000
PIXEL_BYTES = 192 * 192 * 3


def make_cell(
    *,
    source: str = "shards",
    reader: str = "nodewise",
    batch_size: int = 2,
    batch_count: int = 3,
    repeat: int = 0,
    seconds: float = 0.01,
    from_cache: float | None = 1.0,
    start_seconds: float = 0.02,
    stored_bytes: int = STORED_BYTES,
) -> SpeedtestCell:
    """A cell that delivered all it was asked for."""
    records = batch_size * batch_count
    return SpeedtestCell(
        source=source,
        reader=reader,
        batch_size=batch_size,
        batch_count=batch_count,
        repeat=repeat,
        records=records,
        short=False,
        seconds=seconds,
        records_per_s=records / seconds,
        from_cache=from_cache,
        bytes=records * stored_bytes,
        pixel_bytes=records * PIXEL_BYTES,
        device_bytes=None if from_cache is None else round(records * stored_bytes * (1 - from_cache)),
        ids_sha256=hashlib.sha256(f"{source} {records}".encode()).hexdigest(),
        start_seconds=start_seconds,
    )


def make_short(cell: SpeedtestCell) -> SpeedtestCell:
    """The same cell, one record of which was missing."""
    return replace(cell, records=cell.records - 1, short=True, records_per_s=None)


def simulate(
    *,
    start: float,
    per_record: float,
    per_batch: float,
    noise: float = 0.0,
    seed: int = 0,
    sizes: Sequence[int] = SIZES,
    counts: Sequence[int] = COUNTS,
    repeat: int = 3,
    **facts: Any,
) -> list[SpeedtestCell]:
    """Cells whose time is the sum of its costs in seconds, times a log-normal noise of mean 1."""
    chance = random.Random(seed)
    sigma = math.sqrt(math.log(1 + noise**2))
    return [
        make_cell(
            batch_size=size,
            batch_count=count,
            repeat=number,
            seconds=(start + per_record * size * count + per_batch * count)
            * chance.lognormvariate(-(sigma**2) / 2, sigma),
            **facts,
        )
        for number in range(repeat)
        for size in sizes
        for count in counts
    ]


def analyse(cells: Iterable[SpeedtestCell], **facts: Any) -> SpeedtestResult:
    """The result as ``nodewise speedtest`` puts it together."""
    kept = tuple(cells)
    result = SpeedtestResult(cells=kept, means=average(kept), fits=fit(kept), sentence="", **facts)
    return replace(result, sentence=write_sentence(result))


def realistic(sources: Sequence[str] = ("photos", "shards", "shards.raw", "shards.tar")) -> SpeedtestResult:
    """Four readers on each source, with the orders of magnitude that were measured on two cores."""
    per_image_s = {"photos": 4.3e-4, "shards": 1.4e-4, "shards.raw": 1.1e-5, "shards.tar": 1.5e-4}
    readers = {  # start of an iteration, per batch, factor of the cost of an image
        "nodewise": (0.0006, 2e-5, 1.0),
        "tf.data": (0.012, 1e-4, 1.45),
        "torch": (0.055, 3e-4, 1.8),
        "ray.data": (0.25, 2e-3, 6.0),
    }
    cells = []
    for number, source in enumerate(sources):
        for other, (reader, (start, per_batch, factor)) in enumerate(readers.items()):
            cells += simulate(
                start=start,
                per_record=per_image_s.get(source, 2e-4) * factor,
                per_batch=per_batch,
                noise=0.08,
                seed=10 * number + other,
                source=source,
                reader=reader,
                from_cache=0.997,
                start_seconds=0.01 + start,
                stored_bytes=PIXEL_BYTES if source.endswith("raw") else STORED_BYTES,
            )
    # The largest setting of Ray on photos found too few.
    cells = [
        make_short(cell)
        if (cell.source, cell.reader, cell.batch_size, cell.batch_count, cell.repeat)
        == (sources[0], "ray.data", 8, 18, 1)
        else cell
        for cell in cells
    ]
    return analyse(
        cells,
        left_out={"webdataset": "not installed: pip install webdataset"},
        imports_s={"nodewise": 0.13, "tf.data": 2.24, "torch": 1.21, "ray.data": None},
        ceilings={
            source: {"decode": 1 / per_image_s[source] * 1.07, "read": 92_000.0}
            for source in sources
            if source in per_image_s and source != "shards.raw"
        },
        cache="warm",
        machine_cores=2,
        seconds=74.2,
        start_up_seconds=0.07,
        table_path="/home/someone/project/.nodewise/runs/20261121-101500-a1b2c3/cells.parquet",
        report_path="/home/someone/a-rather-long-folder-name/project/.nodewise/reports/20261121-a1b2c3/speedtest.html",
        run_id="20261121-101500-a1b2c3",
    )
