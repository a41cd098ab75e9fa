"""Labelled images side by side: in a terminal that has colours, or as one HTML file that opens from disk."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from rich.color import Color
from rich.console import Console
from rich.style import Style
from rich.table import Table
from rich.text import Text

from nodewise.core.files import write_atomic
from nodewise.report.page import page_environment
from nodewise.report.text import printable

__all__ = ["GridImage", "can_show_images", "render_grid", "write_grid"]

COLUMNS = 3
MAX_CELL_COLUMNS = 36
"""Columns of a terminal that one image takes at most; it is as high as that is wide."""
SMALL_PX = 64
"""Images up to this size are drawn with sharp pixels and stored without loss."""

_GAP = 2
_UPPER_HALF = "\N{UPPER HALF BLOCK}"


@dataclass(frozen=True, slots=True, kw_only=True)
class GridImage:
    """One image of the grid.

    Attributes:
        pixels: RGB, shape (height, width, 3); None if it could not be decoded.
        label: Name of its class.
        place: Its file and record.
        facts: What else there is to say of it: size, format, or why it could not be decoded.
    """

    pixels: NDArray[np.uint8] | None
    label: str
    place: str
    facts: str


def can_show_images(console: Console) -> bool:
    """Whether this is a terminal with at least 256 colours, and nobody asked for no colour (``NO_COLOR``)."""
    return console.is_terminal and not console.no_color and console.color_system in ("256", "truecolor")


def render_grid(images: Sequence[GridImage], console: Console) -> None:
    """Print the images three to a row, fitted to the console's width: two pixels to a character, one above the other.

    Sides keep their ratio. Label, place and facts stand below each image and are cut nowhere.
    """
    side = max(1, min(MAX_CELL_COLUMNS, (console.width - _GAP * (COLUMNS - 1)) // COLUMNS))
    for start in range(0, len(images), COLUMNS):
        row = images[start : start + COLUMNS]
        console.print(_row([_half_blocks(image.pixels, side) for image in row], side, "bottom"))
        console.print(_row([_caption(image) for image in row], side, "top"))


def write_grid(path: Path, images: Sequence[GridImage], *, title: str, summary: str) -> None:
    """Write the images as a page that loads nothing and runs no script; the file is whole or absent.

    Args:
        images: Their pixels are stored as they are: bring large ones to a smaller size first.
        title: Of the page, in one line.
        summary: What is shown, in one line.
    """
    template = page_environment().get_template("grid.html.jinja")
    page = template.render(
        title=printable(title),
        summary=printable(summary),
        images=[
            {
                "uri": None if image.pixels is None else _data_uri(image.pixels),
                "is_small": image.pixels is not None and _is_small(image.pixels),
                "label": printable(image.label),
                "place": printable(image.place),
                "facts": printable(image.facts),
            }
            for image in images
        ],
    )
    write_atomic(path, page)


def _row(cells: Sequence[Text], side: int, vertical: Literal["top", "bottom"]) -> Table:
    row = Table.grid(padding=(0, _GAP, 0, 0))
    for _ in cells:
        row.add_column(width=side, overflow="fold", vertical=vertical)
    row.add_row(*cells)
    return row


def _caption(image: GridImage) -> Text:
    caption = Text(printable(image.label), "bold")
    for words in (image.place, image.facts):
        caption.append(f"\n{printable(words)}", "not bold dim")
    return caption.append("\n")


def _half_blocks(pixels: NDArray[np.uint8] | None, side: int) -> Text:
    """The image in a square of ``side`` columns; nothing if there is none."""
    if pixels is None:
        return Text()
    height, width = pixels.shape[:2]
    scale = side / max(height, width)
    columns, rows = max(1, round(width * scale)), max(1, round(height * scale))
    method = Image.Resampling.NEAREST if scale > 1 else Image.Resampling.BOX
    small = np.asarray(Image.fromarray(pixels).resize((columns, rows), method))
    lines = []
    for row in range(0, rows, 2):
        line = Text(" " * ((side - columns) // 2))
        for column in range(columns):
            below = small[row + 1, column] if row + 1 < rows else None
            line.append(_UPPER_HALF, Style(color=_colour(small[row, column]), bgcolor=_colour(below)))
        lines.append(line)
    return Text("\n").join(lines)


def _colour(pixel: NDArray[np.uint8] | None) -> Color | None:
    return None if pixel is None else Color.from_rgb(*pixel.tolist())


def _is_small(pixels: NDArray[np.uint8]) -> bool:
    return bool(max(pixels.shape) <= SMALL_PX)


def _data_uri(pixels: NDArray[np.uint8]) -> str:
    buffer = io.BytesIO()
    kind = "png" if _is_small(pixels) else "jpeg"
    Image.fromarray(pixels).save(buffer, format=kind, quality=85)
    return f"data:image/{kind};base64,{base64.b64encode(buffer.getvalue()).decode()}"
