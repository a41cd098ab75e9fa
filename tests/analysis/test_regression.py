from collections.abc import Callable

import numpy as np
import pytest

from nodewise.analysis.regression import (
    Array,
    Regress,
    explained_variance,
    least_squares,
    predict_left_out,
    relative_least_squares,
)

REGRESSIONS = pytest.mark.parametrize("regress", [least_squares, relative_least_squares])


def with_ones(*columns: list[float] | Array) -> Array:
    return np.stack([np.ones(len(columns[0])), *map(np.asarray, columns)], axis=1)


def test_a_line_is_that_of_the_textbook() -> None:
    # Points (0, 1), (1, 2), (2, 4): slope 3/2, intercept 5/6, deviations 1/6, -1/3, 1/6, so s2 = 1/6 with one spare.
    # Standard errors: sqrt(1/6 / 2) and sqrt(1/6 * (1/3 + 1/2)). R2 = 1 - (1/6) / (14/3).
    x, y = with_ones([0.0, 1.0, 2.0]), np.array([1.0, 2.0, 4.0])
    fitted = least_squares(x, y)
    assert fitted is not None
    assert fitted.coefficients.tolist() == pytest.approx([5 / 6, 3 / 2])
    assert fitted.standard_errors.tolist() == pytest.approx([(5 / 36) ** 0.5, (1 / 12) ** 0.5])
    assert explained_variance(y, x @ fitted.coefficients) == pytest.approx(27 / 28)


def test_a_constant_fitted_relatively_is_the_mean() -> None:
    # Dividing by the measured values to the end would give 1.2. The relative deviations are -1/2 and 1/2, s2 = 1/2.
    fitted = relative_least_squares(np.ones((2, 1)), np.array([1.0, 3.0]))
    assert fitted is not None
    assert fitted.coefficients.tolist() == pytest.approx([2.0])
    assert fitted.standard_errors.tolist() == pytest.approx([1.0])


@REGRESSIONS
def test_exact_data_give_their_coefficients_without_error(regress: Regress) -> None:
    x = with_ones([6.0, 12.0, 36.0, 144.0, 16.0], [3.0, 3.0, 6.0, 18.0, 2.0])
    fitted = regress(x, x @ [0.012, 0.00014, 0.0003])
    assert fitted is not None
    assert fitted.coefficients.tolist() == pytest.approx([0.012, 0.00014, 0.0003])
    assert fitted.standard_errors.max() < 1e-12


def test_small_values_count_as_much_as_large_ones() -> None:
    x = with_ones([1.0, 2.0, 1000.0, 2000.0])
    y = np.array([2.0, 3.0, 900.0, 2200.0])
    plain, relative = least_squares(x, y), relative_least_squares(x, y)
    assert plain is not None
    assert relative is not None
    assert abs((x @ plain.coefficients / y - 1)[0]) > 1
    assert np.abs(x @ relative.coefficients / y - 1).max() < 0.25


def test_what_would_be_negative_is_held_at_zero_and_has_no_standard_error() -> None:
    x = with_ones([1.0, 2.0, 3.0, 4.0])
    fitted = relative_least_squares(x, np.array([4.0, 3.0, 2.0, 1.0]))
    assert fitted is not None
    # Without a slope what is left is a constant: the mean.
    assert fitted.coefficients.tolist() == pytest.approx([2.5, 0.0])
    assert fitted.coefficients[1] == 0.0
    assert np.isnan(fitted.standard_errors).tolist() == [False, True]


def test_no_coefficient_is_ever_negative_and_the_bound_is_only_used_where_it_binds() -> None:
    chance = np.random.default_rng(5)
    held = 0
    for _ in range(100):
        x = with_ones(chance.uniform(1, 9, 12), chance.uniform(1, 9, 12))
        fitted = relative_least_squares(x, chance.uniform(1, 5, 12))
        assert fitted is not None
        assert fitted.coefficients.min() >= 0
        at_bound = fitted.coefficients == 0
        assert (np.isnan(fitted.standard_errors) == at_bound).all()
        held += at_bound.any()
    assert 0 < held < 100


