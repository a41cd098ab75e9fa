import io
from collections.abc import Callable

import pytest
from rich.console import Console

from nodewise.report.terminal import render_comparison, render_prepare, render_score, render_train
from nodewise.specs.results import (
    ComparisonResult,
    EpochResult,
    PrepareResult,
    ScenarioResult,
    ScoreResult,
    ShardInfo,
    SkippedImage,
    TrainResult,
)

MakeScenario = Callable[..., ScenarioResult]
MakeComparison = Callable[..., ComparisonResult]
LONG_PATH = "/a-folder-with-a-long-name/" + "another-one/" * 8 + "shards"


def printed(render: Callable[..., None], result: object, *, width: int = 100) -> list[str]:
    console = Console(file=io.StringIO(), width=width)
    render(result, console)
    output = console.file.getvalue()  # type: ignore[attr-defined]
    assert "\x1b" not in output
    return [line.rstrip() for line in output.splitlines()]


@pytest.mark.parametrize("width", [80, 120])
def test_no_line_is_wider_than_the_terminal_and_no_word_is_cut(repeated_example: ComparisonResult, width: int) -> None:
    *lines, path = printed(render_comparison, repeated_example, width=width)
    assert max(map(len, lines)) <= width
    assert "\u2026" not in "".join(lines)
    assert path == f"Report: {repeated_example.report_path}"
    assert len(path) > 80


@pytest.mark.parametrize("width", [80, 120])
def test_long_names_leave_the_numbers_whole(scenario: MakeScenario, comparison: MakeComparison, width: int) -> None:
    name = "five nodes of the larger kind, with a name that somebody wrote at length"
    lines = printed(
        render_comparison, comparison(scenario("one", repeats=3), scenario(name, nodes=5, repeats=3)), width=width
    )
    assert max(map(len, lines[:-1])) <= width
    assert any("49.5-52.5 s" in line for line in lines)
    assert "\u2026" not in "".join(lines)


@pytest.mark.parametrize("width", [80, 120])
def test_a_row_has_the_numbers_of_its_scenario(scenario: MakeScenario, comparison: MakeComparison, width: int) -> None:
    # 51 s against 25.5 s on 5 nodes: 2.00x, 40 %; 5 x 0.72 x 25.5 / 3600 = 0.0255 USD, 2.5 times the baseline's.
    result = comparison(
        scenario("one", price=0.72),
        scenario("five", nodes=5, start_up=2.5, prepare=5.0, train=15.0, score=2.0, price=0.72),
    )
    lines = printed(render_comparison, result, width=width)
    row = next(line for line in lines if line.startswith("five"))
    for cell in ("5", "25.5 s", "2.00x", "40 %", "$0.0255", "95.2 %"):
        assert cell in row
    assert "2.50x" in "\n".join(lines)
    stage_row = [line for line in lines if line.startswith("five")][1]
    assert stage_row.split() == ["five", "2.5", "s", "5.0", "s", "15.0", "s", "2.0", "s", "1.0", "s"]


def test_start_up_has_a_column_of_its_own_where_there_is_room(example: ComparisonResult) -> None:
    assert "Start-up" in "\n".join(printed(render_comparison, example, width=120))
    assert "Start-up" not in "\n".join(printed(render_comparison, example, width=80))


def test_emulation_and_the_baseline_are_said_plainly(example: ComparisonResult) -> None:
    lines = printed(render_comparison, example)
    assert lines[0] == "digits: one node or five: 4 scenarios, nodes emulated on this machine (2 cores)"
    assert "Cost of emulated scenarios: if run on Standard_DS3_v2 at this speed, not a bill." in lines
    assert "(baseline)" in lines[5]


def test_of_mixed_scenarios_the_emulated_ones_are_marked(scenario: MakeScenario, comparison: MakeComparison) -> None:
    result = comparison(scenario("one"), scenario("real", emulated=False), scenario("small", nodes=2))
    lines = printed(render_comparison, result, width=120)
    assert lines[0].endswith("some nodes emulated on this machine (2 cores)")
    assert "(baseline, emulated)" in "\n".join(lines)
    assert sum("emulated)" in line for line in lines) == 2


