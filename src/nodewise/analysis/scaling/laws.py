"""Scaling laws: the time of a job as a sum of parts, each a known function of nodes and data.

All are linear in coefficients that cannot be negative, in seconds. ``n`` is the number of nodes, ``s`` the amount of
data relative to the least that was measured.

=========  ===========================================================  ===============================================
amdahl     t = serial + parallel / n                                    Amdahl, "Validity of the single processor
                                                                        approach ...", AFIPS 1967
gustafson  t = serial + parallel s / n                                  Gustafson, "Reevaluating Amdahl's law", CACM
                                                                        31(5), 1988
usl        t = T1 / n (1 + contention (n - 1) + coherency n (n - 1))    Gunther, "A simple capacity model ...", 1993;
                                                                        "Guerrilla Capacity Planning", 2007
ernest     t = serial + parallel s / n + tree log n + per_node n        Venkataraman et al., "Ernest", NSDI 2016
=========  ===========================================================  ===============================================

Gustafson's law is Amdahl's with data that may grow, so it is tried only where runs had different amounts of data; there
Amdahl's law and the Universal Scalability Law, which know nothing of data, are not. The latter is fitted as
``one_node / n + contention (n - 1) / n + coherency (n - 1)``, with Gunther's coefficients times T1.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

from nodewise.analysis.regression import Array, predict_left_out, relative_least_squares
from nodewise.analysis.scaling.words import SHARED
from nodewise.specs.forecast import LawFit, LawPart

__all__ = ["fit_laws", "law_parts", "law_seconds"]

LEAST_ERROR = 1e-9
"""Shares of error below this are rounding: laws that fit exactly are all equally right."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Law:
    """``terms`` are the names of the coefficients with what their part is, in words."""

    title: str
    formula: str
    source: str
    terms: dict[str, str]
    columns: Callable[[Array, Array], Sequence[Array]]
    knows_data: bool

    def design(self, nodes: Array, data: Array) -> Array:
        return np.stack([np.broadcast_to(column, nodes.shape) for column in self.columns(nodes, data)], axis=1)


SERIAL = "serial work"

_LAWS = {
    "amdahl": _Law(
        title="Amdahl's law",
        formula="t = serial + parallel / n",
        source="Amdahl 1967",
        terms={"serial": SERIAL, "parallel": SHARED},
        columns=lambda n, _s: (np.ones(1), 1 / n),
        knows_data=False,
    ),
    "gustafson": _Law(
        title="Gustafson's law",
        formula="t = serial + parallel s / n",
        source="Gustafson 1988",
        terms={"serial": SERIAL, "parallel": SHARED},
        columns=lambda n, s: (np.ones(1), s / n),
        knows_data=True,
    ),
    "usl": _Law(
        title="the Universal Scalability Law",
        formula="t = one_node / n + contention (n - 1) / n + coherency (n - 1)",
        source="Gunther 1993, 2007",
        terms={
            "one_node": SHARED,
            "contention": "waiting for what the nodes must take turns at",
            "coherency": "exchange between all nodes, which grows with every node",
        },
        columns=lambda n, _s: (1 / n, (n - 1) / n, n - 1),
        knows_data=False,
    ),
    "ernest": _Law(
        title="Ernest's law",
        formula="t = serial + parallel s / n + tree log n + per_node n",
        source="Venkataraman et al. 2016",
        terms={
            "serial": SERIAL,
            "parallel": SHARED,
            "tree": "combining results level by level, which grows with the logarithm of the nodes",
            "per_node": "work for each node at one place, which grows with every node",
        },
        columns=lambda n, s: (np.ones(1), s / n, np.log(n), n),
        knows_data=True,
    ),
}


def fit_laws(nodes: Array, data: Array, wall_s: Array) -> tuple[LawFit, ...]:
    """Fit every law that the runs can carry, the chosen one first.

    Relative deviations are made small, so that runs on many nodes count as much as those on few. Laws are judged by
    the mean share by which they miss the node counts that are left out of the fit, one after another. Among those
    whose error is within one standard error of the least (the rule of Breiman et al., "Classification and Regression
    Trees", 1984, 3.4.3) the one with the fewest coefficients is chosen. Where too few counts are left to judge any, it
    is the one with the fewest coefficients of all.

    Args:
        nodes: Of each run, shape (n,), at least 1. Repeats are rows of their own.
        data: Relative to the least, shape (n,).
        wall_s: Above 0, start-up excluded, shape (n,).

    Returns:
        No law where all runs are on one number of nodes.
    """
    knows_data = bool(np.ptp(data) > 0)
    names = [name for name, law in _LAWS.items() if law.knows_data == knows_data or name == "ernest"]
    fits = [fit for name in names if (fit := _fit(name, nodes, data, wall_s)) is not None]
    chosen = _choose(fits)
    others = [fit for fit in fits if fit is not chosen]
    return (*([] if chosen is None else [chosen]), *others)


def law_seconds(fit: LawFit, nodes: Array, data: Array) -> Array:
    """The times that a fitted law gives, shape (n,)."""
    law = _LAWS[fit.name]
    return np.asarray(law.design(nodes, data) @ np.array([fit.coefficients[name] for name in law.terms]))


def law_parts(fit: LawFit, nodes: int, data: float) -> tuple[LawPart, ...]:
    """What a law's time for one run is made of, the largest part first; parts of nothing are left out."""
    law = _LAWS[fit.name]
    row = law.design(np.array([float(nodes)]), np.array([data]))[0]
    parts = [
        LawPart(what=what, seconds=float(value * fit.coefficients[name]))
        for (name, what), value in zip(law.terms.items(), row, strict=True)
    ]
    return tuple(sorted((part for part in parts if part.seconds > 0), key=lambda part: -part.seconds))


def _fit(name: str, nodes: Array, data: Array, wall_s: Array) -> LawFit | None:
    law = _LAWS[name]
    # Leaving out a count may leave as many runs as coefficients; their fit predicts all the same.
    regress = partial(relative_least_squares, judges_noise=False)
    design = law.design(nodes, data)
    fitted = regress(design, wall_s)
    if fitted is None:
        return None
    error = error_se = None
    left_out = predict_left_out(design, wall_s, nodes.tolist(), regress)
    if left_out is not None:
        error, error_se = _mean_error(nodes, np.abs(left_out / wall_s - 1))
    return LawFit(
        name=name,
        title=law.title,
        formula=law.formula,
        source=law.source,
        coefficients=dict(zip(law.terms, fitted.coefficients.tolist(), strict=True)),
        standard_errors={
            term: None if np.isnan(value) else float(value)
            for term, value in zip(law.terms, fitted.standard_errors, strict=True)
        },
        error=error,
        error_se=error_se,
    )


def _mean_error(nodes: Array, errors: Array) -> tuple[float, float]:
    """Over the node counts, each as much as the others however often it was repeated."""
    by_count = np.array([errors[nodes == count].mean() for count in np.unique(nodes)])
    spread = by_count.std(ddof=1) if len(by_count) > 1 else 0.0
    return float(by_count.mean()), float(spread / np.sqrt(len(by_count)))


def _choose(fits: Sequence[LawFit]) -> LawFit | None:
    if not fits:
        return None
    judged = [(fit.error, fit.error_se or 0.0, fit) for fit in fits if fit.error is not None]
    if not judged:
        return min(fits, key=lambda fit: len(fit.coefficients))
    least, se, _ = min(judged, key=lambda one: one[0])
    near = [fit for error, _, fit in judged if error <= least + se + LEAST_ERROR]
    return min(near, key=lambda fit: (len(fit.coefficients), fit.error))
