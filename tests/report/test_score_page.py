"""The page of a scoring: everything is there, nothing is loaded, no name is taken for markup."""

from __future__ import annotations

import io
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rich.console import Console

from nodewise.analysis.confusion import accuracy_of, class_scores, confusion_matrix
from nodewise.report.score_charts import confusion_chart
from nodewise.report.score_page import WrongImage, write_score_page
from nodewise.report.terminal import render_score
from nodewise.specs.results import ScoreResult

from .pages import Page

HOSTILE = "<script>alert(1)</script>\x1b[31m{{7*7}}$x$"
ANIMALS = ("cat", "dog", "emu")
MATRIX = ((60, 20, 0), (10, 20, 10), (0, 0, 1000))


def a_result(classes: tuple[str, ...] = ANIMALS, matrix: Any = MATRIX, **changes: Any) -> ScoreResult:
    facts: dict[str, Any] = {
        "records": sum(map(sum, matrix)),
        "accuracy": accuracy_of(matrix),
        "predictions_path": "/home/me/predictions",
        "seconds": 2.0,
        "start_up_seconds": 1.0,
        "records_per_s": 9000.0,
        "split": "test",
        "batch_size": 32,
        "forward_records_per_s": 10_000.0,
        "classes": class_scores(classes, matrix),
        "confusion": matrix,
        "run_id": "20261121-101500-a1b2",
        "report_path": "/home/me/report.html",
    }
    return ScoreResult(**{**facts, **changes})


def many_classes(count: int) -> ScoreResult:
    names = tuple(f"class {number}" for number in range(count))
    counts = {(n, n): 50 for n in range(count)} | {(n, (7 * n + 1) % count): n for n in range(1, count)}
    return a_result(names, confusion_matrix(count, counts))


def a_wrong_image(side: int = 8, label: str = "cat") -> WrongImage:
    pixels = np.full((side, side, 3), (200, 10, 20), np.uint8)
    return WrongImage(pixels=pixels, label=label, predicted="dog", probability=0.987, record="test-00000-9.tfrec:3")


def page_of(tmp_path: Path, result: ScoreResult, wrong: tuple[WrongImage, ...] = ()) -> str:
    path = tmp_path / "new" / "page.html"
    write_score_page(path, result, wrong=wrong, model="/m.safetensors", shards="/shards", command="nodewise score x")
    assert [entry.name for entry in path.parent.iterdir()] == ["page.html"]
    return path.read_text(encoding="utf-8")


def test_the_page_says_how_well_how_fast_and_how_to_repeat_it(tmp_path: Path) -> None:
    text = Page(page_of(tmp_path, a_result())).text
    for words in (
        "96.4 % of the images were predicted right",
        "Recognised least: dog (50 % of 40); most frequent error: cat taken for dog (20 of 80).",
        "9,000 images/s from shards to predictions on disk",
        "That is 0.90 of the 10,000 images/s that the network alone does with images in memory, in batches of 32.",
        "1,120 images (test) · 3 classes · run 20261121-101500-a1b2",
        "Most frequent errors: cat for dog (20), dog for cat (10), dog for emu (10).",
        "dog 40 50.0 % 50.0 % cat 80 85.7 % 75.0 % emu 1,000 99.0 % 100.0 %",
        "cat dog 20 25.0 %",
        "/m.safetensors",
        "/shards",
        "nodewise score x",
    ):
        assert words in text, words


def test_wrong_images_are_shown_with_what_they_were_taken_for(tmp_path: Path) -> None:
    source = page_of(tmp_path, a_result(), (a_wrong_image(), a_wrong_image(side=500)))
    assert "✗ dog 98.7 % sure is cat test-00000-9.tfrec:3" in Page(source).text
    # A small one is kept as it is, a large one becomes a thumbnail.
    assert re.findall(r'<img class="(\w*)" src="data:image/(\w+);', source) == [("tiny", "png"), ("", "jpeg")]
    assert len(source) < 100_000


