from dataclasses import replace

from nodewise.analysis.compare import compare_scenarios
from nodewise.specs.results import ScenarioResult, StageResult


def a_stage(name: str, seconds: float, *, tasks: int = 100, cpu: float = 1.0) -> StageResult:
    return StageResult(
        name=name,
        seconds=seconds,
        records=1000,
        seconds_min=seconds,
        seconds_max=seconds,
        records_per_s=1000 / seconds,
        num_tasks=tasks,
        cpu_fraction=cpu,
        retries=0,
        cost_usd=None,
    )


def a_scenario(
    name: str,
    *stages: StageResult,
    nodes: int = 1,
    start_up: float = 0.0,
    seconds: float | None = None,
    spread: tuple[float, float] | None = None,
    cost: float | None = None,
    accuracy: float | None = 0.9,
    emulated: bool = False,
) -> ScenarioResult:
    billed = start_up + sum(stage.seconds for stage in stages) if seconds is None else seconds
    low, high = spread or (billed, billed)
    repeats = 3 if spread else 1
    return ScenarioResult(
        name=name,
        engine="local",
        emulated=emulated,
        nodes=nodes,
        cores_per_node=1,
        node_type="Standard_DS3_v2",
        stages=stages,
        seconds=billed,
        seconds_min=low,
        seconds_max=high,
        start_up_seconds=start_up,
        stop_seconds=0.0,
        cost_usd=cost,
        price_usd_per_hour=None,
        price_note="",
        accuracy=accuracy,
        records=1000,
        skipped=0,
        repeats=repeats,
        run_ids=tuple(f"{name}-{index}" for index in range(repeats)),
        tags={},
        epochs=(),
    )


def verdict(*scenarios: ScenarioResult, cores: int = 64) -> str:
    return compare_scenarios(
        "name",
        "experiment",
        scenarios,
        baseline=scenarios[0].name,
        left_out={},
        machine_cores=cores,
        report_path="",
    ).verdict


def work(seconds: float, cpu: float = 1.0) -> StageResult:
    return a_stage("prepare", seconds, cpu=cpu)


def test_faster_with_repeats_gives_the_range_and_the_price_of_an_hour() -> None:
    text = verdict(
        a_scenario("one", work(100.0), spread=(95.0, 105.0), cost=0.10),
        a_scenario("five", work(40.0), nodes=5, spread=(38.0, 42.0), cost=0.20),
    )
    # 95 / 42 and 105 / 38; 0.10 USD more for 60 s less is 6 USD for an hour.
    assert text.startswith(
        "five is 2.50x as fast as one (40.0 s against 1m 40s of billed time; between 2.26x and 2.76x in 3 runs each), "
        "at 2.00x the cost ($0.2000 against $0.1000): $6.00 for each hour saved."
    )


def test_slower_says_how_much_longer_it_takes() -> None:
    text = verdict(
        a_scenario("one", work(50.0), spread=(49.0, 51.0), cost=0.10),
        a_scenario("five", work(60.0), nodes=5, spread=(58.0, 62.0), cost=0.60),
    )
    assert text.startswith(
        "five is slower than one: it takes 1.20x as long (60.0 s against 50.0 s of billed time; "
        "between 1.14x and 1.27x in 3 runs each), at 6.00x the cost ($0.6000 against $0.1000)."
    )
    assert "hour saved" not in text


def test_one_run_each_is_said_to_show_no_spread() -> None:
    text = verdict(a_scenario("one", work(80.0)), a_scenario("two", work(40.0), nodes=2))
    assert "(40.0 s against 80.0 s of billed time; one run each, which shows no spread)" in text


def test_overlapping_ranges_have_no_clear_winner() -> None:
    text = verdict(
        a_scenario("one", work(50.0), spread=(45.0, 55.0)), a_scenario("five", work(40.0), nodes=5, spread=(38.0, 46.0))
    )
    assert text.startswith(
        "No clear winner: the billed times of one (45.0 s to 55.0 s) and five (38.0 s to 46.0 s) overlap, and"
    )