def test_left_out_scenarios_and_unknown_prices_are_shown(scenario: MakeScenario, comparison: MakeComparison) -> None:
    result = comparison(scenario("one", price=None), left_out={"spark-5": "Java 17 or later is not installed"})
    lines = printed(render_comparison, result)
    assert "left out: spark-5: Java 17 or later is not installed" in lines
    assert any("unknown" in line for line in lines)


def test_nothing_but_left_out_scenarios_has_no_table(comparison: MakeComparison) -> None:
    lines = printed(render_comparison, comparison(baseline="spark", left_out={"spark": "no Java"}))
    assert lines[0] == "digits: one node or five: no scenario ran"
    assert not any("Speedup" in line for line in lines)


def test_names_are_neither_markup_nor_escape_sequences(scenario: MakeScenario, comparison: MakeComparison) -> None:
    result = comparison(scenario("[red]one[/red]"), scenario("two\x1b[31m", nodes=2))
    lines = printed(render_comparison, result)
    assert any(line.startswith("[red]one[/red]") for line in lines)
    assert any(line.startswith("two\ufffd[31m") for line in lines)


def a_prepare_result(skipped: int) -> PrepareResult:
    return PrepareResult(
        records=1797,
        skipped=tuple(SkippedImage(path=f"roses/{index}.jpg", reason="not an image") for index in range(skipped)),
        classes=("a", "b"),
        shards=(
            ShardInfo(path="train-00000-1500.tfrec", split="train", records=1500, bytes=2**20, sha256=""),
            ShardInfo(path="test-00000-297.tfrec", split="test", records=297, bytes=2**19, sha256=""),
        ),
        seconds=3.0,
        start_up_seconds=0.5,
        records_per_s=599.0,
        dest=LONG_PATH,
        run_id="run-1",
    )


def test_prepare_says_what_was_made_how_fast_and_where() -> None:
    assert printed(render_prepare, a_prepare_result(0), width=80) == [
        "Prepared 1,797 images of 2 classes in 3.0 s (and 0.50 s to start), 599/s",
        "2 shards, 1.5 MiB (images: train 1,500, test 297)",
        f"Shards: {LONG_PATH}",
        "Run: run-1",
    ]


def test_ten_skipped_images_are_listed_and_the_others_counted() -> None:
    lines = printed(render_prepare, a_prepare_result(13))
    assert "13 images could not be decoded and were skipped:" in lines
    assert sum("not an image" in line for line in lines) == 10
    assert "  roses/9.jpg: not an image" in lines
    assert "  and 3 more" in lines


def test_train_shows_each_epoch_and_the_accuracy() -> None:
    result = TrainResult(
        model_path=LONG_PATH,
        accuracy=0.912,
        epochs=(EpochResult(epoch=1, loss=0.51234, train_accuracy=0.8, test_accuracy=None, seconds=2.0),),
        seconds=12.0,
        start_up_seconds=1.0,
        world_size=5,
        strategy="ddp",
        records=1437,
        run_id="run-2",
    )
    lines = printed(render_train, result)
    assert lines[0] == "Trained on 1,437 images for 1 epoch with 5 workers (ddp) in 12.0 s (and 1.0 s to start)"
    assert any(line.split() == ["1", "0.5123", "80.0", "%", "-", "2.0", "s"] for line in lines)
    assert lines[-3:] == ["Accuracy: 91.2 %", f"Model: {LONG_PATH}", "Run: run-2"]


def test_score_without_labels_says_so() -> None:
    result = ScoreResult(
        records=360,
        accuracy=None,
        predictions_path=LONG_PATH,
        seconds=2.0,
        start_up_seconds=0.0,
        records_per_s=180.0,
        split="test",
    )
    assert printed(render_score, result) == [
        "Scored 360 images (test) in 2.0 s (and 0.00 s to start), 180/s",
        "Accuracy: not known, the images have no labels",
        f"Predictions: {LONG_PATH}",
    ]
