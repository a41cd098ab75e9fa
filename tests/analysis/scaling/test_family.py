"""Every law that others proposed is a member of the family."""

from __future__ import annotations

import numpy as np
import pytest

from nodewise.analysis.regression import Array
from nodewise.analysis.scaling.clusters import Clusters, clusters_alike
from nodewise.analysis.scaling.family import NUM_POINTS, log_shape, prior_shapes

COUNTS = np.array([1.0, 2.0, 4.0, 10.0])


def shape(*parameters: float, clusters: Clusters | None = None, least_size: float = 1.0) -> Array:
    """t / T of the member with this serial, tree, per_node, lost and power."""
    asked = clusters or clusters_alike(COUNTS, np.ones(4))
    return np.exp(log_shape(np.array([parameters]), asked, least_size))[0]


def test_without_its_other_terms_it_is_amdahls_law() -> None:
    assert shape(0.2, 0.0, 0.0, 0.0, 1.0).tolist() == pytest.approx([1.0, 0.6, 0.4, 0.28])


def test_it_is_the_universal_scalability_law() -> None:
    # (1 + a (n - 1) + b n (n - 1)) / n with a = 0.2 and b = 0.01.
    expected = [(1 + 0.2 * (n - 1) + 0.01 * n * (n - 1)) / n for n in COUNTS]
    assert shape(0.2, 0.0, 0.01, 0.0, 1.0).tolist() == pytest.approx(expected)


def test_it_is_ernests_law() -> None:
    expected = 0.1 + 0.9 / COUNTS + 0.05 * np.log(COUNTS) + 0.01 * (COUNTS - 1)
    assert shape(0.1, 0.05, 0.01, 0.0, 1.0).tolist() == pytest.approx(expected.tolist())


def test_more_data_lengthens_what_the_nodes_share() -> None:
    doubled = clusters_alike(COUNTS, np.full(4, 2.0))
    assert shape(0.2, 0.0, 0.0, 0.0, 1.0, clusters=doubled).tolist() == pytest.approx([1.8, 1.0, 0.6, 0.36])


def test_a_lost_node_does_nothing_unless_it_is_the_only_one() -> None:
    assert shape(0.0, 0.0, 0.0, 1.0, 1.0).tolist() == pytest.approx([1.0, 1.0, 1 / 3, 1 / 9])
    assert shape(0.0, 0.0, 0.0, 0.5, 1.0).tolist() == pytest.approx([1.0, 1 / 1.5, 1 / 3.5, 1 / 9.5])


def test_work_that_spreads_unevenly_gains_less() -> None:
    assert shape(0.0, 0.0, 0.0, 0.0, 0.5).tolist() == pytest.approx((1 / np.sqrt(COUNTS)).tolist())


def test_smaller_clusters_than_any_that_was_measured_never_take_less_than_nothing() -> None:
    assert shape(0.0, 0.5, 0.1, 0.0, 1.0, least_size=100.0)[0] == pytest.approx(100.0)


def test_a_point_is_always_the_same_and_none_is_out_of_range() -> None:
    shapes = prior_shapes()
    assert shapes.shape == (NUM_POINTS, 5)
    serial, tree, per_node, lost, power = shapes.T
    assert 0 <= serial.min() < 0.001
    assert serial.max() < 1
    for column, left_out in ((tree, 0.5), (per_node, 0.6), (lost, 0.5)):
        assert np.mean(column == 0) == pytest.approx(left_out, abs=0.01)
    assert np.mean(power == 1) == pytest.approx(0.4, abs=0.01)
    assert (tree.max(), per_node.max(), lost.max(), power.min()) == pytest.approx((0.5, 0.1, 1.0, 0.5), rel=0.02)
