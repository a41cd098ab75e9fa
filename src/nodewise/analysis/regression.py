"""Linear least squares with standard errors, and the prediction of what was left out.

Both regressions take a design matrix ``x`` of shape (n, p), one column for each coefficient, and ``y`` of shape (n,).
They answer None where the data cannot carry the model: columns that depend on each other, or no more rows than columns,
which would leave nothing to judge the noise by (:func:`relative_least_squares` can do without that).
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "Array",
    "Regression",
    "explained_variance",
    "least_squares",
    "predict_left_out",
    "relative_least_squares",
]

Array = NDArray[np.float64]

MOST_ROUNDS = 50
SETTLED = 1e-10
"""Relative change of the predictions below which another round of reweighting would show nothing new."""


@dataclass(frozen=True, slots=True, eq=False)
class Regression:
    """Both of shape (p,); the standard error of a coefficient that is held at its bound of 0 is NaN: it has none."""

    coefficients: Array
    standard_errors: Array


Regress = Callable[[Array, Array], Regression | None]


def least_squares(x: Array, y: Array) -> Regression | None:
    """Ordinary least squares: the coefficients b that minimise sum((y - x b)**2).

    b = (x'x)^-1 x'y; the standard errors are the roots of the diagonal of s2 (x'x)^-1 with
    s2 = sum((y - x b)**2) / (n - p). This is the textbook's estimate (Greene, "Econometric Analysis", chapter 4): it
    takes the deviations for independent and equally large.
    """
    if not _can_be_fitted(x):
        return None
    inverse = _inverse(x)
    coefficients = inverse @ y
    return Regression(coefficients, _standard_errors(inverse, y - x @ coefficients, spare=len(x) - x.shape[1]))


def relative_least_squares(x: Array, y: Array, *, judges_noise: bool = True) -> Regression | None:
    """Least squares of relative deviations with coefficients b >= 0, for quantities that add up, such as times.

    Minimises sum(((y - x b) / m)**2), where m = x b are the predictions of the round before, until they stay the same;
    the first round takes m = y. So a small value counts as much as a large one. (Dividing by y to the end would make
    all predictions too small by about twice the squared relative noise.) This is quasi-likelihood with a variance in
    proportion to the squared mean (McCullagh and Nelder, "Generalized Linear Models", chapter 9).

    A coefficient that would come out negative is held at 0. The standard errors are those of :func:`least_squares` for
    the weighted rows and the other coefficients, with n - p all the same.

    Args:
        x: No value below 0; None is answered where a column has none above either.
        y: All above 0.
        judges_noise: Whether there must be more rows than columns; else as many will do, and without more all standard
            errors are NaN.
    """
    if not _can_be_fitted(x, spare=1 if judges_noise else 0):
        return None
    predicted = y
    for _ in range(MOST_ROUNDS):
        if predicted.min() <= 0:
            # Of a row that is predicted to be nothing, no deviation is a share.
            return None
        rows, targets = x / predicted[:, None], y / predicted
        free, coefficients = _non_negative(rows, targets)
        before, predicted = predicted, x @ coefficients
        if np.allclose(predicted, before, rtol=SETTLED, atol=0):
            break
    standard_errors = np.full(len(coefficients), np.nan)
    spare = len(x) - x.shape[1]
    if spare > 0:
        standard_errors[free] = _standard_errors(_inverse(rows[:, free]), targets - rows @ coefficients, spare=spare)
    return Regression(coefficients, standard_errors)


def predict_left_out(x: Array, y: Array, groups: Sequence[Hashable], regress: Regress) -> Array | None:
    """Predict the rows of each group from a fit to the rows of all others: leave-one-group-out cross-validation.

    Returns:
        Predictions of ``y``, shape (n,); None if without some group the model cannot be fitted.
    """
    predictions = np.empty_like(y)
    for group in dict.fromkeys(groups):
        left_out = np.array([one == group for one in groups])
        fitted = regress(x[~left_out], y[~left_out])
        if fitted is None:
            return None
        predictions[left_out] = x[left_out] @ fitted.coefficients
    return predictions


def explained_variance(y: Array, predicted: Array) -> float:
    """R2 = 1 - sum((y - predicted)**2) / sum((y - mean(y))**2); 0 where ``y`` is constant: there is none to explain."""
    total = float(np.sum((y - y.mean()) ** 2))
    # What is left of equal numbers is their rounding, and a share of that has no meaning.
    if total <= len(y) * (1e-12 * float(np.abs(y).max())) ** 2:
        return 0.0
    return 1 - float(np.sum((y - predicted) ** 2)) / total


def _can_be_fitted(x: Array, *, spare: int = 1) -> bool:
    num_rows, num_columns = x.shape
    lengths = np.linalg.norm(x, axis=0)
    if num_rows < num_columns + spare or not lengths.all():
        return False
    # Scaled, or a column of large numbers would make that of ones look like rounding.
    return bool(np.linalg.matrix_rank(x / lengths) == num_columns)


def _inverse(x: Array) -> Array:
    return np.asarray(np.linalg.pinv(x), np.float64)


def _standard_errors(inverse: Array, deviations: Array, *, spare: int) -> Array:
    """From the pseudo-inverse of x, whose product with its transpose is (x'x)^-1, and n - p = ``spare``."""
    variance = np.sum(deviations**2) / spare
    return np.asarray(np.sqrt(variance * np.sum(inverse**2, axis=1)))


def _non_negative(x: Array, y: Array) -> tuple[list[int], Array]:
    """The least squares with no coefficient below 0, and which coefficients are not held there.

    The best is the plain solution for some subset of the columns (Lawson and Hanson, "Solving Least Squares Problems",
    chapter 23). With so few columns all subsets can be tried.
    """
    num_columns = x.shape[1]
    candidates = []
    for size in range(1, num_columns + 1):
        for free in map(list, combinations(range(num_columns), size)):
            coefficients = np.zeros(num_columns)
            coefficients[free] = _inverse(x[:, free]) @ y
            if coefficients.min() >= 0:
                candidates.append((free, coefficients))
    # Never empty: one column alone has a coefficient above 0, as x and y are.
    return min(candidates, key=lambda candidate: float(np.sum((y - x @ candidate[1]) ** 2)))
