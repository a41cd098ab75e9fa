"""A comparison as one HTML file that opens from disk: no script, nothing loaded from outside."""

from __future__ import annotations

import base64
import io
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from markupsafe import Markup
from PIL import Image

from nodewise.analysis.ratios import cost_per_1000, speedup_range
from nodewise.analysis.verdict import ACCURACY_MATTERS
from nodewise.core.files import write_atomic
from nodewise.report import text
from nodewise.report.charts import Chart, cost_chart, time_chart, training_chart
from nodewise.report.page import drawn, page_environment
from nodewise.report.split_chart import split_chart
from nodewise.report.usage_charts import usage_charts
from nodewise.specs.results import ComparisonResult, ScenarioResult

__all__ = ["Evidence", "PredictedImage", "write_html"]

IMAGES_SHOWN = 9
WARNINGS_SHOWN = 50
MOST_PAGE_BYTES = 280_000
"""What the charts of utilisation may fill a page up to; their tables come on top."""
SMALL_IMAGE_BYTES = 8 * 1024
THUMBNAIL_PX = 144


@dataclass(frozen=True, slots=True, kw_only=True)
class PredictedImage:
    """An image that was scored: what it is and what the model took it for.

    Attributes:
        png: The image as a file; larger ones are shown as thumbnails.
        probability: That the model gives to ``predicted``, 0 to 1.
    """

    png: bytes
    label: str
    predicted: str
    probability: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """Where the numbers come from, and how to get them again.

    Attributes:
        machine: Processor model and operating system.
        versions: Of Python and of the packages that did the work, by name.
        source: The images, in words; or the program.
        source_name: What ``source`` is.
        fingerprint: Of the input: equal for equal images; of a program, for the same file.
        commands: Shell commands that repeat the comparison.
        price_notes: Sources and dates of the prices.
        warnings: What a reader should know before trusting a number.
    """

    started_at: datetime
    ended_at: datetime
    machine: str
    cores: int
    memory_bytes: int
    versions: Mapping[str, str]
    source: str
    fingerprint: str
    commands: tuple[str, ...] = ()
    price_notes: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    source_name: str = "Images"


def write_html(
    path: Path, comparison: ComparisonResult, *, images: Sequence[PredictedImage], evidence: Evidence
) -> None:
    """Write the report; the file is whole or absent.

    Args:
        images: The first nine are shown; none leaves the section out.
    """
    template = page_environment().get_template("report.html.jinja")

    def render(usage: Sequence[Chart], undrawn: Sequence[str]) -> str:
        return template.render(
            comparison=comparison,
            rows=[_row(scenario, comparison) for scenario in comparison.scenarios],
            emulated=any(scenario.emulated for scenario in comparison.scenarios),
            has_accuracy=any(scenario.accuracy is not None for scenario in comparison.scenarios),
            has_records=any(stage.records for scenario in comparison.scenarios for stage in scenario.stages),
            repeated=any(scenario.repeats > 1 for scenario in comparison.scenarios),
            charts=charts,
            usage_charts=[drawn(chart) for chart in usage],
            undrawn=undrawn,
            limited=[scenario for scenario in comparison.scenarios if scenario.limit_sentence],
            images=shown,
            evidence=evidence,
            warnings=evidence.warnings[:WARNINGS_SHOWN],
            cost_per_1000=cost_per_1000,
            seconds_range=text.seconds_range,
        )

    charts, shown = _charts(comparison), [_show(image) for image in images[:IMAGES_SHOWN]]
    page = render([], [])
    usage, undrawn = usage_charts(comparison, MOST_PAGE_BYTES - len(page.encode()))
    write_atomic(path, render(usage, undrawn))


def _charts(comparison: ComparisonResult) -> dict[str, tuple[Chart, Markup]]:
    charts = {
        "time": time_chart(comparison) if comparison.scenarios else None,
        "split": split_chart(comparison),
        "cost": cost_chart(comparison),
        "training": training_chart(comparison),
    }
    return {name: drawn(chart) for name, chart in charts.items() if chart is not None}


def _row(scenario: ScenarioResult, comparison: ComparisonResult) -> dict[str, Any]:
    """A scenario and what the table says of it; ``marks``, by column: ``best``, ``worse`` than the baseline, empty."""
    baseline = next(one for one in comparison.scenarios if one.name == comparison.baseline)
    is_baseline = scenario.name == baseline.name
    columns: dict[str, Callable[[ScenarioResult], float | None]] = {
        # Higher is better in all of them, hence the signs.
        "seconds": lambda one: -one.seconds,
        "cost": lambda one: None if one.cost_usd is None else -one.cost_usd,
        "accuracy": lambda one: one.accuracy,
    }
    return {
        "scenario": scenario,
        "is_baseline": is_baseline,
        "cluster": text.cluster_text(scenario),
        "speedup": comparison.speedup.get(scenario.name),
        "speedup_range": None if is_baseline else speedup_range(baseline, scenario),
        "efficiency": comparison.efficiency.get(scenario.name),
        "cost_ratio": comparison.cost_ratio.get(scenario.name),
        "retries": sum(stage.retries for stage in scenario.stages),
        "marks": {
            name: _mark(
                value(scenario),
                value(baseline),
                [value(one) for one in comparison.scenarios],
                least=ACCURACY_MATTERS if name == "accuracy" else 0.0,
            )
            for name, value in columns.items()
        },
    }


def _mark(value: float | None, reference: float | None, values: Iterable[float | None], *, least: float) -> str:
    known = [one for one in values if one is not None]
    if value is None or not known or max(known) - min(known) <= least:
        return ""
    if value == max(known):
        return "best"
    return "worse" if reference is not None and value < reference else ""


def _show(image: PredictedImage) -> dict[str, Any]:
    return {
        "uri": _data_uri(image.png),
        "label": image.label,
        "predicted": image.predicted,
        "probability": image.probability,
        "right": image.label == image.predicted,
    }


def _data_uri(png: bytes) -> str:
    kind, content = "png", png
    if len(png) > SMALL_IMAGE_BYTES:
        # Nine photos as PNG would weigh more than all the rest of the report.
        with Image.open(io.BytesIO(png)) as image:
            thumbnail = image.convert("RGB")
        thumbnail.thumbnail((THUMBNAIL_PX, THUMBNAIL_PX))
        buffer = io.BytesIO()
        thumbnail.save(buffer, format="JPEG", quality=85)
        kind, content = "jpeg", buffer.getvalue()
    return f"data:image/{kind};base64,{base64.b64encode(content).decode()}"
