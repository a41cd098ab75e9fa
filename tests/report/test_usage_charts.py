"""Where the time went, and what nodes used: charts, page and terminal."""

import io
import xml.etree.ElementTree as ET
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console
from tests.report.pages import Page

from nodewise.report.charts import Chart
from nodewise.report.html import Evidence, write_html
from nodewise.report.split_chart import split_chart
from nodewise.report.terminal import render_comparison
from nodewise.report.usage_charts import usage_charts
from nodewise.specs.results import ComparisonResult, NodeUsage, ScenarioResult, StageSpan, UsageResult

MakeScenario = Callable[..., ScenarioResult]
MakeComparison = Callable[..., ComparisonResult]
SVG = "{http://www.w3.org/2000/svg}"
LIMIT_BYTES = 300_000
ROOM_BYTES = 100_000
SPLIT = {"compute": 0.61, "read_write": 0.05, "communicate": 0.0, "wait": 0.3, "idle": 0.04}
SENTENCE = "Skew limits this run (30 % of the nodes' time): one task was slow."


def a_usage(nodes: int = 2, *, steps: int = 100, linked: bool = True, cpus: float | None = 0.4) -> UsageResult:
    """60 s; the first node computes at its limit, the others do nothing."""

    def node(name: str, cores: float) -> NodeUsage:
        traffic = (50_000_000,) * steps if linked and name != "driver" else ()
        return NodeUsage(
            node=name,
            cpu_cores=(None, *(cores * (1 + number % 2) / 2 for number in range(steps - 1))),
            memory_bytes=tuple(2**28 + number for number in range(steps)),
            received_bits_per_s=traffic,
            sent_bits_per_s=traffic[::-1],
        )

    return UsageResult(
        run_id="run-1",
        step_s=60 / steps,
        nodes=(*(node(f"node-{number}", 0.0 if number else 0.4) for number in range(nodes)), node("driver", 1.0)),
        stages=(StageSpan(name="prepare", started_s=12, ended_s=30), StageSpan(name="train", started_s=30, ended_s=58)),
        start_up_s=10,
        ended_s=60,
        cpus=cpus,
        network_limit_bits_per_s=100_000_000 if linked else None,
    )


@pytest.fixture
def metered(scenario: MakeScenario) -> Callable[..., ScenarioResult]:
    def make(name: str, usage: UsageResult | None = None, **given: object) -> ScenarioResult:
        told = {"time_split": SPLIT, "ideal_seconds": 12.5, "limited_by": "skew", "limit_sentence": SENTENCE} | given
        return replace(scenario(name), usage=usage, **told)

    return make


def texts(chart: Chart) -> list[str]:
    return [element.text or "" for element in ET.fromstring(chart.svg).iter(f"{SVG}text")]


def test_bars_show_the_parts_and_the_start_up(metered: MakeScenario, comparison: MakeComparison) -> None:
    changed = SPLIT | {"wait": 0.0, "communicate": 0.3}
    chart = split_chart(comparison(metered("one"), metered("two", time_split=changed)))
    assert chart is not None
    assert {"61 %", "30 %", "5.0 s", "compute", "read + write", "communicate", "wait", "idle"} <= set(texts(chart))
    assert chart.rows[0] == (
        "one", "61.0 %", "5.0 %", "0.0 %", "30.0 %", "4.0 %", "5.00", "12.50", "51.00", "skew",
    )  # fmt: skip
    assert {len(row) for row in chart.rows} == {len(chart.columns)}
    assert chart.summary == (
        "one: compute 61 %, read + write 5 %, wait 30 %, idle 4 %; two: compute 61 %, read + write 5 %, "
        "communicate 30 %, idle 4 %; largest change from one to two: communicate 0 % -> 30 %"
    )


def test_there_is_no_bar_for_what_was_not_measured(
    metered: MakeScenario, scenario: MakeScenario, comparison: MakeComparison
) -> None:
    assert split_chart(comparison(scenario("one"))) is None
    chart = split_chart(comparison(scenario("one"), metered("two")))
    assert chart is not None
    assert [row[0] for row in chart.rows] == ["two"]
    assert usage_charts(comparison(metered("one")), ROOM_BYTES) == ([], [])


def test_each_node_has_its_row_with_its_figures(metered: MakeScenario, comparison: MakeComparison) -> None:
    charts, undrawn = usage_charts(comparison(metered("one", a_usage())), ROOM_BYTES)
    (chart,) = charts
    assert undrawn == []
    assert chart.title == "Utilisation per node: one"
    assert {"node-0", "node-1", "driver", "prepare", "train"} <= set(texts(chart))
    # Half of the time at 0.4 and half at 0.2 cores.
    assert chart.rows[0] == ("node-0", "0.30", "50 Mbit/s / 50 Mbit/s", "256.0 MiB")
    assert chart.rows[2][1:3] == ("0.75", "-")
    assert "each node is held to 0.4 CPU, 100 Mbit/s (dashed)" in chart.summary
    assert "prepare from 12.0 s to 30.0 s" in chart.summary
    root = ET.fromstring(chart.svg)
    assert root.findtext(f"{SVG}title") == chart.title
    assert root.findtext(f"{SVG}desc") == chart.summary


