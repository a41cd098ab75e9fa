"""Matplotlib figures as SVG for an HTML page: no script, no outside reference, the same bytes each time."""

from __future__ import annotations

import html
import io
import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import matplotlib
from matplotlib.figure import Figure

__all__ = ["chart_style", "to_svg"]


@contextmanager
def chart_style() -> Iterator[None]:
    """The look of all charts; figures are made and written inside."""
    with matplotlib.rc_context(), warnings.catch_warnings():
        # Only measuring suffers from a missing glyph: the reader's browser has fonts of its own.
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        # What the user's own matplotlibrc says about colours, fonts or TeX is not meant for this report.
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(
            {
                "axes.axisbelow": True,
                "axes.grid": True,
                "axes.spines.right": False,
                "axes.spines.top": False,
                "font.size": 12,
                "grid.color": "#dddddd",
                "hatch.linewidth": 0.6,
                "legend.frameon": False,
                "svg.fonttype": "none",  # text stays text: small, searchable, and in fonts that know its script
                "text.parse_math": False,  # a name may hold a "$"
            }
        )
        yield


def to_svg(figure: Figure, *, key: str, title: str, summary: str) -> str:
    """Write a figure as an ``<svg>`` element with ``<title>`` and ``<desc>``; its points become the pixels of the page.

    Args:
        key: Prefix of all ids, distinct for each chart of a page.
        title, summary: What a screen reader says; escaped here.
    """
    buffer = io.StringIO()
    with matplotlib.rc_context({"svg.hashsalt": key}):
        figure.savefig(buffer, format="svg", metadata=dict.fromkeys(("Date", "Creator", "Format", "Type")))
    # Matplotlib writes a whole file: a page has no place for the prolog, the style would reach the rest of the page,
    # and the ids are the same in every chart.
    drawing = buffer.getvalue()
    drawing = drawing[drawing.index(">", drawing.index("<svg")) + 1 :]
    drawing = re.sub(r"<style\b.*?</style>", "", drawing, flags=re.DOTALL)
    drawing = re.sub(r"<[^>]+>", lambda tag: _fit_tag(tag[0], key), drawing)
    drawing = re.sub(r"\s*\n\s*", "\n", drawing).strip()
    width, height = (inches * 72 for inches in figure.get_size_inches())
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:g} {height:g}" role="img" '
        f'aria-labelledby="{key}-title {key}-desc" font-family="system-ui, \'DejaVu Sans\', sans-serif" '
        f'stroke-linejoin="round" stroke-linecap="butt">'
        f'<title id="{key}-title">{html.escape(title)}</title>'
        f'<desc id="{key}-desc">{html.escape(summary)}</desc>{drawing}'
    )


def _fit_tag(tag: str, key: str) -> str:
    for reference, own in ((' id="', ' id="'), ('xlink:href="#', 'href="#'), ("url(#", "url(#")):
        tag = tag.replace(reference, f"{own}{key}-")
    tag = re.sub(r' font-family: [^;"]*;', "", tag)
    # What nobody sees would be more than half of a page: digits after a tenth of a pixel, turns by nothing, names of
    # groups.
    tag = re.sub(r' (?:d|x|y)="[^"]*"', lambda place: re.sub(r"(\.\d)\d+", r"\1", place[0]), tag)
    tag = re.sub(r' transform="rotate\(-0 [^"]*"', "", tag)
    tag = re.sub(r"<g id=\"[^\"]*\"", "<g", tag)
    if tag.startswith("<path") and " C " not in tag and "\nC " not in tag:
        # Straight lines follow each other without a letter.
        tag = tag.replace("\nL ", " ")
    return tag