def test_a_page_loads_nothing_and_runs_nothing(tmp_path: Path) -> None:
    source = page_of(tmp_path, a_result(), (a_wrong_image(),))
    tags = Page(source).tags
    assert "default-src 'none'" in source
    assert not {"script", "iframe", "object", "embed", "link", "base", "form"} & {tag for tag, _ in tags}
    for tag, attributes in tags:
        assert not any(name.startswith("on") for name in attributes), tag
        for name in ("src", "href", "xlink:href"):
            value = attributes.get(name) or "data:"
            assert value.startswith(("data:", "#")), (tag, value[:60])


def test_names_are_escaped(tmp_path: Path) -> None:
    classes = (HOSTILE, "dog", "emu")
    result = a_result(classes, run_id=HOSTILE, predictions_path=HOSTILE)
    source = page_of(tmp_path, result, (a_wrong_image(label=HOSTILE),))
    assert "<script" not in source
    assert "{{7*7}}" in source
    assert "49" not in Page(source).text


def test_squares_have_their_counts_where_there_is_room() -> None:
    few, many = confusion_chart(ANIMALS, MATRIX), confusion_chart(*named(many_classes(100)))
    assert "1,000" in few.svg
    assert few.columns == ("Label", "cat", "dog", "emu")
    assert few.rows[1] == ("dog", "10", "20", "10")
    assert many.columns == ("Label", "Predicted", "Images", "Of the label")
    assert len(many.rows) <= 100
    # The names of every second class, so that they can be read.
    assert "class 98<" in many.svg
    assert "class 99<" not in many.svg


def named(result: ScoreResult) -> tuple[tuple[str, ...], Any]:
    return tuple(one.name for one in result.classes), result.confusion


def test_a_matrix_of_a_hundred_classes_stays_small(tmp_path: Path) -> None:
    assert len(page_of(tmp_path, many_classes(100))) < 200_000


@pytest.mark.parametrize("count", [1, 2, 20, 21, 300])
def test_any_number_of_classes_makes_a_page(tmp_path: Path, count: int) -> None:
    text = Page(page_of(tmp_path, many_classes(count))).text
    assert f"{count} class{'' if count == 1 else 'es'}" in text
    assert ("and 100 more" in text) == (count == 300)


def test_a_model_without_errors_has_no_list_of_them(tmp_path: Path) -> None:
    text = Page(page_of(tmp_path, a_result(ANIMALS, ((5, 0, 0), (0, 6, 0), (0, 0, 0))))).text
    assert "No image was taken for another class" in text
    assert "Most frequent errors" not in text
    assert "Surest errors" not in text
    assert "emu 0 - -" in text


def printed(result: ScoreResult, width: int) -> list[str]:
    console = Console(width=width, record=True, file=io.StringIO(), color_system=None)
    render_score(result, console)
    return [line.rstrip() for line in console.export_text().splitlines()]


@pytest.mark.parametrize("width", [80, 120])
def test_the_terminal_names_the_worst_classes_and_the_report(width: int) -> None:
    lines = printed(a_result(), width)
    assert max(map(len, lines)) <= width
    assert lines[0] == "Scored 1,120 images (test) in 2.0 s (and 1.0 s to start), 9,000/s"
    words = " ".join(lines)
    assert "That is 0.90 of the 10,000 images/s that the network alone does with images in memory" in words
    assert "Accuracy: 96.4 %" in lines
    assert [line.split() for line in lines if line.startswith(ANIMALS)] == [
        ["dog", "40", "50.0", "%", "50.0", "%"],
        ["cat", "80", "75.0", "%", "85.7", "%"],
        ["emu", "1,000", "100.0", "%", "99.0", "%"],
    ]
    assert "Predictions: /home/me/predictions" in lines
    assert "Report: /home/me/report.html" in lines


def test_control_characters_do_not_reach_the_terminal() -> None:
    assert "\x1b" not in "".join(printed(a_result((HOSTILE, "dog", "emu")), 80))