def test_of_many_nodes_the_rest_is_drawn_as_its_mean(metered: MakeScenario, comparison: MakeComparison) -> None:
    (chart,), _ = usage_charts(comparison(metered("one", a_usage(12))), ROOM_BYTES)
    shown = texts(chart)
    assert {"node-0", "node-6", "5 others,", "mean", "driver"} <= set(shown)
    assert "node-7" not in shown
    # The data has them all.
    assert [row[0] for row in chart.rows] == [f"node-{number}" for number in range(12)] + ["driver"]


def test_scenarios_for_which_there_is_no_room_are_named(metered: MakeScenario, comparison: MakeComparison) -> None:
    result = comparison(metered("one", a_usage()), metered("two", a_usage()), metered("three", a_usage()))
    (chart,), _ = usage_charts(comparison(metered("one", a_usage())), ROOM_BYTES)
    charts, undrawn = usage_charts(result, len(chart.svg) + 100)
    assert [one.title for one in charts] == ["Utilisation per node: one"]
    assert undrawn == ["two", "three"]


def test_nodes_that_share_the_network_have_none_of_their_own(metered: MakeScenario, comparison: MakeComparison) -> None:
    (chart,), _ = usage_charts(comparison(metered("one", a_usage(linked=False, cpus=None))), ROOM_BYTES)
    assert chart.columns == ("Node", "CPU, cores, mean after start-up", "memory, most")
    assert "nodes share the machine's network" in chart.summary
    assert "the nodes have no limits" in chart.summary


def test_ids_of_a_page_are_distinct_and_every_reference_has_its_target(
    metered: MakeScenario, comparison: MakeComparison
) -> None:
    result = comparison(metered("one", a_usage()), metered("two", a_usage(5)))
    charts, _ = usage_charts(result, ROOM_BYTES)
    bars = split_chart(result)
    assert bars is not None
    elements = [element for chart in [*charts, bars] for element in ET.fromstring(chart.svg).iter()]
    ids = [element.attrib["id"] for element in elements if "id" in element.attrib]
    assert len(ids) == len(set(ids))
    used = {value.removeprefix("#") for element in elements for name, value in element.attrib.items() if name == "href"}
    clips = {element.attrib["clip-path"][5:-1] for element in elements if "clip-path" in element.attrib}
    assert used
    assert used | clips <= set(ids)


def test_the_page_tells_the_limit_and_the_ideal_beside_the_real_time(
    metered: MakeScenario, comparison: MakeComparison, evidence: Evidence, tmp_path: Path
) -> None:
    path = tmp_path / "report.html"
    write_html(path, comparison(metered("one", a_usage())), images=[], evidence=evidence)
    page = Page(path.read_text())
    assert SENTENCE in page.text
    assert "Computing alone, spread evenly over its 1 node, would take 12.5 s; its real time is 51.0 s." in page.text
    assert "Where the nodes' time went" in page.text
    assert not any(tag == "script" for tag, _ in page.tags)


@pytest.mark.parametrize("count", [8, 16])
def test_many_scenarios_with_long_lines_stay_below_the_limit(
    metered: MakeScenario, comparison: MakeComparison, evidence: Evidence, tmp_path: Path, count: int
) -> None:
    many = [metered(f"scenario number {number}", a_usage(number + 1, steps=200)) for number in range(count)]
    path = tmp_path / "report.html"
    write_html(path, comparison(*many), images=[], evidence=evidence)
    assert path.stat().st_size < LIMIT_BYTES
    titles = path.read_text().count("<h2>Utilisation per node:")
    assert titles >= 5
    assert ("No room for the utilisation of scenario number" in Page(path.read_text()).text) == (titles < count)


def printed(result: ComparisonResult, width: int, encoding: str = "utf-8") -> list[str]:
    stream = io.TextIOWrapper(io.BytesIO(), encoding=encoding)
    console = Console(file=stream, width=width)
    render_comparison(result, console)
    stream.flush()
    return [line.rstrip() for line in stream.buffer.getvalue().decode(encoding).splitlines()]  # type: ignore[attr-defined]


@pytest.mark.parametrize("width", [80, 120])
def test_the_terminal_shows_the_split_the_limit_and_a_line_per_node(
    metered: MakeScenario, comparison: MakeComparison, width: int
) -> None:
    lines = printed(comparison(metered("one", a_usage(3))), width)
    assert max(map(len, lines[:-1])) <= width
    assert "one: compute 61 %, read + write 5 %, wait 30 %, idle 4 %" in lines
    assert SENTENCE in " ".join(lines)
    node = next(line for line in lines if line.startswith("  node-0"))
    assert node.endswith("0.30 of 0.4 cores busy")
    assert "\u2588" in node or "\u2586" in node
    still = next(line for line in lines if line.startswith("  node-1"))
    assert still.split() == ["node-1", "0.00", "of", "0.4", "cores", "busy"]
    assert next(line for line in lines if line.startswith("  driver")).endswith("0.75 cores busy")


def test_a_terminal_without_blocks_gets_plain_signs(metered: MakeScenario, comparison: MakeComparison) -> None:
    node = next(line for line in printed(comparison(metered("one", a_usage())), 80, "ascii") if "node-0" in line)
    assert set(node.split()[1]) <= set(" .:-=+*#@")


def test_scenarios_without_a_split_print_nothing_more(scenario: MakeScenario, comparison: MakeComparison) -> None:
    assert not any("compute" in line or "cores busy" in line for line in printed(comparison(scenario("one")), 80))