def simulated(regress: Regress, noise: Callable[[Array, np.random.Generator], Array]) -> tuple[Array, Array]:
    """Mean of the coefficients over 600 samples, in units of the true ones, and how often +- 2 errors hold these."""
    true = np.array([0.5, 0.02, 0.1])
    sizes, counts = (axis.ravel() for axis in np.meshgrid([2.0, 4.0, 6.0, 8.0] * 3, [3.0, 6.0, 12.0, 18.0]))
    x = with_ones(sizes * counts, counts)
    chance = np.random.default_rng(11)
    fits = [fitted for _ in range(600) if (fitted := regress(x, noise(x @ true, chance)))]
    coefficients = np.array([fitted.coefficients for fitted in fits])
    errors = np.array([fitted.standard_errors for fitted in fits])
    return coefficients.mean(axis=0) / true, (np.abs(coefficients - true) < 2.0 * errors).mean(axis=0)


def test_standard_errors_of_plain_least_squares_hold_the_truth_as_often_as_they_promise() -> None:
    bias, coverage = simulated(least_squares, lambda y, chance: y + chance.normal(0, 0.05, len(y)))
    assert bias.tolist() == pytest.approx([1, 1, 1], abs=0.02)
    # Two standard errors hold 95 % with 45 to spare; 600 samples tell that to +- 2.7 % (three standard deviations).
    assert ((coverage > 0.92) & (coverage < 0.98)).all()


def test_standard_errors_of_relative_least_squares_hold_the_truth_as_often_as_they_promise() -> None:
    bias, coverage = simulated(relative_least_squares, lambda y, chance: y * chance.lognormal(-0.005, 0.1, len(y)))
    assert bias.tolist() == pytest.approx([1, 1, 1], abs=0.02)
    assert ((coverage > 0.92) & (coverage < 0.98)).all()


@REGRESSIONS
@pytest.mark.parametrize(
    "x",
    [with_ones([1.0, 2.0]), with_ones([5.0, 5.0, 5.0]), with_ones([1.0, 2.0, 3.0, 4.0], [2.0, 4.0, 6.0, 8.0])],
    ids=["as many rows as columns", "one value", "columns that depend on each other"],
)
def test_what_the_data_cannot_carry_is_not_fitted(regress: Regress, x: Array) -> None:
    assert regress(x, np.arange(1.0, len(x) + 1)) is None


def test_columns_of_very_different_size_do_not_depend_on_each_other() -> None:
    x = with_ones([1e9, 2e9, 3e9, 4e9])
    fitted = least_squares(x, x @ [7.0, 1e-9])
    assert fitted is not None
    assert fitted.coefficients.tolist() == pytest.approx([7.0, 1e-9])


def test_each_group_is_predicted_from_the_others() -> None:
    predictions = predict_left_out(
        np.ones((4, 1)), np.array([1.0, 3.0, 10.0, 20.0]), ["a", "a", "b", "b"], least_squares
    )
    assert predictions is not None
    assert predictions.tolist() == pytest.approx([15.0, 15.0, 2.0, 2.0])


def test_nothing_is_predicted_if_one_group_carries_the_model() -> None:
    x = with_ones([1.0, 1.0, 1.0, 2.0])
    assert least_squares(x, np.arange(4.0)) is not None
    assert predict_left_out(x, np.arange(4.0), [0, 1, 2, 3], least_squares) is None


def test_of_a_constant_nothing_is_explained() -> None:
    y = np.full(5, 0.1) * 3
    assert explained_variance(y, y * (1 + 1e-16)) == 0.0


def test_without_noise_to_judge_as_many_rows_as_columns_are_enough() -> None:
    x, y = with_ones([1.0, 0.5]), np.array([100.0, 60.0])
    assert relative_least_squares(x, y) is None
    fitted = relative_least_squares(x, y, judges_noise=False)
    assert fitted is not None
    assert fitted.coefficients.tolist() == pytest.approx([20.0, 80.0])
    assert np.isnan(fitted.standard_errors).all()


def test_a_column_of_nothing_cannot_be_fitted() -> None:
    assert relative_least_squares(with_ones([0.0, 0.0, 0.0]), np.array([1.0, 2.0, 3.0])) is None
