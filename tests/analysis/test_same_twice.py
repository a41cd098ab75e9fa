"""A configuration that is compared with itself does not win."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime

import numpy as np
import pytest

from nodewise.analysis.compare import compare_scenarios, summarise_scenario
from nodewise.specs.results import ScenarioResult
from nodewise.specs.run import RunRecord, RunStatus, StageRecord
from nodewise.specs.scenario import Scenario

COMPARISONS = 200
NO_DIFFERENCE = 0.93

Noise = Callable[[np.random.Generator], float]

NOISES: dict[str, Noise] = {
    "normal": lambda random: random.normal(0, 0.03),
    "now and then disturbed": lambda random: (
        random.normal(0, 0.01) + (random.uniform() < 0.1) * random.exponential(0.2)
    ),
    "skewed": lambda random: random.lognormal(0, 0.8) / 20,
}
"""By which share a run takes longer than it should."""


def a_scenario(name: str, repeats: int, seconds: Callable[[], float]) -> ScenarioResult:
    scenario = Scenario(name=name, engine="spark", nodes=4, node_type="Standard_DS3_v2")
    runs = []
    for index in range(repeats):
        work_s = seconds()
        runs.append(
            RunRecord(
                run_id=f"{name}-{index}",
                command="compare",
                status=RunStatus.FINISHED,
                created_at=datetime(2026, 11, 21, tzinfo=UTC),
                cluster=scenario.cluster(default_cores=2),
                scenario=name,
                cluster_s=work_s + 20,
                start_up_s=20.0,
                stages=(StageRecord(name="prepare", wall_s=work_s, records=100, num_tasks=64),),
            )
        )
    return summarise_scenario(scenario, runs, {}, price_usd_per_hour=None, price_note="")


def verdict(*scenarios: ScenarioResult) -> str:
    return compare_scenarios(
        "name", "experiment", scenarios, baseline="a", left_out={}, machine_cores=64, report_path=""
    ).verdict


def share_without_winner(noise: Noise, repeats: int, slower: float = 1.0) -> float:
    random = np.random.default_rng(11)
    ties = 0
    for _ in range(COMPARISONS):
        one = a_scenario("a", repeats, lambda: 100 * (1 + noise(random)))
        other = a_scenario("b", repeats, lambda: 100 * slower * (1 + noise(random)))
        ties += verdict(one, other).startswith("No clear winner")
    return ties / COMPARISONS


@pytest.mark.parametrize("repeats", [3, 4, 5])
@pytest.mark.parametrize("noise", NOISES)
def test_the_same_configuration_twice_is_no_difference(noise: str, repeats: int) -> None:
    assert share_without_winner(NOISES[noise], repeats) >= NO_DIFFERENCE


def test_one_that_takes_a_quarter_longer_is_told_apart() -> None:
    assert share_without_winner(NOISES["normal"], 3, slower=1.25) <= 0.01


def test_few_runs_that_nearly_touch_are_no_difference_and_the_verdict_says_why() -> None:
    # 2 s between ranges of 4 s and 8 s: less than a fifth of 12 s.
    one, other = iter([96.0, 98.0, 100.0]), iter([102.0, 106.0, 110.0])
    text = verdict(a_scenario("a", 3, lambda: next(one)), a_scenario("b", 3, lambda: next(other)))
    assert text.startswith(
        "No clear winner: the billed times of a (1m 56s to 2m 00s) and b (2m 02s to 2m 10s) lie too close together for "
        "so few runs"
    )


def test_four_runs_each_that_do_not_touch_are_told_apart() -> None:
    one, other = iter([96.0, 97.0, 98.0, 100.0]), iter([102.0, 104.0, 106.0, 110.0])
    text = verdict(a_scenario("a", 4, lambda: next(one)), a_scenario("b", 4, lambda: next(other)))
    assert text.startswith("b is slower than a")
