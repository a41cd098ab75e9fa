"""From measured runs to what is said of other numbers of nodes."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nodewise.analysis.scaling.forecast import ForecastSubject, MeasuredRun, Question, forecast_scaling
from nodewise.specs.forecast import ForecastPoint, ScalingForecast

SUBJECT = ForecastSubject(job="flowers", engine="spark", node_type="m5.large", price_usd_per_hour=3.6)
TIMES = {1: 110.0, 2: 60.0, 4: 35.0, 8: 22.5}
"""10 + 100 / n"""


def runs_of(
    times: dict[int, float], *, repeats: int = 3, start_up_s: float = 0.0, data: float | None = None
) -> list[MeasuredRun]:
    return [
        MeasuredRun(
            run_id=f"{nodes}-{repeat}-{data}",
            nodes=nodes,
            # Two percent more and less around it, so that the median is the law's.
            billed_s=start_up_s + seconds * (1 + 0.02 * ((repeat + 1) % 3 - 1)),
            start_up_s=start_up_s,
            data=data,
        )
        for nodes, seconds in times.items()
        for repeat in range(repeats)
    ]


def forecast(runs: Sequence[MeasuredRun], *nodes: int, data: float = 1.0, price: float | None = 3.6) -> ScalingForecast:
    subject = replace(SUBJECT, price_usd_per_hour=price)
    return forecast_scaling(runs, subject, Question(nodes=nodes, data=data))


def on(found: ScalingForecast, nodes: int) -> ForecastPoint:
    return next(point for point in found.points if point.nodes == nodes)


def test_every_point_says_whether_it_was_measured_predicted_or_extrapolated() -> None:
    found = forecast(runs_of(TIMES), 3, 16)
    bases = {point.nodes: point.basis for point in found.points}
    assert bases == {
        1: "measured",
        2: "measured",
        3: "predicted",
        4: "measured",
        8: "measured",
        16: "extrapolated",
    }
    assert found.law is not None
    assert found.law.name == "amdahl"


def test_a_measured_point_has_the_median_of_its_runs_and_a_predicted_one_lies_near_the_law() -> None:
    found = forecast(runs_of(TIMES), 3)
    assert on(found, 4).seconds == pytest.approx(35.0)
    assert len(on(found, 4).measured_s) == 3
    assert on(found, 3).seconds == pytest.approx(10 + 100 / 3, rel=0.05)
    assert on(found, 3).law_s == pytest.approx(10 + 100 / 3, rel=0.02)


def test_speedup_efficiency_and_cost_follow_from_the_time() -> None:
    # 110 s on one node at $3.60 an hour is $0.11; 22.5 s on eight is $0.18.
    point = on(forecast(runs_of(TIMES)), 8)
    assert point.speedup == pytest.approx(110 / 22.5)
    assert point.efficiency == pytest.approx(110 / 22.5 / 8)
    assert point.cost_usd == pytest.approx(0.18)


def test_without_a_price_no_cost_is_made_up() -> None:
    found = forecast(runs_of(TIMES), price=None)
    assert {point.cost_usd for point in found.points} == {None}
    assert "cost" not in found.sentence


def test_start_up_is_a_part_of_its_own() -> None:
    # The law is that of the work; the start-up of 30 s does not become its serial part.
    found = forecast(runs_of(TIMES, start_up_s=30.0), 16)
    assert found.law is not None
    assert found.law.coefficients["serial"] == pytest.approx(10.0, rel=0.1)
    assert on(found, 16).law_s == pytest.approx(30 + 10 + 100 / 16, rel=0.03)
    assert "the cluster's start-up" in {part.what for part in found.parts}
    assert any("Start-up (30.0 s" in note for note in found.notes)


def test_enough_runs_give_a_choice_with_gain_price_interval_and_the_end_of_knowledge() -> None:
    found = forecast(runs_of(TIMES, repeats=6), 1, 2, 4, 8)
    assert found.next_runs == ()
    assert found.sentence.startswith("On 8 nodes the job took 22.5 s (90 % of runs: ")
    # $0.07 more for 87.5 s less: $2.88 an hour.
    assert "4.89x as fast as 1 node for 1.64x the cost ($0.0700 more per run)" in found.sentence
    assert "If an hour saved is not worth $2.88 to you, stay on 1 node." in found.sentence
    assert found.sentence.endswith("Beyond 8 nodes nothing was measured.")


def test_a_job_that_does_not_scale_is_told_to_stay_where_it_is() -> None:
    found = forecast(runs_of({1: 100.0, 2: 100.0, 4: 100.0, 8: 100.0}, repeats=4), 1, 2, 4, 8)
    assert found.sentence.startswith("More nodes do not help: 1 node took 1m 40s")
    assert "do not shorten" in found.limit


def test_two_counts_are_too_few_and_the_runs_to_make_are_named_with_their_cost() -> None:
    found = forecast(runs_of({1: 110.0, 2: 60.0}), 1, 2, 4, 8)
    assert found.next_runs
    assert not {1, 2} >= {run.nodes for run in found.next_runs}
    assert found.sentence.startswith("Not enough is known to say: measure")
    assert "2 numbers of nodes were measured" in found.next_reason
    assert all(run.cost_usd is not None and run.seconds > 0 for run in found.next_runs)


def test_what_is_known_gives_a_choice_and_what_is_not_is_named() -> None:
    found = forecast(runs_of(TIMES), 1, 2, 4, 8, 256)
    assert found.sentence.startswith("On 8 nodes the job took")
    assert re.search(r"Of 256 nodes too little is known: \d more runs? on .* nodes? \(about", found.sentence)


def test_a_wide_interval_is_the_reason_that_is_given() -> None:
    found = forecast(runs_of({1: 110.0, 2: 60.0, 4: 35.0}, repeats=1), 128)
    assert found.next_runs
    assert "the time to expect on 128 nodes lies between" in found.next_reason
    assert "more than 1.5 times" in found.next_reason


def test_one_run_gives_no_law_and_a_wide_interval() -> None:
    found = forecast(runs_of({4: 100.0}, repeats=1), 4, 16)
    assert found.laws == ()
    assert found.law is None
    assert found.limit == ""
    assert on(found, 16).high_s > 2 * on(found, 16).low_s


def test_one_number_of_nodes_asked_for_and_known_is_answered() -> None:
    found = forecast(runs_of({4: 100.0}, repeats=8), 4)
    assert found.next_runs == ()
    assert found.sentence.startswith("On 4 nodes the job took 1m 40s (90 % of runs: ")


def test_runs_with_two_amounts_of_data_tell_what_twice_the_data_takes() -> None:
    # 10 + 100 s / n with s = 1 and 2; asked for is twice the larger: s = 4.
    double = {nodes: 10 + 200 / nodes for nodes in TIMES}
    found = forecast([*runs_of(TIMES, data=1000.0), *runs_of(double, data=2000.0)], 4, data=2.0)
    assert on(found, 4).data == 4.0
    assert on(found, 4).basis == "extrapolated"
    assert on(found, 4).seconds == pytest.approx(110.0, rel=0.1)
    assert not found.data_is_assumed


def test_with_one_amount_of_data_the_growth_is_an_assumption_and_said_to_be() -> None:
    found = forecast(runs_of(TIMES, data=1000.0), 4, data=2.0)
    assert found.data_is_assumed
    assert any("it is an assumption" in note for note in found.notes)
    assert on(found, 4).seconds == pytest.approx(60.0, rel=0.1)
    assert not forecast(runs_of(TIMES, data=1000.0), 4).data_is_assumed


def test_bytes_that_differ_a_little_are_the_same_data() -> None:
    runs = [replace(run, data=1000.0 + index) for index, run in enumerate(runs_of(TIMES))]
    assert {point.basis for point in forecast(runs, 1, 2, 4, 8).points} == {"measured"}


def test_a_law_outside_the_interval_is_told() -> None:
    # Faster than in proportion: no law of the family is that steep at both ends.
    found = forecast(runs_of({1: 1000.0, 2: 990.0, 4: 30.0}, repeats=1), 64)
    assert on(found, 64).law_s is not None
    outside = [point for point in found.points if not point.low_s <= (point.law_s or 0) <= point.high_s]
    assert bool(outside) == any("outside the interval" in note for note in found.notes)


@settings(max_examples=15, deadline=None)
@given(st.permutations(runs_of(TIMES)))
def test_the_order_of_runs_does_not_matter(runs: list[MeasuredRun]) -> None:
    assert forecast(runs, 16) == forecast(runs_of(TIMES), 16)


@settings(max_examples=15, deadline=None)
@given(price=st.floats(0.01, 100), factor=st.floats(1.01, 10))
def test_a_higher_price_never_makes_a_point_cheaper_nor_changes_a_time(price: float, factor: float) -> None:
    runs = runs_of(TIMES, repeats=2)
    cheap, dear = forecast(runs, 16, price=price), forecast(runs, 16, price=price * factor)
    for before, after in zip(cheap.points, dear.points, strict=True):
        assert (before.cost_usd or 0) < (after.cost_usd or 0)
        assert before.seconds == after.seconds
    assert [run.nodes for run in cheap.next_runs] == [run.nodes for run in dear.next_runs]


def test_minutes_in_place_of_seconds_scale_every_time() -> None:
    runs = runs_of(TIMES)
    in_minutes = [replace(run, billed_s=run.billed_s / 60) for run in runs]
    for seconds, minutes in zip(forecast(runs, 16).points, forecast(in_minutes, 16).points, strict=True):
        assert minutes.low_s * 60 == pytest.approx(seconds.low_s, rel=1e-3)
        assert minutes.seconds * 60 == pytest.approx(seconds.seconds, rel=1e-3)
        assert minutes.efficiency == pytest.approx(seconds.efficiency, rel=1e-3)
