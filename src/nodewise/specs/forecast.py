"""How a job will scale: what ``nodewise forecast`` finds in runs of one job on several numbers of nodes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from nodewise.core.shown import Shown

__all__ = ["Basis", "ForecastPoint", "LawFit", "LawPart", "NextRun", "PhysicsLine", "ScalingForecast"]

Basis = Literal["measured", "predicted", "extrapolated"]
"""``predicted``: not measured, but within the range of what was; ``extrapolated``: beyond it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ForecastPoint:
    """What a run on so many nodes takes. Times are billed seconds, start-up included.

    Attributes:
        data: Amount of data, 1 being the least that was measured.
        seconds: Median of the measured runs; where there is none, the time that a run exceeds as often as not.
        low_s, high_s: A further run lies between them with a probability of 90 %.
        expected_low_s, expected_high_s: The median of many further runs does.
        law_s: What the chosen law says; None without a law.
        speedup: Of the forecast's first point with the same data over this one.
        efficiency: Speedup per node, relative to that point: 1 is ideal.
        cost_usd, cost_low_usd, cost_high_usd: Of ``seconds``, ``low_s`` and ``high_s``; None where no price is known.
        measured_s: The measured runs.
    """

    nodes: int
    data: float
    basis: Basis
    seconds: float
    low_s: float
    high_s: float
    expected_low_s: float
    expected_high_s: float
    law_s: float | None
    speedup: float
    efficiency: float
    cost_usd: float | None
    cost_low_usd: float | None
    cost_high_usd: float | None
    measured_s: tuple[float, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class LawFit:
    """A scaling law fitted to the measured runs without their start-up.

    Attributes:
        name: ``amdahl``, ``gustafson``, ``usl`` or ``ernest``.
        formula: Of ``t``, in seconds; ``n`` nodes, ``s`` the amount of data.
        coefficients: By the names in the formula, in seconds, none below 0.
        standard_errors: None for a coefficient that is held at 0, and where there are no more runs than coefficients.
        error: Mean share by which node counts left out of the fit were missed; None where too few are left to fit.
        error_se: Standard error of that mean.
    """

    name: str
    title: str
    formula: str
    source: str
    coefficients: dict[str, float]
    standard_errors: dict[str, float | None]
    error: float | None
    error_se: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class LawPart:
    """A part of the time that the law predicts for one run: ``what`` in words."""

    what: str
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class PhysicsLine:
    """A part of a measured run, from what its records say. Parts may overlap: tasks read while others compute.

    Attributes:
        what: In words.
        source: How the seconds come from which records.
    """

    what: str
    seconds: float
    source: str


@dataclass(frozen=True, slots=True, kw_only=True)
class NextRun:
    """A run that would narrow the intervals; ``seconds`` and ``cost_usd`` are predicted."""

    nodes: int
    data: float
    seconds: float
    cost_usd: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ScalingForecast(Shown):
    """Runs of one job on several numbers of nodes, the law behind them, and what it says of other numbers.

    Attributes:
        job: What was run, in words.
        sentence: Which number of nodes, gain, price, interval, and where knowledge ends.
        limit: What keeps more nodes from helping, a sentence; empty without a law.
        points: By the number of nodes; those with measured runs too.
        laws: The laws that could be fitted, the chosen one first.
        parts: Of the time that the chosen law gives the last point, the largest first.
        physics: Of the run named ``physics_run_id``, the one with the median time on the most nodes.
        next_runs: What to measure to know more; empty where enough is known. ``next_reason`` says why.
        noise: Share by which equal runs differ, one standard deviation, as far as can be told.
        price_usd_per_hour: Of one node; None where no price is known. ``price_note`` says where it is from.
        data_is_assumed: That only the parallel part grows with the data was assumed: all runs had the same data.
        notes: What to know when reading these numbers.
        run_ids: The measured runs.
        report_path: The page that shows it; None: none was written.
    """

    page: ClassVar[str] = "nodewise.report.forecast_page:forecast_page"

    job: str
    engine: str
    node_type: str | None
    emulated: bool
    sentence: str
    limit: str
    points: tuple[ForecastPoint, ...]
    laws: tuple[LawFit, ...]
    parts: tuple[LawPart, ...]
    physics: tuple[PhysicsLine, ...]
    physics_run_id: str | None
    next_runs: tuple[NextRun, ...]
    next_reason: str
    noise: float
    price_usd_per_hour: float | None
    price_note: str
    data_is_assumed: bool
    notes: tuple[str, ...]
    run_ids: tuple[str, ...]
    report_path: str | None = None

    @property
    def law(self) -> LawFit | None:
        """The chosen one."""
        return self.laws[0] if self.laws else None
