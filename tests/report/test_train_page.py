import io
import re
import xml.etree.ElementTree as ET
from collections.abc import Callable
from dataclasses import replace
from decimal import Decimal
from pathlib import Path

import pytest
from rich.console import Console
from tests.analysis.made_trainings import a_row, a_training, simulate
from tests.report.pages import Page

from nodewise.analysis.training_time import KINDS, analyse_training
from nodewise.analysis.training_words import straggler_sentences, time_sentence
from nodewise.report.charts import Chart
from nodewise.report.terminal import render_train
from nodewise.report.train_charts import KIND_LOOKS, epochs_chart, ideal_chart, learning_chart, workers_chart
from nodewise.report.train_page import write_train_page
from nodewise.specs.job import TrainSpec
from nodewise.specs.results import EpochResult, TrainResult
from nodewise.specs.training import LostWorker

LIMIT_BYTES = 350_000
SVG = "{http://www.w3.org/2000/svg}"
HOSTILE = ["<script>alert(1)</script>", "{{7*7}}", '"><img src=x onerror=alert(1)>', "a & 'b' $x_1$", "日本"]
LONG_PATH = "/a-folder-with-a-long-name/" + "another-one/" * 8 + "model.safetensors"

Write = Callable[..., str]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    def write_and_read(result: TrainResult, *, single: TrainResult | None = None, **facts: object) -> str:
        path = tmp_path / "report" / "index.html"
        write_train_page(path, result, analyse_training(result, single=single), **facts)  # type: ignore[arg-type]
        assert [entry.name for entry in path.parent.iterdir()] == ["index.html"]
        return path.read_text(encoding="utf-8")

    return write_and_read


def with_trouble(**values: object) -> TrainResult:
    """Four workers, one of them at half speed, with all that can happen to a training."""
    lost = (
        LostWorker(rank=1, epoch=2, step=1061, came_back=True),
        LostWorker(rank=3, epoch=4, step=161, came_back=False),
        LostWorker(rank=1, epoch=5, step=190, came_back=True),
    )
    troubles = {"lost": lost, "restarts": 2, "resumed_at_step": 1400, "checkpoint_dir": "/runs/7/checkpoints"}
    return simulate(4, 5, slow={2: 2.0}, **(troubles | {"run_id": "run-7"} | values))


def texts(chart: Chart) -> list[str]:
    return [element.text or "" for element in ET.fromstring(chart.svg).iter(f"{SVG}text")]


