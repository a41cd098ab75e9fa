"""The interval is honest, and never silly."""

from __future__ import annotations

import os
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nodewise.analysis.regression import Array
from nodewise.analysis.scaling.belief import Band, ScalingBelief
from nodewise.analysis.scaling.clusters import Clusters, clusters_alike

from .simulated import SHAPES, measured_counts, runs_of

DRAWS = 1000 if os.environ.get("NODEWISE_TEST_ALL") == "1" else 200
COUNTS = np.array([1.0, 2.0, 4.0, 8.0])


def on(*nodes: float, data: float = 1.0) -> Clusters:
    return clusters_alike(np.array(nodes), np.full(len(nodes), data))


def belief_of(nodes: Array, wall_s: Array) -> ScalingBelief:
    return ScalingBelief(on(*nodes), wall_s)


def run_band(belief: ScalingBelief, *nodes: float) -> Band:
    return belief.run_band(on(*nodes))


def covered(shape: str, draws: int, seed: int) -> tuple[float, float]:
    """Shares of further runs within their interval: within the measured range, and up to four times beyond it."""
    random = np.random.default_rng(seed)
    inside: list[bool] = []
    beyond: list[bool] = []
    for _ in range(draws):
        curve, counts, noise = SHAPES[shape](random), measured_counts(random), random.uniform(0.05, 0.2)
        belief = belief_of(counts, runs_of(curve, counts, noise, random))
        asked = np.array([*(counts[:-1] * 1.5), 2 * counts[-1], 4 * counts[-1]])
        further, band = runs_of(curve, asked, noise, random), belief.run_band(on(*asked))
        hits = ((band.low_s <= further) & (further <= band.high_s)).tolist()
        inside += hits[:-2]
        beyond += hits[-2:]
    return float(np.mean(inside)), float(np.mean(beyond))


@pytest.mark.parametrize("shape", SHAPES)
def test_of_further_runs_85_to_95_percent_lie_within_the_90_percent_interval(shape: str) -> None:
    inside, beyond = covered(shape, DRAWS, seed=7)
    assert 0.85 <= inside <= 0.95
    assert 0.85 <= beyond <= 0.95


def test_with_one_run_the_interval_reaches_from_near_the_ideal_to_nearly_no_gain() -> None:
    band = run_band(belief_of(np.array([1.0]), np.array([100.0])), 16.0)
    assert band.low_s[0] < 100 / 16 * 2
    assert band.high_s[0] > 70
    assert band.high_s[0] < 400


def test_more_runs_and_less_noise_make_it_narrower() -> None:
    counts = np.tile(COUNTS, 6)
    exact = 100 * (0.1 + 0.9 / counts)
    noisy = exact * np.exp(0.2 * np.random.default_rng(3).standard_normal(len(counts)))
    few, many, scattered = (
        run_band(belief_of(nodes, wall_s), 32.0)
        for nodes, wall_s in ((counts[:4], exact[:4]), (counts, exact), (counts, noisy))
    )
    widths = [float(band.high_s[0] / band.low_s[0]) for band in (few, many, scattered)]
    assert widths[1] < widths[0]
    assert widths[1] < widths[2]


def test_many_exact_runs_give_the_law_back() -> None:
    counts = np.tile(COUNTS, 10)
    belief = belief_of(counts, 100 * (0.1 + 0.9 / counts))
    assert run_band(belief, 3.0, 32.0).median_s.tolist() == pytest.approx([40.0, 12.8], rel=0.05)


def test_the_expected_time_is_known_better_than_a_single_run() -> None:
    belief = belief_of(COUNTS, np.array([100.0, 60.0, 32.0, 22.0]))
    run, expected = run_band(belief, 4.0, 16.0), belief.expected_band(on(4.0, 16.0))
    assert (run.low_s < expected.low_s).all()
    assert (expected.high_s < run.high_s).all()


def test_twice_the_data_takes_twice_the_parallel_part() -> None:
    nodes, data = np.tile(COUNTS, 8), np.repeat([1.0, 2.0], 16)
    belief = ScalingBelief(clusters_alike(nodes, data), 100 * (0.2 + 0.8 * data / nodes))
    found = belief.run_band(clusters_alike(np.array([2.0, 2.0]), np.array([1.0, 4.0])))
    assert found.median_s.tolist() == pytest.approx([60.0, 180.0], rel=0.06)


times = st.floats(min_value=0.01, max_value=1e6)


@settings(max_examples=25, deadline=None)
@given(wall_s=st.lists(times, min_size=1, max_size=6), unit=st.sampled_from([1 / 60, 1e3]), order=st.randoms())
def test_neither_units_nor_the_order_of_runs_matter(wall_s: list[float], unit: float, order: object) -> None:
    nodes = 2.0 ** np.arange(len(wall_s))
    seconds = np.array(wall_s)
    mixed = list(range(len(wall_s)))
    order.shuffle(mixed)  # type: ignore[attr-defined]
    one = run_band(belief_of(nodes, seconds), 3.0, 100.0)
    other = run_band(belief_of(nodes[mixed], seconds[mixed] * unit), 3.0, 100.0)
    for before, after in ((one.low_s, other.low_s), (one.median_s, other.median_s), (one.high_s, other.high_s)):
        assert (before * unit).tolist() == pytest.approx(after.tolist(), rel=1e-3)
        assert np.isfinite(before).all()


