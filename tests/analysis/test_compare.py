from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal

import pytest

from nodewise.analysis.compare import compare_scenarios, summarise_scenario
from nodewise.core.errors import UnknownNameError
from nodewise.specs.place import EmulationTier
from nodewise.specs.results import ComparisonResult, EpochResult, ScenarioResult
from nodewise.specs.run import RunRecord, RunStatus, StageRecord, TaskRecord
from nodewise.specs.scenario import Scenario
from nodewise.specs.usage import UsageSample


def a_task(stage: str, index: int, cpu_s: float, *, retries: int = 0) -> TaskRecord:
    return TaskRecord(
        stage=stage,
        task=index,
        node="node-0",
        started_at=0.0,
        ended_at=1.0,
        cpu_s=cpu_s,
        records=50,
        read_bytes=0,
        written_bytes=0,
        peak_memory_bytes=0,
        retries=retries,
    )


def a_run(
    scenario: Scenario,
    run_id: str,
    *,
    cluster_s: float | None,
    start_up_s: float = 4.0,
    prepare_s: float = 10.0,
    train_s: float = 20.0,
    accuracy: float | None = 0.9,
    result: dict | None = None,
) -> RunRecord:
    return RunRecord(
        run_id=run_id,
        command="compare",
        status=RunStatus.FINISHED,
        created_at=datetime(2026, 11, 21, tzinfo=UTC),
        cluster=scenario.cluster(default_cores=2),
        scenario=scenario.name,
        cluster_s=cluster_s,
        start_up_s=start_up_s,
        accuracy=accuracy,
        stages=(
            StageRecord(name="prepare", wall_s=prepare_s, records=100, num_tasks=4),
            StageRecord(name="train", wall_s=train_s, records=80, num_tasks=scenario.nodes),
        ),
        result=result,
    )


TWO_NODES = Scenario(name="two", engine="ray", nodes=2, node_type="Standard_DS3_v2", tags={"team": "ml"})


def summarise(*runs: RunRecord, tasks: dict | None = None, price: str | None = "0.36") -> ScenarioResult:
    return summarise_scenario(
        TWO_NODES,
        runs,
        tasks or {},
        price_usd_per_hour=None if price is None else Decimal(price),
        price_note="a price list of 2026-06-18",
    )


def compare(*scenarios: ScenarioResult, baseline: str, left_out: dict | None = None) -> ComparisonResult:
    return compare_scenarios(
        "a comparison",
        "exp-1",
        scenarios,
        baseline=baseline,
        left_out=left_out or {},
        machine_cores=8,
        report_path="report.html",
    )


def named(name: str, *, nodes: int, seconds: float, start_up: float, price: str | None = "0.36") -> ScenarioResult:
    scenario = Scenario(name=name, engine="local", nodes=nodes)
    work = seconds - start_up
    return summarise_scenario(
        scenario,
        [a_run(scenario, name, cluster_s=seconds, start_up_s=start_up, prepare_s=work / 4, train_s=work * 3 / 4)],
        {},
        price_usd_per_hour=None if price is None else Decimal(price),
        price_note="",
    )


def test_times_are_medians_with_their_range() -> None:
    result = summarise(
        a_run(TWO_NODES, "a", cluster_s=40.0, prepare_s=10.0, start_up_s=4.0),
        a_run(TWO_NODES, "b", cluster_s=46.0, prepare_s=14.0, start_up_s=6.0),
        a_run(TWO_NODES, "c", cluster_s=41.0, prepare_s=11.0, start_up_s=5.0),
    )
    assert (result.seconds, result.seconds_min, result.seconds_max) == (41.0, 40.0, 46.0)
    assert result.start_up_seconds == 5.0
    prepare, train = result.stages
    assert (prepare.name, prepare.seconds, prepare.seconds_min, prepare.seconds_max) == ("prepare", 11.0, 10.0, 14.0)
    assert prepare.records_per_s == pytest.approx(100 / 11)
    assert (train.seconds, train.num_tasks) == (20.0, 2)
    assert (result.repeats, result.run_ids) == (3, ("a", "b", "c"))
    assert (result.nodes, result.cores_per_node, result.emulated, result.tags) == (2, 2, True, {"team": "ml"})


def test_the_median_of_two_runs_lies_between_them() -> None:
    assert summarise(a_run(TWO_NODES, "a", cluster_s=40.0), a_run(TWO_NODES, "b", cluster_s=50.0)).seconds == 45.0


