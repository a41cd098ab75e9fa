"""What is believed of a job before and after runs."""

from __future__ import annotations

import itertools
import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.advice.made import configurations, needs_memory, scaling, workload

from nodewise.advice.belief import Belief
from nodewise.advice.knowledge import BROAD, FITTED, GENERAL, Effect
from nodewise.advice.quantiles import quantiles
from nodewise.advice.space import Observation, search_space
from nodewise.specs.advice import Configuration

SPACE = search_space(configurations())
BELIEF = Belief(SPACE)


def observe(formula: object, indices: list[int]) -> list[Observation]:
    made = workload(formula)  # type: ignore[arg-type]
    return [Observation(index, made.measured[index].runtime_s) for index in indices]


def unusual(one: Configuration) -> float:
    """Twice as many nodes take half as long again; twice as large ones a bit more than half as long."""
    return 300 * one.nodes**0.6 * (one.vcpus or 1) ** -0.8


def middle(observed: list[Observation]) -> np.ndarray:
    return np.exp(quantiles(BELIEF.after(observed), (0.5,))[0])


def test_before_any_run_minutes_are_believed_as_well_as_hours() -> None:
    before = BELIEF.after([])
    assert before.weights.sum() == pytest.approx(1)
    assert before.means.shape == before.deviations.shape == (len(before.weights), len(SPACE))
    low, _, high = np.exp(quantiles(before, (0.05, 0.5, 0.95)))
    assert low.min() < 60
    assert high.max() > 2 * 3600
    assert (high / low).min() > 100


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


@given(st.floats(0.2, 10))
@settings(max_examples=10, deadline=None)
def test_a_job_that_takes_longer_everywhere_is_believed_to_take_longer_everywhere(factor: float) -> None:
    observed = observe(scaling, [0, 7, 11])
    scaled = [Observation(one.index, one.runtime_s * factor) for one in observed]
    assert middle(scaled) / middle(observed) == pytest.approx(factor, rel=0.35)


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


def after_failure(seconds: float) -> np.ndarray:
    """Believed means after a run of 600 s, and one of another configuration that failed after ``seconds``."""
    after = BELIEF.after([Observation(10, 600.0), Observation(0, seconds, is_ok=False)])
    return np.asarray(after.weights @ after.means)


def test_a_run_that_failed_would_have_taken_longer() -> None:
    without = BELIEF.after([Observation(10, 600.0)])
    believed = without.weights @ without.means
    assert after_failure(7200.0)[0] > np.log(7200.0) > believed[0] + 0.5
    assert after_failure(1e7)[0] > np.log(1e6)


def test_a_crash_at_once_says_little_about_the_time() -> None:
    # But that memory may be short.
    without = BELIEF.after([Observation(10, 600.0)])
    after = BELIEF.after([Observation(10, 600.0), Observation(0, 5.0, is_ok=False)])
    assert after.means[0] == pytest.approx(without.means[0], abs=0.02)
    assert after.weights[0] < 0.6 * without.weights[0]


def test_after_a_failure_too_little_memory_is_suspected() -> None:
    # Configurations 4 and 14: as many cores, with 64 and with 256 GiB in all.
    ok, failed = (BELIEF.after([Observation(4, 600.0, is_ok=ok)]) for ok in (True, False))
    gains = [after.weights @ (after.means[:, 4] - after.means[:, 14]) for after in (ok, failed)]
    assert gains[1] > gains[0] + 0.2


def test_the_moments_after_a_failure_are_those_of_the_truncated_normal_distribution() -> None:
    from scipy.stats import truncnorm

    model = BELIEF._processes[0]
    deviation = np.sqrt(model.covariance[3, 3] + model.knowledge.noise**2)
    log_s = float(model.mean[3] + 0.7 * deviation)
    after = model.given([Observation(3, math.exp(log_s), is_ok=False)])
    truncated = truncnorm(0.7, np.inf, loc=model.mean[3], scale=deviation)
    share = model.covariance[3, 3] / deviation**2
    chance = np.log(model.knowledge.fails)
    assert after.log_weight - model.log_weight == pytest.approx(np.log(1 - 0.758036) + chance, abs=1e-5)
    assert after.mean[3] == pytest.approx(model.mean[3] + share * (truncated.mean() - model.mean[3]))
    narrower = share**2 * (deviation**2 - truncated.var())
    assert after.covariance[3, 3] == pytest.approx(model.covariance[3, 3] - narrower)


def test_the_order_of_failures_does_not_matter() -> None:
    runs = [Observation(0, 900.0, is_ok=False), Observation(5, 1800.0, is_ok=False), Observation(12, 400.0)]
    assert BELIEF.after(runs).means == pytest.approx(BELIEF.after(runs[::-1]).means)


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