def test_single_runs_that_nearly_agree_have_no_clear_winner() -> None:
    text = verdict(a_scenario("one", work(50.0)), a_scenario("five", work(49.0), nodes=5))
    assert text.startswith(
        "No clear winner: one took 50.0 s and five 49.0 s of billed time, and one run each shows no spread"
    )


def test_without_prices_costs_are_not_compared() -> None:
    text = verdict(a_scenario("one", work(80.0)), a_scenario("two", work(40.0), nodes=2, cost=0.1))
    assert "without a known price for both the costs are not compared" in text
    assert "$" not in text


def test_start_up_that_dominates_is_the_limit_and_more_data_would_help() -> None:
    text = verdict(
        a_scenario("one", work(60.0)),
        a_scenario("five", work(15.0), nodes=5, start_up=35.0),
    )
    assert "What held five back most: start-up (70 % of its billed time)." in text
    assert (
        "Without start-up the jobs of five ran 4.00x as fast as those of one, "
        "and with more data the total would approach that (an estimate)." in text
    )


def test_too_few_tasks_are_named_with_the_count_that_would_do() -> None:
    text = verdict(
        a_scenario("one", a_stage("prepare", 60.0, tasks=2)),
        a_scenario("five", a_stage("prepare", 31.0, tasks=2, cpu=0.4), nodes=5),
    )
    assert "What held five back most: prepare had 2 tasks for 5 slots (5 would keep all busy)." in text
    assert "more data" not in text


def test_a_gang_with_one_member_per_node_is_not_short_of_tasks() -> None:
    stages = (a_stage("train", 60.0, tasks=1), a_stage("train", 30.0, tasks=5))
    assert "slots" not in verdict(a_scenario("one", stages[0]), a_scenario("five", stages[1], nodes=5))


def test_emulated_nodes_that_keep_the_machine_busy_are_said_to_share_it() -> None:
    # 5 slots busy to 38 % are 1.9 of the 2 cores.
    text = verdict(
        a_scenario("one", work(60.0), emulated=True, cost=0.01),
        a_scenario("five", work(35.0, cpu=0.38), nodes=5, emulated=True, cost=0.03),
        cores=2,
    )
    assert "What held five back most: the 5 emulated nodes shared this machine's 2 cores." in text
    assert text.endswith(
        "The nodes were emulated on this machine (2 cores); "
        "cost is what Standard_DS3_v2 would cost at this speed, not a bill."
    )


def test_nodes_that_are_held_to_their_share_do_not_wait_for_each_other() -> None:
    one = a_scenario("one", work(60.0), emulated=True)
    five = a_scenario("five", work(35.0, cpu=0.38), nodes=5, emulated=True)
    held = [replace(scenario, emulation_tier="namespaces") for scenario in (one, five)]
    assert "shared this machine" not in verdict(*held, cores=2)
    assert "were emulated on this machine (2 cores), each held to its share" in verdict(*held, cores=2)
    loose = [replace(scenario, emulation_tier="processes") for scenario in (one, five)]
    assert "not isolated: nothing held them to their share" in verdict(*loose, cores=2)


def test_real_nodes_do_not_share_a_machine() -> None:
    text = verdict(a_scenario("one", work(60.0)), a_scenario("five", work(35.0, cpu=0.38), nodes=5), cores=2)
    assert "shared" not in text
    assert "emulated" not in text


def test_idle_cores_with_enough_tasks_are_waiting_in_the_stage_that_gained_least() -> None:
    text = verdict(
        a_scenario("one", work(60.0), a_stage("train", 60.0, tasks=1)),
        a_scenario("five", work(12.0), a_stage("train", 50.0, tasks=5, cpu=0.25), nodes=5),
    )
    assert (
        "What held five back most: waiting in train, which gained least "
        "(the cores computed 25 % of the time; the rest was communication or scheduling)" in text
    )


