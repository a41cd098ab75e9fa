"""A scoring as one HTML file that opens from disk: no script, nothing loaded from outside."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from nodewise.analysis.confusion import mixups, worst_classes
from nodewise.analysis.score_words import quality_sentence, speed_sentence
from nodewise.core.files import write_atomic
from nodewise.report.page import drawn, page_environment
from nodewise.report.score_charts import confusion_chart
from nodewise.report.text import printable
from nodewise.specs.results import ClassScore, ScoreResult

__all__ = ["WrongImage", "write_score_page"]

CLASSES_SHOWN = 200
MIXUPS_SHOWN = 10
SMALL_PX = 64
"""Images up to this size are stored as they are and drawn with sharp pixels."""
THUMBNAIL_PX = 192


@dataclass(frozen=True, slots=True, kw_only=True)
class WrongImage:
    """An image that the model took for another class.

    Attributes:
        pixels: RGB, shape (height, width, 3).
        probability: That the model gives to ``predicted``, 0 to 1.
        record: Its name among the predictions.
    """

    pixels: NDArray[np.uint8]
    label: str
    predicted: str
    probability: float
    record: str


def write_score_page(
    path: Path, result: ScoreResult, *, wrong: Sequence[WrongImage], model: str, shards: str, command: str = ""
) -> None:
    """Write the page; the file is whole or absent.

    Args:
        wrong: The surest errors, the surest first.
        model, shards: What was scored with what.
        command: What was typed, to get the numbers again.
    """
    names = tuple(score.name for score in result.classes)
    page = (
        page_environment()
        .get_template("score.html.jinja")
        .render(
            result=result,
            model=model,
            shards=shards,
            command=command,
            quality=quality_sentence(result),
            speed=speed_sentence(result),
            chart=drawn(confusion_chart(names, result.confusion)),
            classes=_ordered(result.classes)[:CLASSES_SHOWN],
            mixups=mixups(names, result.confusion, MIXUPS_SHOWN),
            wrong=[_show(image) for image in wrong],
        )
    )
    write_atomic(path, page)


def _ordered(scores: Sequence[ClassScore]) -> list[ClassScore]:
    """The worst first, and last those without records."""
    return [*worst_classes(scores, len(scores)), *(one for one in scores if one.recall is None)]


def _show(image: WrongImage) -> dict[str, Any]:
    is_small = max(image.pixels.shape) <= SMALL_PX
    picture = Image.fromarray(image.pixels)
    picture.thumbnail((THUMBNAIL_PX, THUMBNAIL_PX))
    buffer, kind = io.BytesIO(), "png" if is_small else "jpeg"
    picture.save(buffer, format=kind, quality=85)
    return {
        "uri": f"data:image/{kind};base64,{base64.b64encode(buffer.getvalue()).decode()}",
        "is_small": is_small,
        "label": printable(image.label),
        "predicted": printable(image.predicted),
        "probability": image.probability,
        "record": printable(image.record),
    }