class TestPage:
    def test_the_sentences_come_before_all_else(self, write: Write) -> None:
        result = with_trouble()
        time = analyse_training(result)
        text = Page(write(result, spec=TrainSpec(), command="nodewise train shards")).text
        order = [
            f"The model has 91.0 % of the held-out images right after 5 epochs in {result.seconds:.1f} s.",
            time_sentence(time),
            f"Straggler: {straggler_sentences(time)[0]}.",
            "Interruptions",
            "Result Accuracy",
            "Settings strategy",
            "Learning curves",
            "Where the workers' time went",
            "Ideal against real",
            "Where the time went, epoch by epoch",
            "Evidence Model",
        ]
        places = [text.index(words) for words in order]
        assert places == sorted(places)

    def test_it_loads_nothing_and_runs_nothing(self, write: Write) -> None:
        page = write(with_trouble())
        for tag, attributes in Page(page).tags:
            assert tag not in {"script", "link", "iframe", "object", "embed", "base", "form", "img"}
            assert not [name for name in attributes if name.startswith("on")]
            for name in ("src", "href", "xlink:href"):
                assert (attributes.get(name) or "#").startswith("#")
        assert "@import" not in page
        assert not re.search(r"url\(\s*['\"]?(?!#)", page)

    def test_its_policy_is_that_of_all_reports(self, write: Write) -> None:
        policies = [
            attributes["content"]
            for tag, attributes in Page(write(a_training())).tags
            if tag == "meta" and attributes.get("http-equiv") == "Content-Security-Policy"
        ]
        assert policies == [
            "default-src 'none'; style-src 'unsafe-inline'; img-src data:; base-uri 'none'; form-action 'none'"
        ]

    @pytest.mark.parametrize("name", HOSTILE, ids=ascii)
    def test_hostile_names_are_text(self, write: Write, name: str) -> None:
        result = with_trouble(strategy=name, recipe=name, precision=name, model_path=name, checkpoint_dir=name)
        rows = tuple(replace(row, node=name) for row in result.workers)
        result = replace(result, workers=rows, run_id=name, emulation_tier=name)
        page = Page(write(result, spec=TrainSpec(model=name), cluster=name, cost_note=name, cost_usd=1, command=name))
        assert name in "".join(page.words)
        assert not {tag for tag, _ in page.tags} & {"script", "img"}

    @pytest.mark.parametrize(("workers", "epochs"), [(1, 1), (1, 200), (2, 1), (64, 1), (64, 200)])
    def test_it_works_from_one_worker_and_epoch_to_many(self, write: Write, workers: int, epochs: int) -> None:
        page = write(simulate(workers, epochs))
        charts = 2 if workers == 1 else 3 if epochs == 1 else 4
        assert page.count("<svg") == charts
        assert len(page.encode()) < LIMIT_BYTES
        ids = [attributes["id"] for _, attributes in Page(page).tags if "id" in attributes]
        assert ids
        assert len(ids) == len(set(ids))

    def test_a_run_that_tells_nothing_of_its_workers_has_the_rest(self, write: Write) -> None:
        result = replace(a_training(), epochs=simulate(1, 3).epochs, world_size=4, strategy="all-reduce")
        page = write(result)
        assert page.count("<svg") == 1
        text = Page(page).text
        assert "all-reduce · 4 workers · 3 epochs of 10,000 images" in text
        assert "of it in epochs" not in text
        assert "Sent per step" not in text

    def test_a_run_without_an_epoch_says_so(self, write: Write) -> None:
        page = write(a_training(accuracy=None))
        assert "No epoch was completed." in Page(page).text
        assert "<svg" not in page

    def test_without_held_out_images_the_training_images_are_told(self, write: Write) -> None:
        epochs = tuple(replace(epoch, test_accuracy=None) for epoch in simulate(1, 2).epochs)
        page = Page(write(replace(a_training(), accuracy=None, epochs=epochs, seconds=20.0)))
        words = "The model has 70.0 % of the training images right after 2 epochs in 20.0 s; no images were held out."
        assert words in page.text
        assert "Accuracy not known, no images were held out" in page.text

    def test_a_diverged_loss_breaks_nothing(self, write: Write) -> None:
        losses = (2.5, float("inf"), float("nan"))
        epochs = tuple(
            EpochResult(epoch=number, loss=loss, train_accuracy=0.1, test_accuracy=0.1, seconds=1.0)
            for number, loss in enumerate(losses, 1)
        )
        assert "Loss nan" in Page(write(replace(a_training(), epochs=epochs))).text
        assert "Loss nan" in Page(write(replace(a_training(), epochs=epochs[2:]))).text

    def test_what_interrupted_it_is_told(self, write: Write) -> None:
        text = Page(write(replace(with_trouble(), workers=()))).text
        assert "Went on from the checkpoint at step 1,400 that an earlier run had left." in text
        assert "2 restarts of all workers from the last checkpoint, since one was lost." in text
        assert "Workers lost while the others went on: 3." in text
        assert "1 2 1,061 another took its place 3 4 161 stayed away 1 5 190 another took its place" in text
        assert "Interruptions" not in Page(write(a_training())).text

    def test_of_many_losses_fifty_are_listed(self, write: Write) -> None:
        lost = tuple(LostWorker(rank=7, epoch=1, step=step, came_back=True) for step in range(60))
        text = Page(write(a_training(lost=lost))).text
        assert text.count("another took its place") == 50
        assert "and 10 more" in text

    def test_time_bytes_and_cost_are_in_the_table(self, write: Write) -> None:
        # 2 x 50 steps, 400 MiB: 4 MiB a step; 209,715,200 x 8 bits in 8 s; 12 s of 14 in the epoch.
        rows = [
            a_row(rank, steps=50, sent_bytes=200 * 2**20, compute_s=8, evaluate_s=3, checkpoint_s=1) for rank in (0, 1)
        ]
        result = a_training(rows, seconds=14.0)
        text = Page(write(result, cost_usd=Decimal("0.0123"), cost_note="if run on m5.large at this speed")).text
        assert "Time 14.0 s 2.5 s to start the cluster before that of it in epochs 12.0 s 2.0 s around them" in text
        assert "Steps 50 Cost $0.0123 if run on m5.large at this speed" in text
        assert "Sent per step 4.0 MiB by each worker needs a link of 209.7 Mbit/s or more" in text
        without = Page(write(result)).text
        assert "Cost" not in without

    def test_settings_are_those_that_the_strategy_has(self, write: Write) -> None:
        spec = TrainSpec(is_async=True, checkpoint_every=100, learning_rate=0.01)
        text = Page(write(a_training(strategy="parameter-server"), spec=spec)).text
        assert "learning rate for 128 images 0.01" in text
        assert "checkpoint every 100 steps" in text
        assert "servers 1 workers per node 1 asynchronous yes most steps ahead 4" in text
        assert "most restarts" not in text
        text = Page(write(a_training(strategy="average"), spec=TrainSpec(checkpoint_every=0))).text
        assert "learning rate for 128 images the recipe's" in text
        assert "checkpoint every never" in text
        assert "average every once, at the end" in text
        assert "checkpoint every epoch" in Page(write(a_training(), spec=TrainSpec())).text

    def test_an_emulated_run_says_so(self, write: Write) -> None:
        text = Page(write(a_training(emulation_tier="namespaces"), cluster="spark, 2 nodes x 1 core")).text
        assert text.index("Training emulated") < text.index("Nodes emulated on one machine (namespaces)")
        assert "10,000 images · spark, 2 nodes x 1 core" in text
        assert "emulated" not in Page(write(a_training())).text

    def test_the_command_to_repeat_is_there(self, write: Write) -> None:
        command = "nodewise train shards --nodes 4 --strategy all-reduce"
        assert f"To repeat {command}" in Page(write(a_training(), command=command)).text

    def test_a_measured_run_of_one_worker_is_told_from_an_estimate(self, write: Write) -> None:
        assert "ideal (estimated)" in Page(write(simulate(4, 1))).text
        measured = Page(write(simulate(4, 1), single=simulate(1, 1))).text
        assert "ideal (measured)" in measured
        assert "estimated" not in measured


