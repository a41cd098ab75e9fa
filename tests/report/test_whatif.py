"""A replay in the terminal and as a page: everything is there, and no name is taken for markup."""

from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

from nodewise.report.whatif_charts import cost_curve, time_curve, waste_chart
from nodewise.report.whatif_page import write_whatif_page
from nodewise.report.whatif_terminal import render_whatif
from nodewise.specs.whatif import ClusterShape, CriticalStage, WastedCoreHours, WhatIfPoint, WhatIfResult

from .pages import Page

HOSTILE = "<script>alert(1)</script>\x1b[31m{{7*7}}$x$"
WASTED = WastedCoreHours(driver=2.0, skew=1.0, too_few_tasks=0.5, start_up=0.5)


def a_point(nodes: int, seconds: float, cost_usd: float | None = None, cluster: int = 0) -> WhatIfPoint:
    return WhatIfPoint(
        nodes=nodes,
        slots=4 * nodes,
        predicted_s=seconds,
        low_s=0.9 * seconds,
        high_s=1.1 * seconds,
        cost_usd=cost_usd,
        utilisation=0.6,
        basis="extrapolated" if nodes > 16 else "predicted",
        core_hours=10.0,
        useful_core_hours=6.0,
        wasted=WASTED,
        cores_per_node=4,
        node_type="m5.xlarge",
        cluster=cluster,
    )


def a_result(name: str = "etl", *, has_price: bool = True) -> WhatIfResult:
    costs = [0.4, 0.3, 0.5, 0.9] if has_price else [None] * 4
    counts, seconds = (2, 4, 16, 32), (400.0, 230.0, 100.0, 90.0)
    return WhatIfResult(
        source=f"/logs/{name}",
        name=name,
        measured_s=240.0,
        replayed_s=231.6,
        curve=tuple(a_point(*facts) for facts in zip(counts, seconds, costs, strict=True)),
        critical_path_s=80.0,
        critical_path=tuple(
            CriticalStage(name=f"{number}: {name}", driver_s=1.0, longest_task_s=float(number), num_tasks=8)
            for number in range(9)
        ),
        wasted_core_hours=WASTED,
        useful_core_hours=6.0,
        core_hours=10.0,
        recorded_nodes=4,
        recorded_cores_per_node=4,
        recorded_slots=16,
        recorded_node_type="m5.xlarge",
        clusters=(ClusterShape(min_nodes=2, max_nodes=32, cores_per_node=4, node_type="m5.xlarge"),),
        stages=9,
        tasks=1234,
        notes=("the log lacks something",),
        report_path="/reports/page.html",
    )


def printed(result: WhatIfResult, width: int = 120) -> list[str]:
    console = Console(width=width, record=True, file=io.StringIO(), color_system=None)
    render_whatif(result, console)
    return [line.rstrip() for line in console.export_text().splitlines()]


@pytest.mark.parametrize("width", [80, 120])
def test_the_terminal_has_the_curve_the_waste_and_the_path(width: int) -> None:
    lines = printed(a_result(), width)

    assert max(map(len, lines)) <= width
    words = " ".join(" ".join(lines).split())
    for text in (
        "etl: measured 4m 00s on 4 nodes x 4 cores, with 1,234 tasks in 9 stages; replayed there 3m 52s, 3.5 % off.",
        "No number of nodes goes below 80.0 s (predicted)",
        "60 % were useful; most of the rest, 20 %, went to: driver at work alone.",
        "m5.xlarge, 4 cores per node",
        "4 16 3m 50s 3m 27s - 4m 13s $0.3000 60 % predicted",
        "32 128 90.0 s 81.0 s - 99.0 s $0.9000 60 % extrapolated",
        "driver at work alone 2 20 %",
        "8: etl 1.0 s 8.0 s 8",
        "and 4 more stages",
        "the log lacks something",
        "Report: /reports/page.html",
    ):
        assert text in words, text


def test_without_a_price_there_is_no_column_of_costs() -> None:
    assert not any("COST" in line for line in printed(a_result(has_price=False)))
    assert cost_curve(a_result(has_price=False)) is None


def test_the_charts_say_what_they_show() -> None:
    result = a_result()
    time, cost, waste = time_curve(result), cost_curve(result), waste_chart(result)

    assert cost is not None
    assert time.summary == (
        "From 6m 40s on 2 to 90.0 s on 32 (extrapolated, 90 % 81.0 s to 99.0 s); measured 4m 00s on 4"
    )
    assert time.rows[1][:4] == ("4", "16", "m5.xlarge, 4 cores per node", "230.00")
    assert cost.summary == "Cheapest on 4 (predicted): $0.3000 in 3m 50s"
    assert waste.summary == "Useful: 60 % as recorded, 60 % on 2, 60 % on 32"
    assert waste.rows[0] == ("recorded", "10", "6", "2", "1", "0.5", "0.5", "0")


def test_many_points_and_clusters_have_room() -> None:
    points = [a_point(nodes, 1000 / nodes, 0.1, cluster) for cluster in (0, 1) for nodes in range(1, 17)]
    shape = ClusterShape(cores_per_node=4)
    result = replace(a_result(), curve=tuple(points), clusters=(shape, replace(shape, network_bits_per_s=1e10)))

    assert len(waste_chart(result).rows) <= 13
    assert "network 10 Gbit/s" in time_curve(result).svg
    assert len([line for line in printed(result) if line.endswith("predicted")]) == 32


def test_the_page_has_everything_and_loads_nothing(tmp_path: Path) -> None:
    write_whatif_page(tmp_path / "page.html", a_result())
    source = (tmp_path / "page.html").read_text()
    page = Page(source)

    for text in ("What if: etl", "Time against nodes", "Cost against nodes", "Critical path", "/logs/etl", "8: etl"):
        assert text in page.text, text
    assert "default-src 'none'" in source
    assert not {"script", "iframe", "object", "embed", "link", "base", "form"} & {tag for tag, _ in page.tags}
    assert len(source) < 200_000


def test_names_are_escaped(tmp_path: Path) -> None:
    result = a_result(HOSTILE)
    write_whatif_page(tmp_path / "page.html", result)
    source = (tmp_path / "page.html").read_text()

    assert "<script" not in source
    assert "\x1b" not in source + "".join(printed(result))
    assert "49" not in Page(source).text


def test_a_notebook_shows_the_page() -> None:
    assert "What if: etl" in a_result()._repr_html_()