def test_cost_is_nodes_times_price_times_billed_hours_and_stages_have_their_share() -> None:
    # 2 nodes x 0.36 USD / 3600 s x 40 s = 0.008 USD; prepare has 10 of the 40 seconds.
    result = summarise(a_run(TWO_NODES, "a", cluster_s=40.0))
    assert result.cost_usd == pytest.approx(0.008)
    assert result.stages[0].cost_usd == pytest.approx(0.002)
    assert result.price_usd_per_hour == 0.36


def test_without_a_price_every_cost_is_unknown() -> None:
    result = summarise(a_run(TWO_NODES, "a", cluster_s=40.0), price=None)
    assert result.cost_usd is None
    assert [stage.cost_usd for stage in result.stages] == [None, None]


def test_a_price_of_zero_is_a_known_cost() -> None:
    assert summarise(a_run(TWO_NODES, "a", cluster_s=40.0), price="0").cost_usd == 0.0


def test_cpu_fraction_is_cpu_seconds_over_the_seconds_of_all_slots() -> None:
    # 2 nodes x 2 cores for 10 s are 40 slot seconds; the tasks used 12 + 8.
    tasks = {"a": [a_task("prepare", 0, 12.0, retries=1), a_task("prepare", 1, 8.0), a_task("train", 0, 4.0)]}
    prepare, train = summarise(a_run(TWO_NODES, "a", cluster_s=40.0), tasks=tasks).stages
    assert prepare.cpu_fraction == pytest.approx(0.5)
    assert train.cpu_fraction == pytest.approx(0.05)
    assert (prepare.retries, train.retries) == (1, 0)


def test_lost_attempts_of_all_repeats_are_counted() -> None:
    tasks = {"a": [a_task("prepare", 0, 1.0, retries=1)], "b": [a_task("prepare", 0, 1.0, retries=2)]}
    runs = [a_run(TWO_NODES, "a", cluster_s=40.0), a_run(TWO_NODES, "b", cluster_s=40.0)]
    assert summarise(*runs, tasks=tasks).stages[0].retries == 3


def test_stop_is_what_start_up_and_stages_leave_of_the_billed_time() -> None:
    assert summarise(a_run(TWO_NODES, "a", cluster_s=36.5)).stop_seconds == pytest.approx(2.5)


def test_stop_is_never_below_zero() -> None:
    assert summarise(a_run(TWO_NODES, "a", cluster_s=33.9)).stop_seconds == 0.0


def test_accuracy_is_the_median_of_the_runs_that_have_one() -> None:
    accuracies = (0.8, None, 0.9, 0.7)
    runs = [a_run(TWO_NODES, str(index), cluster_s=40.0, accuracy=value) for index, value in enumerate(accuracies)]
    assert summarise(*runs).accuracy == 0.8
    assert summarise(runs[1]).accuracy is None


def test_epochs_records_and_skipped_images_are_those_of_the_last_run() -> None:
    epoch = {"epoch": 1, "loss": 0.5, "train_accuracy": 0.8, "test_accuracy": None, "seconds": 2.0, "a_later_key": 1}
    result = {
        "prepare": {"records": 97, "skipped": [{"path": "a.jpg", "reason": "not an image"}]},
        "train": {"epochs": [epoch]},
    }
    summary = summarise(a_run(TWO_NODES, "a", cluster_s=40.0), a_run(TWO_NODES, "b", cluster_s=40.0, result=result))
    assert (summary.records, summary.skipped) == (97, 1)
    assert summary.epochs == (EpochResult(epoch=1, loss=0.5, train_accuracy=0.8, test_accuracy=None, seconds=2.0),)


def test_a_run_that_was_never_timed_is_refused() -> None:
    with pytest.raises(ValueError, match="'a' has no cluster time"):
        summarise(a_run(TWO_NODES, "a", cluster_s=None))
    with pytest.raises(ValueError, match="'two' has no finished run"):
        summarise()


def test_ratios_are_relative_to_the_baseline() -> None:
    one = named("one", nodes=1, seconds=100.0, start_up=10.0)
    five = named("five", nodes=5, seconds=50.0, start_up=20.0)
    comparison = compare(one, five, baseline="one")
    assert comparison.speedup == {"one": 1.0, "five": 2.0}
    assert comparison.work_speedup == pytest.approx({"one": 1.0, "five": 90 / 30})
    assert comparison.efficiency == pytest.approx({"one": 1.0, "five": 2 / 5})
    assert comparison.cost_ratio == pytest.approx({"one": 1.0, "five": 5 * 50 / 100})


def test_efficiency_counts_nodes_relative_to_a_larger_baseline() -> None:
    five = named("five", nodes=5, seconds=50.0, start_up=0.0)
    one = named("one", nodes=1, seconds=100.0, start_up=0.0)
    comparison = compare(five, one, baseline="five")
    assert comparison.efficiency["one"] == pytest.approx(0.5 * 5)


