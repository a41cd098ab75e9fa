"""The models of a speed test: rates as straight lines over the parameters, and time as the sum of what takes it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from nodewise.analysis.regression import (
    Array,
    Regress,
    Regression,
    explained_variance,
    least_squares,
    predict_left_out,
    relative_least_squares,
)
from nodewise.analysis.speedtest_summary import by_reader, rated
from nodewise.specs.results import SpeedtestCell, SpeedtestFit

__all__ = ["LINES", "TIME_FORMULA", "Residual", "fit", "predict_rate", "residuals"]

LINES = {
    "batch_size": "records_per_s = a + b * batch_size",
    "batch_count": "records_per_s = a + b * batch_count",
    "records": "records_per_s = a + b * (batch_size * batch_count)",
}
"""The straight lines of the rate, by the parameter that they run over."""
PLANE_FORMULA = "records_per_s = a + b * batch_size + c * batch_count + d * (batch_size * batch_count)"
TIME_FORMULA = "seconds = start + per_record * records + per_batch * batches"
EQUAL_DIGITS = 9
"""Errors that agree to so many decimals are rounding of the same number."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Model:
    """``design`` makes the columns of the design matrix of batch sizes and batch counts, one for each coefficient."""

    formula: str
    names: tuple[str, ...]
    design: Callable[[Array, Array], tuple[Array, ...]]
    regress: Regress = least_squares

    @property
    def of_time(self) -> bool:
        return self.formula == TIME_FORMULA

    def matrix(self, batch_sizes: Iterable[int], batch_counts: Iterable[int]) -> Array:
        """The design matrix, shape (n, p)."""
        sizes, counts = np.array([*batch_sizes], float), np.array([*batch_counts], float)
        return np.stack(np.broadcast_arrays(np.ones(len(sizes)), *self.design(sizes, counts)), axis=1)


MODELS = {
    model.formula: model
    for model in (
        _Model(formula=LINES["batch_size"], names=("a", "b"), design=lambda size, _: (size,)),
        _Model(formula=LINES["batch_count"], names=("a", "b"), design=lambda _, count: (count,)),
        _Model(formula=LINES["records"], names=("a", "b"), design=lambda size, count: (size * count,)),
        _Model(
            formula=PLANE_FORMULA,
            names=("a", "b", "c", "d"),
            design=lambda size, count: (size, count, size * count),
        ),
        _Model(
            formula=TIME_FORMULA,
            names=("start", "per_record", "per_batch"),
            design=lambda size, count: (size * count, count),
            regress=relative_least_squares,
        ),
    )
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Residual:
    """What a fit says of a cell.

    Attributes:
        measured, predicted: The left side of the formula: images per second, or seconds.
        rate_error: The predicted rate over the measured one, less 1.
    """

    cell: SpeedtestCell
    measured: float
    predicted: float
    rate_error: float


def fit(cells: Sequence[SpeedtestCell]) -> tuple[SpeedtestFit, ...]:
    """Fit every model to the cells of each source and reader, and mark the best.

    Rates are fitted by ordinary least squares, time by least squares of the relative deviation with no coefficient
    below 0 (see :mod:`nodewise.analysis.regression` for both). In the formula of time ``start`` is what an iteration
    costs once, ``per_record`` and ``per_batch`` what each image and each batch costs, in seconds; a coefficient that is
    held at 0 has no standard error, so ``standard_errors`` does not name it.

    ``cv_error``: each setting (batch size and batch count, all its repetitions) is left out once and its rate predicted
    from the others; the root mean square of (predicted - measured) / measured. For the formula of time the predicted
    rate is images / predicted seconds. So all models are judged by the same measure: ``best`` is the smallest one, of
    equals that with the fewest coefficients. ``r2`` is of the left side of the formula, so it compares rates with
    rates only.

    Short cells are left out. A model is left out where the settings do not determine it (one batch size alone says
    nothing of the cost of a batch), where there are no more cells than coefficients, or where this is so once a setting
    is left out. All numbers are finite.
    """
    fits: list[SpeedtestFit] = []
    for (source, reader), group in by_reader(rated(cells)).items():
        tried = [_fit(model, source, reader, group) for model in MODELS.values()]
        fits += _mark_best([one for one in tried if one is not None])
    return tuple(fits)


def residuals(cells: Sequence[SpeedtestCell], fit: SpeedtestFit) -> list[Residual]:
    """What the fit says of each cell of its source and reader that has a rate."""
    group = by_reader(rated(cells)).get((fit.source, fit.reader), [])
    model = MODELS[fit.formula]
    predicted = _matrix(model, group) @ [fit.coefficients[name] for name in model.names]
    measured = _left_side(model, group)
    return [
        Residual(cell=cell, measured=float(one), predicted=float(other), rate_error=float(error))
        for cell, one, other, error in zip(
            group, measured, predicted, _rate_errors(model, measured, predicted), strict=True
        )
    ]


def predict_rate(fit: SpeedtestFit, *, batch_size: int, batch_count: int) -> float:
    """Images per second that the fit expects of a setting."""
    model = MODELS[fit.formula]
    (row,) = model.matrix([batch_size], [batch_count])
    predicted = float(row @ [fit.coefficients[name] for name in model.names])
    return batch_size * batch_count / predicted if model.of_time else predicted


def _fit(model: _Model, source: str, reader: str, cells: list[SpeedtestCell]) -> SpeedtestFit | None:
    x, y = _matrix(model, cells), _left_side(model, cells)
    fitted = model.regress(x, y)
    left_out = predict_left_out(x, y, [(cell.batch_size, cell.batch_count) for cell in cells], model.regress)
    if fitted is None or left_out is None:
        return None
    return SpeedtestFit(
        source=source,
        reader=reader,
        formula=model.formula,
        coefficients=dict(zip(model.names, fitted.coefficients.tolist(), strict=True)),
        standard_errors=_known_errors(model, fitted),
        r2=explained_variance(y, x @ fitted.coefficients),
        cv_error=float(np.sqrt(np.mean(_rate_errors(model, y, left_out) ** 2))),
        n=len(cells),
    )


def _mark_best(fits: list[SpeedtestFit]) -> list[SpeedtestFit]:
    best = min(fits, key=lambda one: (round(one.cv_error, EQUAL_DIGITS), len(one.coefficients)), default=None)
    return [replace(one, best=one is best) for one in fits]


def _matrix(model: _Model, cells: Iterable[SpeedtestCell]) -> Array:
    settings = [(cell.batch_size, cell.batch_count) for cell in cells]
    return model.matrix([size for size, _ in settings], [count for _, count in settings])


def _left_side(model: _Model, cells: Iterable[SpeedtestCell]) -> Array:
    return np.array([cell.seconds if model.of_time else cell.records_per_s for cell in cells], float)


def _rate_errors(model: _Model, measured: Array, predicted: Array) -> Array:
    # A rate is in inverse proportion to its time.
    return measured / predicted - 1 if model.of_time else predicted / measured - 1


def _known_errors(model: _Model, fitted: Regression) -> dict[str, float]:
    errors = zip(model.names, fitted.standard_errors.tolist(), strict=True)
    return {name: error for name, error in errors if not np.isnan(error)}