def test_fewer_nodes_than_any_run_had_take_longer_and_never_less_than_nothing() -> None:
    band = run_band(belief_of(np.array([16.0, 32.0, 64.0]), np.array([100.0, 60.0, 40.0])), 1.0, 4.0, 16.0)
    assert np.isfinite(band.low_s).all()
    assert (np.diff(band.median_s) < 0).all()
    assert band.median_s[0] > 400


def test_ties_and_repeats_are_no_trouble() -> None:
    band = run_band(belief_of(np.array([2.0, 2.0, 2.0]), np.array([10.0, 10.0, 10.0])), 2.0)
    assert band.low_s[0] < band.median_s[0] < band.high_s[0]
    assert band.median_s[0] == pytest.approx(10.0, rel=0.01)


def types(nodes: Sequence[float], sizes: Sequence[float], names: Sequence[str], memory_gib: float | None) -> Clusters:
    """Clusters of one family; ``memory_gib`` is that of a node of each type."""
    return Clusters(
        nodes=np.array(nodes),
        data=np.ones(len(nodes)),
        node_size=np.array(sizes),
        memory_gib=None if memory_gib is None else np.full(len(nodes), memory_gib),
        node_type=np.array(names),
        family=np.full(len(nodes), "family"),
    )


def test_small_nodes_are_judged_by_large_ones_of_another_type() -> None:
    def seconds(cores: Array) -> Array:
        return np.asarray(100 * (0.2 + 8 * 0.8 / cores))

    small = types([2.0, 4.0, 8.0], [2.0] * 3, ["small"] * 3, None)
    both = types([2.0, 4.0, 8.0] * 2, [2.0] * 3 + [8.0] * 3, ["small"] * 3 + ["large"] * 3, None)
    asked = types([32.0], [2.0], ["small"], None)
    alone = ScalingBelief(small, seconds(small.size)).run_band(asked)
    pooled = ScalingBelief(both, seconds(both.size)).run_band(asked)
    assert pooled.median_s[0] == pytest.approx(30.0, rel=0.1)
    assert pooled.high_s[0] / pooled.low_s[0] < alone.high_s[0] / alone.low_s[0]


def test_a_type_that_is_slower_stays_slower() -> None:
    nodes, names = [2.0, 4.0, 8.0] * 2, ["slow"] * 3 + ["fast"] * 3
    wall_s = 100 * (0.1 + 0.9 * 2 / np.array(nodes)) * np.array([1.5] * 3 + [1.0] * 3)
    band = ScalingBelief(types(nodes, [1.0] * 6, names, None), wall_s).run_band(
        types([16.0, 16.0], [1.0, 1.0], ["slow", "fast"], None)
    )
    assert band.median_s[0] / band.median_s[1] == pytest.approx(1.5, rel=0.05)


def test_a_job_that_ran_short_of_memory_on_few_nodes_does_not_scale_so_steeply_beyond() -> None:
    # Five times as slow with 16 GiB in all: from 4 nodes on it fits.
    nodes = [2.0, 4.0, 6.0, 8.0]
    wall_s = 100 * (0.1 + 0.9 * 2 / np.array(nodes)) * np.array([5.0, 1.0, 1.0, 1.0])
    band = ScalingBelief(types(nodes, [4.0] * 4, ["node"] * 4, 8.0), wall_s).run_band(
        types([16.0], [4.0], ["node"], 8.0)
    )
    assert band.median_s[0] == pytest.approx(100 * (0.1 + 0.9 / 8), rel=0.2)


def test_however_much_memory_there_is_the_probabilities_stay_below_one() -> None:
    nodes = 2.0 ** np.arange(0, 60, 10)
    belief = ScalingBelief(types(nodes.tolist(), [1.0] * 6, ["node"] * 6, 1.0), 100 / nodes)
    assert np.isfinite(belief.run_band(types([2.0], [1.0], ["node"], 1.0)).median_s).all()


def test_a_run_that_was_disturbed_does_not_carry_the_others_with_it() -> None:
    counts = np.repeat([1.0, 2.0, 4.0, 8.0], 3)
    wall_s = 100 * (0.1 + 0.9 / counts) * np.exp(0.02 * np.random.default_rng(5).standard_normal(12))
    disturbed = wall_s.copy()
    disturbed[-1] *= 4
    calm, other = (run_band(belief_of(counts, seconds), 16.0) for seconds in (wall_s, disturbed))
    assert other.median_s[0] == pytest.approx(calm.median_s[0], rel=0.1)


def test_a_higher_coverage_makes_the_interval_wider() -> None:
    belief = belief_of(COUNTS, np.array([100.0, 60.0, 32.0, 22.0]))
    half, most = (belief.run_band(on(16.0), coverage) for coverage in (0.5, 0.9))
    assert most.low_s[0] < half.low_s[0] < half.median_s[0] == most.median_s[0] < half.high_s[0] < most.high_s[0]
