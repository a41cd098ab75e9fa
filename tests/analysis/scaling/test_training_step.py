"""Training steps whose parts are known."""

from __future__ import annotations

import numpy as np
import pytest

from nodewise.analysis.regression import Array
from nodewise.analysis.scaling.belief import Band
from nodewise.analysis.scaling.training_step import predict_steps

NODES = np.array([1.0, 1, 1, 2, 2, 4])
GPUS = np.array([1.0, 2, 4, 2, 4, 4])
ASKED_NODES, ASKED_GPUS = np.array([2.0, 4, 8]), np.array([8.0, 16, 8])


def seconds(nodes: Array, gpus: Array, *, within: float, between: float) -> Array:
    """1 s of computing, and a ring."""
    return np.asarray(1 + np.where(nodes > 1, between, within) * (gpus - 1) / gpus)


def predict(step_s: Array, coverage: float = 0.9) -> Band:
    return predict_steps(NODES, GPUS, step_s, ASKED_NODES, ASKED_GPUS, coverage)


def test_a_ring_within_nodes_and_a_slower_one_between_them_are_told_apart() -> None:
    found = predict(seconds(NODES, GPUS, within=0.0, between=0.8))
    assert found.median_s.tolist() == pytest.approx([1.7, 1.75, 1.7], rel=0.01)


def test_without_exchange_a_step_takes_what_it_takes_on_one_gpu() -> None:
    assert predict(np.full(6, 0.3)).median_s.tolist() == pytest.approx([0.3] * 3)


def test_what_one_node_alone_tells_reaches_to_more_gpus_of_a_node() -> None:
    one = NODES == 1
    step_s = 0.5 + 0.05 * np.log2(GPUS)
    found = predict_steps(NODES[one], GPUS[one], step_s[one], np.ones(1), np.array([8.0]))
    # Stragglers alone say 0.65 s, a ring alone 0.62 s.
    assert 0.6 < found.median_s[0] < 0.65
    assert found.low_s[0] < 0.6
    assert found.high_s[0] > 0.65


def test_one_step_is_enough_to_answer_and_the_interval_is_wide() -> None:
    found = predict_steps(np.ones(1), np.ones(1), np.array([2.0]), np.ones(1), np.array([8.0]))
    assert found.median_s[0] == pytest.approx(2.0)
    assert found.high_s[0] / found.low_s[0] > 1.3


def test_noise_and_a_higher_coverage_make_the_interval_wider() -> None:
    exact = seconds(NODES, GPUS, within=0.1, between=0.8)
    noisy = exact * np.exp([0.2, -0.2, 0.2, -0.2, 0.2, -0.2])
    widths = [float(band.high_s[0] / band.low_s[0]) for band in (predict(exact, 0.5), predict(exact), predict(noisy))]
    assert widths == sorted(widths)
    assert widths[0] < widths[1] < widths[2]


@pytest.mark.parametrize(("measured", "asked"), [(1.0, 2.0), (2.0, 1.0)])
def test_links_of_a_kind_that_was_not_measured_are_taken_to_be_like_the_others(measured: float, asked: float) -> None:
    # A step of one GPU was not measured, and all of a step may be exchange.
    gpus = np.array([2.0, 4.0])
    known = np.full(2, measured), gpus, np.array([0.5, 0.75])
    other = predict_steps(*known, np.array([asked]), np.array([8.0]))
    alike = predict_steps(*known, np.array([measured]), np.array([8.0]))
    assert other.median_s[0] == pytest.approx(alike.median_s[0])
    assert 0.8 < other.median_s[0] < 1.2


def test_units_do_not_matter() -> None:
    step_s = seconds(NODES, GPUS, within=0.1, between=0.8)
    one, other = predict(step_s), predict(step_s * 1000)
    assert other.median_s.tolist() == pytest.approx((one.median_s * 1000).tolist())
    assert other.low_s.tolist() == pytest.approx((one.low_s * 1000).tolist())