def test_a_job_is_believed_to_be_like_one_of_the_same_application_until_its_runs_say_otherwise() -> None:
    other = observe(needs_memory, list(range(len(SPACE))))
    belief = Belief(SPACE, similar=[other])
    truth = np.log([needs_memory(one) for one in SPACE.configurations])
    first = [Observation(12, 5 * needs_memory(SPACE.configurations[12]))]
    # Five times as long everywhere: with one run all others are known better than without that job.
    errors = [
        np.abs(after.weights @ after.means - truth - np.log(5)).mean()
        for after in (belief.after(first), BELIEF.after(first))
    ]
    assert errors[0] < errors[1]
    # Nothing like it: its hypothesis loses its weight.
    general = len(BELIEF.after([]).weights)
    unlike = belief.after(observe(unusual, [0, 2, 4, 12]))
    assert belief.after([]).weights[general:].sum() == pytest.approx(GENERAL[0].is_like_similar)
    assert unlike.weights[general:].sum() < 0.05


def test_what_similar_jobs_did_not_run_stays_uncertain() -> None:
    few = Belief(SPACE, similar=[observe(scaling, [0, 1, 2])])
    many = Belief(SPACE, similar=[observe(scaling, list(range(len(SPACE))))])
    run = observe(scaling, [0])
    assert (few.after(run).deviations[-1][5:] > many.after(run).deviations[-1][5:]).all()


def test_a_similar_job_may_need_other_memory() -> None:
    # That one needs 100 GiB, this one 20: so small clusters with 32 GiB do.
    other = observe(needs_memory, list(range(len(SPACE))))
    runs = observe(scaling, [2])
    like, general = Belief(SPACE, similar=[other]).after(runs), BELIEF.after(runs)
    count = len(general.weights)
    assert like.weights[count:].sum() > 0.1
    truth = np.log([scaling(one) for one in SPACE.configurations])
    alike = like.weights[count:] @ like.means[count:] / like.weights[count:].sum()
    assert np.abs(alike - truth).max() < math.log(1.6)


def test_a_job_like_none_that_was_measured_is_believed_by_the_broad_half() -> None:
    runs = observe(unusual, list(range(0, 20, 3)))
    parts = [Belief(SPACE, [one]).log_evidence(runs) for one in GENERAL]
    after = BELIEF.after(runs)
    shares = after.weights.reshape(2, -1).sum(axis=1)
    assert GENERAL == (FITTED, BROAD)
    assert shares[1] / shares[0] == pytest.approx(math.exp(parts[1] - parts[0]), rel=1e-6)
    assert shares[1] > 0.9


def test_a_prior_alone_is_the_belief_of_that_prior() -> None:
    sure = replace(BROAD, cores=Effect(-0.69, 1e-6), curvature=Effect(0.0, 1e-6))
    runs = observe(scaling, [0])
    one, twice = (Belief(SPACE, some).after(runs) for some in ([sure], [sure, sure]))
    assert twice.weights.reshape(2, -1).sum(axis=0) == pytest.approx(one.weights)


def test_a_run_that_used_little_memory_shows_that_the_job_needs_little() -> None:
    # 256 GiB, of which 30 were used: what has 64 GiB is enough, and 16 may not be.
    (run,) = observe(scaling, [14])
    without = BELIEF.after([run])
    little, much = (BELIEF.after([replace(run, used_gib=gib)]) for gib in (30.0, 250.0))
    memory = np.array([one.nodes * (one.memory_gib or 0) for one in SPACE.configurations])
    enough = memory >= 64
    assert (little.lacks_memory[enough] < 0.3 * without.lacks_memory[enough]).sum() == enough.sum() - (
        without.lacks_memory[enough] == 0
    ).sum()
    assert little.lacks_memory[memory < 20].min() > 0.1
    # That much was used says nothing: what takes memory may not need it.
    assert much.lacks_memory == pytest.approx(without.lacks_memory)


def test_what_a_failed_run_used_says_nothing() -> None:
    (run,) = observe(scaling, [14])
    failed = replace(run, is_ok=False)
    used = replace(failed, used_gib=1.0)
    assert BELIEF.after([used]).lacks_memory == pytest.approx(BELIEF.after([failed]).lacks_memory)


@given(st.lists(st.floats(0.1, 300), min_size=1, max_size=4))
@settings(max_examples=25, deadline=None)
def test_runs_of_one_configuration_tell_of_memory_once(used: list[float]) -> None:
    (run,) = observe(scaling, [7])
    unknown = [run] * len(used)
    known = [replace(run, used_gib=gib) for gib in used]
    most = [replace(run, used_gib=max(used)), *unknown[1:]]
    assert BELIEF.after(known).lacks_memory == pytest.approx(BELIEF.after(most).lacks_memory)
    # A run is not less likely for a need that it has shown not to be there.
    assert (BELIEF.after(known).lacks_memory <= BELIEF.after(unknown).lacks_memory + 1e-9).all()
