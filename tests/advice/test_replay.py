"""Searches replayed on run times that are known."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from tests.advice.made import COUNTS, TYPES, needs_memory, scaling, workload, write_csv

from nodewise.advice_api import replay_advice, replay_forecast
from nodewise.core.errors import InputError
from nodewise.specs.advice import MethodName

METHODS: tuple[MethodName, ...] = ("nodewise", "cherrypick", "random", "tpe")


@pytest.fixture
def traces(tmp_path: Path) -> Path:
    fails_on_two = workload(lambda one: None if one.nodes == 2 else needs_memory(one), "fails on two")
    return write_csv(tmp_path / "traces.csv", [workload(scaling), fails_on_two])


@pytest.mark.parametrize("method", METHODS)
def test_every_method_tries_configurations_once_and_chooses_the_best_of_them(traces: Path, method: MethodName) -> None:
    result = replay_advice(traces, method=method, seeds=2)
    assert [(one.workload, one.seed) for one in result.workloads] == [
        ("made", 0),
        ("made", 1),
        ("fails on two", 0),
        ("fails on two", 1),
    ]
    for search in result.workloads:
        assert len(set(search.tried)) == len(search.tried) == search.runs_used
        assert search.choice in search.tried
        assert search.cost_over_optimum >= 1
        assert 0 < search.search_cost_over_exhaustive < 1
        assert search.workload == "made" or search.choice.nodes > 2
    assert replay_advice(traces, method=method, seeds=2) == result


def test_the_figures_are_those_of_the_table(tmp_path: Path) -> None:
    made = workload(scaling)
    (search,) = replay_advice(write_csv(tmp_path / "t.csv", [made]), method="random").workloads
    cost = {one.configuration.name: one.cost_usd or 0 for one in made.measured}
    assert search.cost_over_optimum == pytest.approx(cost[search.choice] / min(cost.values()))
    assert cost[search.choice] == min(cost[name] for name in search.tried)
    paid = sum(cost[name] for name in search.tried) / sum(cost.values())
    assert search.search_cost_over_exhaustive == pytest.approx(paid)


@pytest.mark.parametrize("method", METHODS)
def test_the_most_runs_are_kept(traces: Path, method: MethodName) -> None:
    result = replay_advice(traces, method=method, max_runs=4)
    assert all(search.runs_used <= 5 for search in result.workloads)
    assert result.workloads[0].runs_used <= 4


def test_all_of_a_small_space_may_be_run(tmp_path: Path) -> None:
    made = workload(scaling)
    from dataclasses import replace

    small = replace(made, measured=made.measured[:2])
    for method in METHODS:
        (search,) = replay_advice(write_csv(tmp_path / "t.csv", [small]), method=method, max_runs=10).workloads
        assert search.runs_used <= 2


def test_workloads_that_cannot_be_searched_are_left_out_with_the_reason(tmp_path: Path) -> None:
    path = write_csv(tmp_path / "t.csv", [workload(lambda _: None, "never"), workload(scaling)])
    text = path.read_text().replace("made,spark,d,a1.large,2,630.0,0.1,", "made,spark,d,a1.large,2,630.0,,")
    path.write_text(text)
    result = replay_advice(path)
    assert result.workloads == ()
    assert result.left_out == {
        "never, spark, d": "no run of it ended well",
        "made, spark, d": "no price is known of a1.large, so its cost cannot be compared",
    }


def test_numbers_below_one_are_refused(traces: Path) -> None:
    with pytest.raises(InputError, match="seeds is 0"):
        replay_advice(traces, seeds=0)
    with pytest.raises(InputError, match="max_runs is 0"):
        replay_advice(traces, max_runs=0)
    with pytest.raises(InputError, match="train_smallest is 0"):
        replay_forecast(traces, train_smallest=0)


def test_the_three_smallest_counts_predict_the_others(traces: Path) -> None:
    result = replay_forecast(traces, train_smallest=3)
    made = [row for row in result.rows if row.workload == "made"]
    assert {(row.instance_type, row.nodes) for row in made} == {(name, count) for name in TYPES for count in COUNTS[3:]}
    for row in made:
        assert row.low_s < row.predicted_s < row.high_s
        assert row.error < 0.2
    # Runs on two nodes failed, so one count is left to predict.
    assert {row.nodes for row in result.rows if row.workload != "made"} == {16}


def test_a_library_of_the_same_application_is_learnt_from(tmp_path: Path) -> None:
    # What was searched itself is no part of the library, or nothing would be left to find out.
    one, other = (replace(workload(needs_memory, name="sort"), dataset=name) for name in ("small", "large"))
    traces = write_csv(tmp_path / "t.csv", [one])
    without = replay_advice(traces)
    assert replay_advice(traces, known_library=traces) == without
    assert (
        replay_advice(traces, known_library=write_csv(tmp_path / "x.csv", [workload(scaling, name="grep")])) == without
    )
    (found,) = replay_advice(traces, known_library=write_csv(tmp_path / "l.csv", [one, other])).workloads
    assert found.runs_used <= without.workloads[0].runs_used
    assert found.cost_over_optimum == pytest.approx(1)


def test_a_library_is_of_no_use_to_other_methods(traces: Path) -> None:
    with pytest.raises(InputError, match="the method random learns nothing from a library"):
        replay_advice(traces, method="random", known_library=traces)
