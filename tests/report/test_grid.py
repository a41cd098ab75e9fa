"""A grid of images, as a page and in a terminal."""

from __future__ import annotations

import base64
import io
import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from rich.console import Console

from nodewise.report.grid import GridImage, can_show_images, render_grid, write_grid

from .pages import Page

RED, BLUE = (200, 10, 20), (30, 40, 220)


def an_image(
    colour: tuple[int, int, int] = RED, *, height: int = 8, width: int = 8, label: str = "daisy", place: str = "1.jpg"
) -> GridImage:
    pixels = np.full((height, width, 3), colour, np.uint8)
    return GridImage(pixels=pixels, label=label, place=place, facts=f"{width} x {height}, 1.0 KiB")


BROKEN = GridImage(pixels=None, label="daisy", place="2.jpg", facts="cannot be decoded: cut short")


def printed(images: list[GridImage], *, width: int = 80, colours: str = "truecolor") -> str:
    stream = io.StringIO()
    render_grid(images, Console(file=stream, width=width, force_terminal=True, color_system=colours))  # type: ignore[arg-type]
    return stream.getvalue()


def plain(text: str) -> list[str]:
    return [line.rstrip() for line in re.sub(r"\x1b\[[0-9;]*m", "", text).splitlines()]


def page(tmp_path: Path, images: list[GridImage], title: str = "flowers", summary: str = "nine images") -> str:
    path = tmp_path / "new" / "grid.html"
    write_grid(path, images, title=title, summary=summary)
    assert [entry.name for entry in path.parent.iterdir()] == ["grid.html"]
    return path.read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"force_terminal": True, "color_system": "truecolor"}, True),
        ({"force_terminal": True, "color_system": "256"}, True),
        ({"force_terminal": True, "color_system": "standard"}, False),
        ({"force_terminal": True, "color_system": None}, False),
        ({"force_terminal": True, "color_system": "truecolor", "no_color": True}, False),
        ({"force_terminal": False, "color_system": "truecolor"}, False),
    ],
)
def test_images_need_a_terminal_with_colours(options: dict[str, object], expected: bool) -> None:
    assert can_show_images(Console(file=io.StringIO(), **options)) is expected  # type: ignore[arg-type]


def test_two_pixels_stand_one_above_the_other() -> None:
    pixels = np.array([[RED, BLUE], [BLUE, RED]], np.uint8)
    image = GridImage(pixels=pixels.repeat(10, 0).repeat(10, 1), label="x", place="", facts="")
    # Three to a row with gaps of two: (10 - 4) / 3 = 2 columns, so 2 x 2 pixels in one line.
    first = printed([image], width=10).splitlines()[0]
    red, blue = ";".join(map(str, RED)), ";".join(map(str, BLUE))
    assert first.startswith(f"\x1b[38;2;{red};48;2;{blue}m▀\x1b[0m\x1b[38;2;{blue};48;2;{red}m▀")


def test_256_colours_are_enough() -> None:
    text = printed([an_image()], colours="256")
    assert "38;5;" in text
    assert "38;2;" not in text


