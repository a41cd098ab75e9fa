"""Which runs to make next."""

from __future__ import annotations

import numpy as np

from nodewise.analysis.scaling.belief import ScalingBelief
from nodewise.analysis.scaling.clusters import clusters_alike
from nodewise.analysis.scaling.measure_next import LEAST_COUNTS, MOST_RUNS, WIDE, candidate_counts, plan_runs

COUNTS = np.array([1.0, 2.0, 4.0, 8.0])


def belief_of(nodes: np.ndarray) -> ScalingBelief:
    return ScalingBelief(clusters_alike(nodes, np.ones_like(nodes)), 100 * (0.1 + 0.9 / nodes))


def plan(belief: ScalingBelief, measured: list[int], *asked: int) -> list[int]:
    band = belief.expected_band(clusters_alike(np.array(asked, np.float64), np.ones(len(asked))))
    intervals = dict(zip(asked, zip(band.low_s.tolist(), band.high_s.tolist(), strict=True), strict=True))
    return plan_runs(belief, measured, intervals, 1.0)


def test_candidates_are_what_was_measured_what_is_asked_and_doublings_between() -> None:
    assert candidate_counts([2, 3], [20]) == [2, 3, 4, 8, 16, 20]


def test_well_known_times_need_no_run() -> None:
    assert plan(belief_of(np.tile(COUNTS, 5)), [1, 2, 4, 8], 1, 2, 4, 8) == []


def test_far_beyond_the_measured_range_a_run_is_proposed_beyond_it() -> None:
    found = plan(belief_of(COUNTS[:3]), [1, 2, 4], 64)
    assert 0 < len(found) <= MOST_RUNS
    assert max(found) > 4


def test_the_proposed_runs_do_narrow_the_interval_to_what_is_wanted() -> None:
    asked = np.array([64.0])
    planned = plan(belief_of(COUNTS[:3]), [1, 2, 4], 64)
    after = belief_of(np.array([*COUNTS[:3], *planned])).expected_band(clusters_alike(asked, np.ones(1)))
    # Planned from a normal distribution that stands for a skewed one: near is enough.
    assert after.high_s[0] / after.low_s[0] < WIDE * 1.2


def test_with_fewer_than_three_counts_new_ones_are_proposed() -> None:
    found = plan(belief_of(np.array([2.0] * 8)), [2], 2, 4, 8)
    assert len({2, *found}) >= LEAST_COUNTS


def test_where_only_one_number_of_nodes_is_asked_for_it_is_measured_until_it_is_known() -> None:
    assert set(plan(belief_of(np.array([1.0])), [1], 1)) == {1}
    assert plan(belief_of(np.array([1.0] * 8)), [1], 1) == []
