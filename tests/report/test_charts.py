import xml.etree.ElementTree as ET
from collections.abc import Callable

import pytest

from nodewise.report.charts import Chart, cost_chart, time_chart, training_chart
from nodewise.specs.results import ComparisonResult, ScenarioResult

MakeScenario = Callable[..., ScenarioResult]
MakeComparison = Callable[..., ComparisonResult]
SVG = "{http://www.w3.org/2000/svg}"


def texts(chart: Chart) -> list[str]:
    return [element.text or "" for element in ET.fromstring(chart.svg).iter(f"{SVG}text")]


def all_charts(comparison: ComparisonResult) -> list[Chart]:
    charts = [time_chart(comparison), cost_chart(comparison), training_chart(comparison)]
    assert None not in charts
    return [chart for chart in charts if chart is not None]


def test_every_chart_is_well_formed_and_says_what_it_shows(example: ComparisonResult) -> None:
    for chart in all_charts(example):
        root = ET.fromstring(chart.svg)
        assert root.tag == f"{SVG}svg"
        assert root.findtext(f"{SVG}title") == chart.title
        assert root.findtext(f"{SVG}desc") == chart.summary
        assert {len(row) for row in chart.rows} == {len(chart.columns)}


def test_charts_load_nothing_and_run_nothing(example: ComparisonResult) -> None:
    for chart in all_charts(example):
        for element in ET.fromstring(chart.svg).iter():
            assert element.tag not in {f"{SVG}script", f"{SVG}image", f"{SVG}style", f"{SVG}foreignObject"}
            references = [value for name, value in element.attrib.items() if name.endswith("href")]
            assert all(reference.startswith("#") for reference in references)
        assert "purl.org" not in chart.svg


def test_ids_of_a_page_are_distinct_and_every_reference_has_its_target(example: ComparisonResult) -> None:
    elements = [element for chart in all_charts(example) for element in ET.fromstring(chart.svg).iter()]
    ids = [element.attrib["id"] for element in elements if "id" in element.attrib]
    assert len(ids) == len(set(ids))
    used = {value.removeprefix("#") for element in elements for name, value in element.attrib.items() if name == "href"}
    clips = {element.attrib["clip-path"][5:-1] for element in elements if "clip-path" in element.attrib}
    assert used
    assert clips
    assert used | clips <= set(ids)


def test_the_same_comparison_gives_the_same_bytes(example: ComparisonResult) -> None:
    assert [chart.svg for chart in all_charts(example)] == [chart.svg for chart in all_charts(example)]


def test_bars_show_all_parts_and_the_billed_time(scenario: MakeScenario, comparison: MakeComparison) -> None:
    one = scenario("one", start_up=5.0, prepare=10.0, train=30.0, score=5.0)
    chart = time_chart(comparison(one))
    assert chart.columns == (
        "Scenario", "start-up, s", "prepare, s", "train, s", "score, s", "stop, s", "billed time, s",
    )  # fmt: skip
    assert chart.rows == (("one", "5.00", "10.00", "30.00", "5.00", "1.00", "51.00"),)
    assert {"start-up", "prepare", "train", "score", "stop", "51.0 s", "30.0 s"} <= set(texts(chart))
    assert chart.summary == "one 51.0 s, the largest part train"


def test_costs_are_marked_as_what_the_node_type_would_cost(example: ComparisonResult) -> None:
    chart = cost_chart(example)
    assert chart is not None
    assert "Cost of emulated scenarios: if run on Standard_DS3_v2 at this speed" in texts(chart)
    assert [row[-1] for row in chart.rows] == ["if run on Standard_DS3_v2 at this speed"] * 4


def test_the_cost_chart_names_what_no_other_scenario_beats(scenario: MakeScenario, comparison: MakeComparison) -> None:
    chart = cost_chart(
        comparison(
            scenario("cheap", train=60.0, price=0.1),
            scenario("fast", train=20.0, price=0.9),
            scenario("neither", train=70.0, price=0.9),
        )
    )
    assert chart is not None
    assert chart.summary.endswith("than: fast, cheap")
    assert {"cheap", "fast", "neither"} <= set(texts(chart))


@pytest.mark.parametrize("price", [None, 0.5], ids=["no price", "one price"])
def test_there_is_no_cost_chart_without_two_prices(
    scenario: MakeScenario, comparison: MakeComparison, price: float | None
) -> None:
    assert cost_chart(comparison(scenario("one", price=price), scenario("two", price=None))) is None


def test_training_curves_list_every_epoch(example: ComparisonResult) -> None:
    chart = training_chart(example)
    assert chart is not None
    assert len(chart.rows) == 4 * 5
    # 0.952 - 0.4 / 25 - 0.01 and 2 / 5**1.2 + 0.02
    assert chart.rows[4] == ("spark-1-node", "5", "0.3099", "88.0 %", "92.6 %", "4.26")


def test_training_without_held_out_images_still_has_its_loss(
    scenario: MakeScenario, comparison: MakeComparison
) -> None:
    chart = training_chart(comparison(scenario("one", accuracy=None)))
    assert chart is not None
    assert chart.rows[0][4] == "-"
    assert chart.summary == "one after epoch 5: loss 0.310"


@pytest.mark.parametrize("name", ["$x_1$", "a < b & c", '<script>"x"</script>', "日本 5"], ids=ascii)
def test_names_are_shown_as_they_are(scenario: MakeScenario, comparison: MakeComparison, name: str) -> None:
    charts = all_charts(comparison(scenario(name), scenario("other", nodes=5)))
    assert all(name in texts(chart) for chart in charts)
    assert all("<script" not in chart.svg for chart in charts)