class TestCharts:
    def test_every_chart_is_well_formed_and_says_what_it_shows(self) -> None:
        result = with_trouble()
        time = analyse_training(result)
        assert time.total is not None
        charts = [learning_chart(result.epochs), workers_chart(time), ideal_chart(time, time.total), epochs_chart(time)]
        for chart in charts:
            assert chart is not None
            root = ET.fromstring(chart.svg)
            assert root.findtext(f"{SVG}title") == chart.title
            assert root.findtext(f"{SVG}desc") == chart.summary
            assert {len(row) for row in chart.rows} == {len(chart.columns)}

    def test_every_kind_of_time_has_its_own_look(self) -> None:
        assert set(KIND_LOOKS) == set(KINDS)
        assert len(set(KIND_LOOKS.values())) == len({colour for colour, _ in KIND_LOOKS.values()}) == len(KINDS)
        assert len({hatch for _, hatch in KIND_LOOKS.values() if hatch}) == len(KINDS) - 2

    def test_a_worker_s_row_has_its_seconds(self) -> None:
        rows = [
            a_row(0, compute_s=4, wait_s=4, data_s=0.5, seconds=9, sent_bytes=2**20),
            a_row(1, compute_s=8, communicate_s=0.5, seconds=9),
        ]
        chart = workers_chart(analyse_training(a_training(rows)))
        assert chart.rows == (
            ("0 on node-0", "4.00", "0.50", "0.00", "4.00", "0.00", "0.00", "0.50", "9.00", "100", "40 ms", "0.50x",
             "1.0 MiB"),
            ("1 on node-1", "8.00", "0.00", "0.50", "0.00", "0.00", "0.00", "0.50", "9.00", "100", "80 ms", "2.00x",
             "0 B"),
        )  # fmt: skip
        assert "0.50x speed" in texts(chart)
        assert "ideal" in texts(chart)

    def test_the_steps_from_ideal_to_real_have_their_seconds(self) -> None:
        # One took 10 s for 100 images, so two should take 10 s for 200; they took 14: compute 2 s and
        # communication 4 s more, images 2 s less.
        alone = a_training([a_row(0, compute_s=6, data_s=4)])
        both = a_training([a_row(rank, compute_s=8, communicate_s=4, data_s=2) for rank in (0, 1)])
        time = analyse_training(both, single=alone)
        assert time.total is not None
        chart = ideal_chart(time, time.total)
        assert chart.rows == (
            ("one worker would take", "20.00", "1.0x"),
            ("ideal: 2 workers", "10.00", "2.0x"),
            ("extra compute of the slowest worker", "+2.00", "-0.29x"),
            ("waiting for images", "-2.00", "+0.29x"),
            ("communication", "+4.00", "-0.57x"),
            ("waiting for whoever is late at a step", "+0.00", "+0.00x"),
            ("writing checkpoints", "+0.00", "+0.00x"),
            ("evaluation beyond its share", "+0.00", "+0.00x"),
            ("all else", "+0.00", "+0.00x"),
            ("real", "14.00", "1.4x"),
        )
        drawn = texts(chart)
        assert [text for text in drawn if text.endswith(" s")] == ["10.0 s", "+2.0 s", "-2.0 s", "+4.0 s", "14.0 s"]
        assert "writing checkpoints" not in drawn

    def test_kinds_of_no_time_are_left_out_of_the_legend(self) -> None:
        words = texts(workers_chart(analyse_training(a_training([a_row(0, compute_s=4), a_row(1, compute_s=4)]))))
        assert "compute" in words
        assert "communicate" not in words

    @pytest.mark.parametrize("workers", [30, 31, 200])
    def test_many_columns_have_round_numbers_below_them(self, workers: int) -> None:
        drawn = texts(workers_chart(analyse_training(simulate(workers, 1))))
        ranks = [int(text) for text in drawn[: drawn.index("worker")]]
        assert ranks == list(range(0, workers, 10 if workers == 200 else 1))

    def test_an_epoch_of_no_time_is_drawn_too(self) -> None:
        chart = epochs_chart(analyse_training(a_training([a_row(0)])))
        assert chart.rows == (("1", *["0.00"] * 8),)

    def test_no_epoch_has_no_curve(self) -> None:
        assert learning_chart(()) is None

    def test_the_same_training_gives_the_same_bytes(self) -> None:
        time = analyse_training(with_trouble())
        assert workers_chart(time) == workers_chart(time)