@pytest.mark.parametrize("price", [None, "0"], ids=["unknown", "zero"])
def test_no_cost_ratio_without_a_baseline_cost_above_zero(price: str | None) -> None:
    comparison = compare(
        named("one", nodes=1, seconds=100.0, start_up=0.0, price=price),
        named("five", nodes=5, seconds=50.0, start_up=0.0),
        baseline="one",
    )
    assert comparison.cost_ratio == {}
    assert comparison.speedup["five"] == 2.0


def test_a_scenario_without_a_price_is_missing_from_the_cost_ratios_alone() -> None:
    comparison = compare(
        named("one", nodes=1, seconds=100.0, start_up=0.0),
        named("five", nodes=5, seconds=50.0, start_up=0.0, price=None),
        baseline="one",
    )
    assert set(comparison.cost_ratio) == {"one"}


def test_a_time_of_zero_gives_no_ratio() -> None:
    comparison = compare(
        named("one", nodes=1, seconds=0.0, start_up=0.0),
        named("five", nodes=5, seconds=1.0, start_up=0.0),
        baseline="one",
    )
    assert comparison.speedup == {}
    assert comparison.work_speedup == {}
    assert comparison.efficiency == {}


def test_a_left_out_baseline_is_replaced_by_the_first_that_ran() -> None:
    comparison = compare(
        named("ray", nodes=1, seconds=100.0, start_up=0.0),
        named("local", nodes=1, seconds=50.0, start_up=0.0),
        baseline="spark",
        left_out={"spark": "no Java"},
    )
    assert comparison.baseline == "ray"
    assert comparison.speedup["local"] == 2.0
    assert comparison.verdict.startswith("spark, the baseline asked for, was left out: ray stands in for it.")


def test_with_everything_left_out_nothing_is_compared() -> None:
    comparison = compare(baseline="spark", left_out={"spark": "no Java"})
    assert (comparison.scenarios, comparison.speedup, comparison.baseline) == ((), {}, "spark")
    assert comparison.verdict == "No scenario could run here, so there is nothing to compare (spark: no Java)."


def test_a_baseline_that_no_scenario_has_is_an_error() -> None:
    with pytest.raises(UnknownNameError, match="unknown baseline 'on'"):
        compare(named("one", nodes=1, seconds=1.0, start_up=0.0), baseline="on")


def test_where_the_time_went_is_told_of_the_run_with_the_median_time() -> None:
    runs = [a_run(TWO_NODES, name, cluster_s=seconds) for name, seconds in (("a", 50.0), ("b", 34.0), ("c", 40.0))]
    # Of c: 40 s less 4 s of start-up on each of two nodes of two slots; one task computed for one second of its one.
    result = summarise(*runs, tasks={name: [a_task("prepare", 0, 1.0)] for name in "abc"})
    assert result.time_split["compute"] == pytest.approx(0.5 / 72)
    assert result.time_split["idle"] == pytest.approx(6 / 36)
    assert sum(result.time_split.values()) == pytest.approx(1)
    assert result.ideal_seconds == pytest.approx(0.25)
    assert result.limited_by is not None
    assert result.limit_sentence.endswith(".")
    assert result.usage is None


def test_samples_become_lines_of_that_run() -> None:
    runs = [a_run(TWO_NODES, "a", cluster_s=40.0)]
    at = runs[0].created_at.timestamp()
    sample = UsageSample(
        node="node-0", at=at + 1, interval_s=1.0, cpu_cores=0.5, throttled_s=None, memory_bytes=1, read_bytes=0,
        written_bytes=0,
    )  # fmt: skip
    result = summarise_scenario(
        TWO_NODES, runs, {}, price_usd_per_hour=None, price_note="", usage={"a": [sample], "other": []}
    )
    assert result.usage is not None
    assert (result.usage.run_id, result.usage.nodes[0].cpu_cores) == ("a", (0.5,))
    assert result.time_split


def test_without_records_nothing_is_said_of_the_time() -> None:
    result = summarise(a_run(TWO_NODES, "a", cluster_s=40.0))
    assert (result.time_split, result.ideal_seconds, result.limited_by, result.limit_sentence) == ({}, None, None, "")


def test_the_emulation_tier_is_that_of_the_runs() -> None:
    run = replace(a_run(TWO_NODES, "a", cluster_s=40.0), emulation_tier=EmulationTier.CGROUPS)
    assert summarise(run).emulation_tier == "cgroups"
