"""What runs take on nodes that go away: by hand, and simulated."""

from __future__ import annotations

import math

import numpy as np
import pytest

from nodewise.advice.interruptions import Interruptions, break_even_per_hour
from nodewise.specs.advice_request import SpotSpec

HOUR_S = 3600.0
FOUR = np.array([4.0])
"""Nodes; at a quarter of an interruption an hour each, the cluster has one."""


def expected_h(hours: float, **spot: float) -> float:
    interruptions = Interruptions(SpotSpec(**{"interruptions_per_hour": 0.25, "restart_s": 0.0} | spot), FOUR)
    return float(np.exp(interruptions.log_expected(np.log([hours * HOUR_S])))[0]) / HOUR_S


def test_an_hour_with_one_interruption_an_hour_is_known_by_hand() -> None:
    assert expected_h(1) == pytest.approx(math.e - 1)
    assert expected_h(1, checkpoint_s=1800.0) == pytest.approx(2 * (math.exp(0.5) - 1))
    assert expected_h(1, restart_s=360.0) == pytest.approx(math.exp(0.1) * (math.e - 1))
    # Two whole segments and a half one.
    assert expected_h(1.25, checkpoint_s=1800.0) == pytest.approx(2 * (math.exp(0.5) - 1) + math.exp(0.25) - 1)


def test_a_run_shorter_than_a_checkpoint_has_none() -> None:
    assert expected_h(0.3, checkpoint_s=1800.0) == pytest.approx(expected_h(0.3))


def test_rare_interruptions_change_next_to_nothing_and_hopeless_ones_do_not_overflow() -> None:
    assert expected_h(1, interruptions_per_hour=1e-9) == pytest.approx(1, rel=1e-6)
    spot = SpotSpec(interruptions_per_hour=1000.0)
    assert np.isfinite(Interruptions(spot, FOUR).log_expected(np.log([100 * HOUR_S]))).all()


@pytest.mark.parametrize(("checkpoint_s", "restart_s"), [(None, 300.0), (600.0, 120.0)])
def test_simulated_runs_take_as_long(checkpoint_s: float | None, restart_s: float) -> None:
    draw = np.random.default_rng(3)
    mean_s, run_s = 3000.0, 2700.0
    totals = []
    for _ in range(4000):
        clock, left, is_up = 0.0, run_s, True
        while left > 0:
            # What comes next is either a restart, or the work up to the next checkpoint.
            work = min(checkpoint_s or run_s, left) if is_up else restart_s
            until = draw.exponential(mean_s)
            clock += min(until, work)
            if until < work:
                is_up = False
            elif is_up:
                left -= work
            else:
                is_up = True
        totals.append(clock)
    rate = SpotSpec(interruptions_per_hour=HOUR_S / mean_s / 4, checkpoint_s=checkpoint_s, restart_s=restart_s)
    expected_s = float(np.exp(Interruptions(rate, FOUR).log_expected(np.log([run_s])))[0])
    assert np.mean(totals) == pytest.approx(expected_s, rel=0.04)


@pytest.mark.parametrize("checkpoint_s", [None, 900.0])
def test_the_longest_run_within_a_limit_takes_just_that_long(checkpoint_s: float | None) -> None:
    spot = SpotSpec(interruptions_per_hour=0.3, checkpoint_s=checkpoint_s)
    interruptions = Interruptions(spot, np.array([1.0, 4.0, 16.0]))
    limits = np.log([5000.0, 5000.0, 9000.0])
    longest = interruptions.log_longest(limits)
    np.testing.assert_allclose(interruptions.log_expected(longest), limits, atol=1e-9)
    assert longest[0] > longest[1]


def test_spot_prices_pay_up_to_a_rate() -> None:
    spot = SpotSpec(interruptions_per_hour=0.01, restart_s=0.0)
    assert break_even_per_hour(spot, 1, HOUR_S, math.e - 1) == pytest.approx(1, rel=1e-6)
    # Four nodes are interrupted four times as often.
    assert break_even_per_hour(spot, 4, HOUR_S, math.e - 1) == pytest.approx(0.25, rel=1e-6)