class TestTerminal:
    def printed(self, result: TrainResult, *, width: int = 80, **facts: object) -> list[str]:
        console = Console(file=io.StringIO(), width=width)
        render_train(result, console, **facts)  # type: ignore[arg-type]
        output = console.file.getvalue()  # type: ignore[attr-defined]
        assert "\x1b" not in output
        return [line.rstrip() for line in output.splitlines()]

    @pytest.mark.parametrize("width", [80, 120])
    def test_all_that_matters_is_said_in_lines_that_fit(self, width: int) -> None:
        result = with_trouble(model_path=LONG_PATH, seconds=75.0, report_path="/runs/7/report.html")
        *lines, model, checkpoints, report, run = self.printed(result, width=width)
        assert max(map(len, lines)) <= width
        assert model == f"Model: {LONG_PATH}"
        assert [checkpoints, report] == ["Checkpoints: /runs/7/checkpoints", "Report: /runs/7/report.html"]
        assert run == "Run: run-7"
        text = " ".join(lines)
        time = analyse_training(result)
        for words in (
            "Trained on 10,000 images for 5 epochs (200 steps) with 4 workers (all-reduce) in 75.0 s",
            time_sentence(time),
            f"Straggler: {straggler_sentences(time)[0]}",
            "Resumed: at step 1,400, from an earlier run's checkpoint",
            "Restarts: 2, each of all workers from the last checkpoint, since one was lost",
            "Lost while the others went on: worker 1 (came back) 2 times, worker 3",
            "Accuracy: 91.0 %",
        ):
            assert words in text
        assert any(line.split() == ["5", "0.4000", "88.0", "%", "83.0", "%", *line.split()[-2:]] for line in lines)

    def test_of_many_epochs_the_last_ten_are_shown(self) -> None:
        rows = [line.split() for line in self.printed(simulate(1, 200))]
        assert [row[0] for row in rows if len(row) == 8 and row[0].isdigit()] == [str(n) for n in range(191, 201)]

    def test_an_undisturbed_run_says_nothing_of_trouble(self) -> None:
        text = " ".join(self.printed(simulate(4)))
        for word in ("Straggler", "Resumed", "Restarts", "Lost", "Checkpoints", "Report"):
            assert word not in text

    def test_a_measured_run_is_told_as_such(self) -> None:
        result = simulate(4)
        time = analyse_training(result, single=simulate(1))
        assert "as one did in a run of its own" in " ".join(self.printed(result, analysis=time))
        assert "as one would, estimated" in " ".join(self.printed(result))

    def test_many_lost_workers_are_counted(self) -> None:
        lost = tuple(LostWorker(rank=rank, epoch=1, step=1, came_back=False) for rank in range(13))
        text = " ".join(self.printed(simulate(16, lost=lost)))
        assert text.count("worker 9") == 1
        assert "and 3 more" in text

    def test_names_are_neither_markup_nor_escape_sequences(self) -> None:
        result = with_trouble()
        rows = tuple(replace(row, node="[red]n\x1b[31m") for row in result.workers)
        assert "worker 2 on [red]n\ufffd[31m computes" in " ".join(self.printed(replace(result, workers=rows)))
