"""The normal distribution, and mixtures of it."""

from __future__ import annotations

import numpy as np
import pytest

from nodewise.core.normal import mixture_quantile, normal_cdf, normal_pdf


def test_the_density_and_the_probability_are_those_of_tables() -> None:
    assert normal_pdf(np.array([0.0, 1.0])).tolist() == pytest.approx([0.39894, 0.24197], abs=1e-5)
    assert normal_cdf(np.array([-1.0, 0.0, 1.96])).tolist() == pytest.approx([0.15866, 0.5, 0.975], abs=1e-5)


def test_of_one_normal_distribution_the_quantile_is_its_own() -> None:
    found = mixture_quantile(np.array([[1.0, 10.0]]), np.array([[2.0, 0.1]]), 0.975)
    assert found.tolist() == pytest.approx([1 + 1.95996 * 2, 10 + 1.95996 * 0.1], abs=1e-4)


def test_two_that_lie_far_apart_share_the_probability_by_their_weights() -> None:
    means, deviations = np.array([[0.0], [100.0]]), np.ones((2, 1))
    # A quarter of the probability is half of the first, when both weigh the same.
    assert mixture_quantile(means, deviations, 0.25)[0] == pytest.approx(0.0, abs=1e-6)
    # With weights of 0.8 and 0.2, 0.9 is half of the second.
    assert mixture_quantile(means, deviations, 0.9, np.array([0.8, 0.2]))[0] == pytest.approx(100.0, abs=1e-6)
