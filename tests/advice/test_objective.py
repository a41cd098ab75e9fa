"""Cost and time, each with a limit on the other."""

from __future__ import annotations

import numpy as np
import pytest
from tests.advice.made import configurations

from nodewise.advice.belief import Posterior
from nodewise.advice.interruptions import Interruptions
from nodewise.advice.objective import least_cost, least_rate, least_time
from nodewise.advice.space import Observation, search_space
from nodewise.specs.advice_request import SpotSpec

SPACE = search_space(configurations(["a1.large"], [2, 4]))


def posterior(mean_s: list[float], deviation: float) -> Posterior:
    means = np.log([mean_s, [2 * second for second in mean_s]])
    return Posterior(np.array([0.75, 0.25]), means, np.full((2, 2), deviation), lacks_memory=np.zeros(2))


def test_values_are_dollars_or_seconds() -> None:
    assert least_cost(SPACE).value(Observation(1, 1800)) == pytest.approx(0.2)
    assert least_time(SPACE).value(Observation(1, 1800)) == pytest.approx(1800)


def test_what_is_past_the_limit_or_failed_is_not_the_best() -> None:
    runs = [Observation(0, 500.0), Observation(1, 300.0), Observation(1, 100.0, is_ok=False)]
    assert least_cost(SPACE).best(runs) == runs[0]
    assert least_cost(SPACE, deadline_s=400).best(runs) == runs[1]
    assert least_cost(SPACE, deadline_s=200).best(runs) is None
    assert least_time(SPACE).best(runs) == runs[1]
    # 500 s on two nodes of $0.10 an hour are $0.0278, 300 s on four $0.0333.
    assert least_time(SPACE, budget_usd=0.03).best(runs) == runs[0]


@pytest.mark.parametrize("deadline_s", [None, 150.0, 90.0])
def test_the_expected_saving_is_the_mean_over_what_may_happen(deadline_s: float | None) -> None:
    objective, believed = least_cost(SPACE, deadline_s), posterior([100.0, 60.0], 0.4)
    draw = np.random.default_rng(1)
    models = draw.choice(2, 400_000, p=believed.weights)
    best = 0.006
    for index in range(2):
        seconds = np.exp(draw.normal(believed.means[models, index], 0.4))
        cost = seconds * SPACE.rates[index]
        saved = np.maximum(0, 1 - cost / best) * (seconds <= (deadline_s or np.inf))
        assert objective.expected_saving(believed, best)[index] == pytest.approx(saved.mean(), abs=0.002)
        within = (seconds <= (deadline_s or np.inf)).mean()
        assert objective.chance_within(believed)[index] == pytest.approx(within, abs=0.002)


def test_dearer_is_never_more_promising() -> None:
    believed = posterior([100.0, 100.0], 0.3)
    cheap, dear = least_cost(SPACE).promise(believed)
    assert cheap > dear
    savings = least_cost(SPACE).expected_saving(believed, 0.01)
    assert savings[0] > savings[1]


def test_with_interruptions_values_and_limits_are_those_expected() -> None:
    # Two nodes at half an interruption an hour each, and no time to restart: an hour takes e - 1 hours.
    spot = Interruptions(SpotSpec(interruptions_per_hour=0.5, restart_s=0), SPACE.nodes)
    hour = Observation(0, 3600)
    assert least_cost(SPACE, interruptions=spot).value(hour) == pytest.approx(0.2 * (np.e - 1))
    assert least_time(SPACE, interruptions=spot).value(hour) == pytest.approx(3600 * (np.e - 1))
    assert least_cost(SPACE, 6190, spot).is_within(hour)
    assert not least_cost(SPACE, 6180, spot).is_within(hour)
    assert least_time(SPACE, 0.344, spot).is_within(hour)
    assert not least_time(SPACE, 0.343, spot).is_within(hour)


def test_a_price_per_hour_depends_on_the_time_by_its_limit_only() -> None:
    objective, believed = least_rate(SPACE, np.array([300.0, 100.0])), posterior([100.0, 100.0], 0.5)
    assert objective.value(Observation(0, 10)) == objective.value(Observation(0, 299)) == pytest.approx(0.2)
    assert not objective.is_within(Observation(0, 301))
    chance = objective.chance_within(believed)
    # Of $0.50 an hour the first saves 60 %, the second 20 %, if they are within their limits; of $0.20 neither saves.
    assert objective.expected_saving(believed, 0.5) == pytest.approx(chance * [0.6, 0.2], abs=1e-6)
    assert objective.expected_saving(believed, 0.2) == pytest.approx([0, 0], abs=1e-6)


def test_the_expected_saving_with_interruptions_is_near_the_mean_over_what_may_happen() -> None:
    spot = Interruptions(SpotSpec(interruptions_per_hour=0.5, restart_s=60), SPACE.nodes)
    objective, believed, draw = (
        least_cost(SPACE, 4000, spot),
        posterior([1800.0, 1200.0], 0.3),
        np.random.default_rng(1),
    )
    models = draw.choice(2, 200_000, p=believed.weights)
    log_s = draw.normal(believed.means[models], 0.3)
    cost = np.exp(objective.log_value(log_s))
    best = 0.2
    saved = np.maximum(0, 1 - cost / best) * (log_s <= objective.most_log_s)
    assert objective.expected_saving(believed, best) == pytest.approx(saved.mean(axis=0), abs=0.01)