@pytest.mark.parametrize("width", [80, 120])
def test_the_grid_has_three_columns_that_fit(width: int) -> None:
    lines = plain(printed([an_image(label=f"class {number}") for number in range(9)], width=width))
    assert max(map(len, lines)) <= width
    side = min(36, (width - 4) // 3)
    assert sum(line.count("▀") for line in lines) == 9 * side * -(-side // 2)
    labels = [re.findall(r"class \d", line) for line in lines if "class" in line]
    assert labels == [[f"class {row * 3 + column}" for column in range(3)] for row in range(3)]


@pytest.mark.parametrize(("height", "width", "rows", "columns"), [(20, 40, 13, 26), (40, 20, 26, 13), (1, 400, 1, 26)])
def test_sides_keep_their_ratio(height: int, width: int, rows: int, columns: int) -> None:
    # At 82 columns a cell has 26; an odd number of rows ends in upper halves alone.
    lines = [line.count("▀") for line in plain(printed([an_image(height=height, width=width)], width=82))]
    assert [count for count in lines if count] == [columns] * -(-rows // 2)


def test_long_names_are_folded_and_cut_nowhere() -> None:
    place = "dandelion/" + "x" * 60 + ".jpg"
    text = printed([an_image(place=place), an_image(), an_image()])
    # The first column has 25 characters.
    assert place in "".join(line[:25].strip() for line in plain(text))
    assert "…" not in text


def test_what_cannot_be_decoded_says_so(tmp_path: Path) -> None:
    lines = plain(printed([BROKEN]))
    assert "cannot be decoded: cut" in "\n".join(lines)
    assert "▀" not in "\n".join(lines)
    source = page(tmp_path, [BROKEN])
    assert "cannot be decoded: cut short" in source
    assert "<img" not in source


def test_control_characters_do_not_reach_the_terminal() -> None:
    text = printed([an_image(label="a\x1b[2Jb", place="c\nd")])
    assert "\x1b[2J" not in text
    assert "a\ufffd[2Jb" in text


def test_the_page_shows_label_place_and_facts(tmp_path: Path) -> None:
    shown = Page(page(tmp_path, [an_image(label="daisy", place="train-00000-3.tfrec, record 1")], summary="1 of 3"))
    for expected in ("flowers", "1 of 3", "daisy", "train-00000-3.tfrec, record 1", "8 x 8, 1.0 KiB"):
        assert expected in shown.text
    (image,) = [attributes for tag, attributes in shown.tags if tag == "img"]
    assert image["alt"] == "An image labelled daisy"


def test_small_images_keep_every_pixel_and_large_ones_are_jpegs(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (32, 32, 3), np.uint8)
    small = GridImage(pixels=noise, label="a", place="b", facts="c")
    sources = [
        attributes["src"] or ""
        for tag, attributes in Page(page(tmp_path, [small, an_image(height=100, width=256)])).tags
        if tag == "img"
    ]
    head, _, content = sources[0].partition(",")
    assert head == "data:image/png;base64"
    assert np.array_equal(np.asarray(Image.open(io.BytesIO(base64.b64decode(content)))), noise)
    assert sources[1].startswith("data:image/jpeg;base64,")


def test_the_page_loads_nothing_and_runs_nothing(tmp_path: Path) -> None:
    source = page(tmp_path, [an_image(), BROKEN])
    tags = Page(source).tags
    for tag, attributes in tags:
        assert tag not in {"script", "link", "iframe", "object", "embed", "base", "form"}
        assert not [name for name in attributes if name.startswith("on")]
        assert all((attributes.get(name) or "data:").startswith("data:") for name in ("src", "href", "srcset"))
    policies = [attributes["content"] for _, attributes in tags if attributes.get("http-equiv")]
    assert policies == [
        "default-src 'none'; style-src 'unsafe-inline'; img-src data:; base-uri 'none'; form-action 'none'"
    ]
    assert not re.search(r"url\(|@import", source)
    assert "prefers-color-scheme: dark" in source


@pytest.mark.parametrize("name", ["<script>alert(1)</script>", "{{7*7}}", '"><img src=x onerror=alert(1)>'])
def test_hostile_names_are_text(tmp_path: Path, name: str) -> None:
    shown = Page(page(tmp_path, [an_image(label=name, place=name)], title=name, summary=name))
    assert name in "".join(shown.words)
    kinds = [tag for tag, _ in shown.tags]
    assert kinds.count("img") == 1
    assert "script" not in kinds


def test_the_page_opens_in_a_browser_without_complaint(tmp_path: Path) -> None:
    chromium = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if chromium is None:
        pytest.skip("there is no Chromium on this machine")
    page(tmp_path, [an_image(), an_image(BLUE, height=90, width=120)])
    flags = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync"]
    flags += ["--disable-background-networking", "--disable-component-update", "--host-resolver-rules=MAP * ~NOTFOUND"]
    opened = subprocess.run(
        [
            chromium,
            *flags,
            f"--user-data-dir={tmp_path / 'profile'}",
            "--enable-logging=stderr",
            "--dump-dom",
            str(tmp_path / "new" / "grid.html"),
        ],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert opened.stdout.count("<img") == 2
    assert [line for line in opened.stderr.splitlines() if "CONSOLE" in line] == []