def test_nearly_ideal_scaling_has_no_limit_to_name() -> None:
    text = verdict(a_scenario("one", work(100.0)), a_scenario("five", work(21.0, cpu=0.5), nodes=5))
    assert "Scaling was nearly ideal: five has an efficiency of 95 %" in text
    assert "held" not in text


def test_more_data_does_not_help_jobs_that_are_slower_themselves() -> None:
    text = verdict(a_scenario("one", work(40.0)), a_scenario("five", work(50.0, cpu=0.9), nodes=5, start_up=30.0))
    assert (
        "ran 0.80x as fast as those of one, so more data alone would not make it the faster one (an estimate)" in text
    )


def test_a_lead_that_start_up_made_shrinks_with_more_data() -> None:
    text = verdict(a_scenario("one", work(40.0), start_up=60.0), a_scenario("five", work(20.0), nodes=5, start_up=10.0))
    # 100 / 30 in all, but 40 / 20 for the jobs.
    assert "ran only 2.00x as fast as those of one, and with more data the total would approach that" in text


def test_of_three_the_fastest_and_the_cheapest_are_named() -> None:
    text = verdict(
        a_scenario("one", work(100.0), cost=0.10),
        a_scenario("two", work(60.0), nodes=2, cost=0.12),
        a_scenario("five", work(40.0), nodes=5, cost=0.20),
    )
    assert text.startswith(
        "Fastest is five, 2.50x as fast as the baseline one (40.0 s against 1m 40s of billed time), at 2.00x its cost; "
        "cheapest is one with $0.1000. More nodes were faster: two was 1.67x as fast as one, at 1.20x the cost."
    )


def test_of_three_the_baseline_can_be_the_fastest() -> None:
    text = verdict(
        a_scenario("one", work(10.0)), a_scenario("two", work(20.0), nodes=2), a_scenario("five", work(40.0), nodes=5)
    )
    assert text.startswith("Fastest is the baseline one with 10.0 s of billed time;")
    assert "More nodes were slower: two took 2.00x as long as one; five took 4.00x as long as one." in text
    assert "no price is known, so costs are not compared" in text


def test_more_nodes_are_compared_with_fewer_of_the_same_engine() -> None:
    scenarios = [
        replace(a_scenario(name, work(seconds), nodes=nodes, emulated=True), engine=engine)
        for name, engine, nodes, seconds in [
            ("Spark x1", "spark", 1, 40.0),
            ("Spark x5", "spark", 5, 80.0),
            ("Ray x1", "ray", 1, 20.0),
            ("Ray x5", "ray", 5, 10.0),
        ]
    ]
    text = verdict(*scenarios)
    assert "More nodes were not always faster: Spark x5 took 2.00x as long as Spark x1; " in text
    assert "Ray x5 was 2.00x as fast as Ray x1." in text
    assert "ithout start-up the jobs of Ray x5 ran 2.00x as fast as those of Ray x1" in text
    assert "One run each shows no spread." in text


def test_accuracy_is_mentioned_from_two_points_on() -> None:
    same = verdict(a_scenario("one", work(80.0)), a_scenario("two", work(40.0), nodes=2, accuracy=0.885))
    other = verdict(a_scenario("one", work(80.0)), a_scenario("two", work(40.0), nodes=2, accuracy=0.85))
    assert "ccuracy" not in same
    assert other.endswith("Accuracy differs: two 85.0 % against 90.0 % for one.")


def test_a_single_scenario_is_described() -> None:
    assert verdict(a_scenario("one", work(12.0), cost=0.02)) == (
        "Only one ran, so there is nothing to compare it with: it took 12.0 s of billed time, and the cost is $0.0200."
    )


def test_times_of_zero_do_not_divide() -> None:
    assert verdict(a_scenario("one", seconds=0.0), a_scenario("two", seconds=0.0, nodes=2)).startswith(
        "No clear winner"
    )
