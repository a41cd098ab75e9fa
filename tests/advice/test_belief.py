"""What is believed of a job before and after runs."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.advice.made import configurations, needs_memory, scaling, workload

from nodewise.advice.belief import Belief
from nodewise.advice.scaleout import quantiles
from nodewise.advice.space import Observation, search_space

SPACE = search_space(configurations())
BELIEF = Belief(SPACE)


def observe(formula: object, indices: list[int]) -> list[Observation]:
    made = workload(formula)  # type: ignore[arg-type]
    return [Observation(index, made.measured[index].runtime_s) for index in indices]


def middle(observed: list[Observation]) -> np.ndarray:
    return np.exp(quantiles(BELIEF.after(observed), (0.5,))[0])


def test_before_any_run_any_level_of_times_is_believed() -> None:
    before = BELIEF.after([])
    assert before.weights.sum() == pytest.approx(1)
    assert before.means.shape == before.deviations.shape == (len(before.weights), len(SPACE))
    assert before.deviations.min() > 3


def test_a_run_is_believed_and_what_is_like_it_too() -> None:
    observed = observe(scaling, [0])
    after = BELIEF.after(observed)
    narrow = after.deviations[0]
    assert narrow[0] < 0.25
    assert narrow[0] < narrow[1] < narrow[4]
    assert middle(observed)[0] == pytest.approx(observed[0].runtime_s, rel=0.05)


def test_few_runs_say_how_the_others_do() -> None:
    observed = observe(scaling, [0, 4, 12])
    truth = np.array([scaling(one) for one in SPACE.configurations])
    assert np.median(np.abs(middle(observed) / truth - 1)) < 0.15


def test_a_job_that_lacks_memory_is_recognised() -> None:
    # 8 and 32 GiB too little; 64 of the same count of cores too; 256 enough.
    observed = observe(needs_memory, [0, 2, 12, 14])
    after = BELIEF.after(observed)
    assert after.weights[0] < 0.1
    truth = np.array([needs_memory(one) for one in SPACE.configurations])
    assert np.median(np.abs(middle(observed) / truth - 1)) < 0.35


@given(st.permutations([0, 3, 7, 11, 18]))
@settings(max_examples=10, deadline=None)
def test_the_order_of_the_runs_does_not_matter(order: list[int]) -> None:
    assert middle(observe(scaling, order)) == pytest.approx(middle(observe(scaling, [0, 3, 7, 11, 18])))


@given(st.floats(1e-2, 1e4))
@settings(max_examples=10, deadline=None)
def test_the_unit_of_time_hardly_matters(factor: float) -> None:
    observed = observe(scaling, [0, 7, 11])
    scaled = [Observation(one.index, one.runtime_s * factor) for one in observed]
    assert middle(scaled) / middle(observed) == pytest.approx(factor, rel=0.1)


@given(st.permutations(list(range(20))))
@settings(max_examples=10, deadline=None)
def test_the_order_of_the_configurations_does_not_matter(order: list[int]) -> None:
    shuffled = search_space([configurations()[index] for index in order])
    observed = [Observation(order.index(one.index), one.runtime_s) for one in observe(scaling, [2, 9, 13])]
    found = np.exp(quantiles(Belief(shuffled).after(observed), (0.5,))[0])
    assert found == pytest.approx(middle(observe(scaling, [2, 9, 13]))[order])


def test_the_prices_of_all_together_do_not_change_what_is_believed_of_times() -> None:
    from dataclasses import replace

    dear = search_space([replace(one, usd_per_node_hour=7 * (one.usd_per_node_hour or 0)) for one in configurations()])
    observed = observe(scaling, [1, 8])
    assert np.exp(quantiles(Belief(dear).after(observed), (0.5,))[0]) == pytest.approx(middle(observed))


def test_a_failed_run_makes_its_configuration_look_slow() -> None:
    well, failed = (BELIEF.after([Observation(0, 600.0, is_ok=ok), Observation(10, 600.0)]) for ok in (True, False))
    means = [after.weights @ after.means for after in (well, failed)]
    assert means[1][0] > means[0][0] + 0.3


def test_the_evidence_is_the_density_of_all_runs_one_after_another() -> None:
    observed = observe(scaling, [0, 7, 11])
    total = 0.0
    for count, one in enumerate(observed):
        after = BELIEF.after(observed[:count])
        at = np.log(one.runtime_s)
        deviation, mean = after.deviations[:, one.index], after.means[:, one.index]
        density = np.exp(-0.5 * ((at - mean) / deviation) ** 2) / (deviation * np.sqrt(2 * np.pi))
        total += np.log(after.weights @ density)
    assert BELIEF.log_evidence(observed) == pytest.approx(total)


def test_quantiles_are_those_of_the_mixture() -> None:
    after = BELIEF.after(observe(scaling, [0, 7]))
    draw = np.random.default_rng(0)
    models = draw.choice(len(after.weights), 200_000, p=after.weights)
    drawn = draw.normal(after.means[models, 4], after.deviations[models, 4])
    for share, found in zip((0.05, 0.5, 0.95), quantiles(after, (0.05, 0.5, 0.95)), strict=True):
        assert (drawn < found[4]).mean() == pytest.approx(share, abs=0.005)
    for one, other in itertools.pairwise(quantiles(after, (0.05, 0.5, 0.95))):
        assert (one < other).all()
