"""Runs of one job on several numbers of nodes in, a forecast out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from statistics import median

import numpy as np

from nodewise.analysis.regression import Array
from nodewise.analysis.scaling import words
from nodewise.analysis.scaling.belief import ScalingBelief
from nodewise.analysis.scaling.clusters import clusters_alike
from nodewise.analysis.scaling.laws import fit_laws, law_parts, law_seconds
from nodewise.analysis.scaling.measure_next import plan_runs
from nodewise.specs.forecast import (
    Basis,
    ForecastPoint,
    LawFit,
    LawPart,
    NextRun,
    PhysicsLine,
    ScalingForecast,
)

__all__ = ["ForecastSubject", "MeasuredRun", "Question", "forecast_scaling"]

SAME_DATA = 1.05
"""Amounts of data whose ratio is no larger are the same."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MeasuredRun:
    """One finished run.

    Attributes:
        billed_s: Start-up included, above it.
        data: Records, or bytes; None where neither is known.
    """

    run_id: str
    nodes: int
    billed_s: float
    start_up_s: float = 0.0
    data: float | None = None

    @property
    def work_s(self) -> float:
        return self.billed_s - self.start_up_s


@dataclass(frozen=True, slots=True, kw_only=True)
class ForecastSubject:
    """What the runs have in common; as in :class:`~nodewise.specs.forecast.ScalingForecast`."""

    job: str
    engine: str
    node_type: str | None = None
    emulated: bool = False
    price_usd_per_hour: float | None = None
    price_note: str = ""
    physics: tuple[PhysicsLine, ...] = ()
    physics_run_id: str | None = None
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """What is asked.

    Attributes:
        nodes: Numbers of nodes; empty: twice and four times the most that was measured.
        data: Times the largest amount that was measured, above 0.
    """

    nodes: tuple[int, ...] = ()
    data: float = 1.0


def forecast_scaling(runs: Sequence[MeasuredRun], subject: ForecastSubject, question: Question) -> ScalingForecast:
    """Fit the laws, believe in all of them as far as the runs allow, and say what a run on other nodes takes.

    Laws and belief are about the time without start-up, which is added as it was measured: the median of the runs on
    that many nodes, else of all. To the ends of an interval the least and the most of it are added.

    Args:
        runs: At least one.
    """
    ordered = tuple(sorted(runs, key=lambda run: (run.nodes, run.billed_s, run.run_id)))
    amounts, has_one_amount = _amounts(ordered)
    nodes, work_s = np.array([float(run.nodes) for run in ordered]), np.array([run.work_s for run in ordered])
    measured = sorted({run.nodes for run in ordered})
    asked = sorted(set(question.nodes)) or [*measured, 2 * measured[-1], 4 * measured[-1]]
    laws = fit_laws(nodes, amounts, work_s)
    known = _Known(
        runs=ordered,
        amounts=amounts,
        target=float(amounts.max()) * question.data,
        law=laws[0] if laws else None,
        belief=ScalingBelief(clusters_alike(nodes, amounts), work_s),
        price_usd_per_hour=subject.price_usd_per_hour,
    )
    points = known.points(sorted({*measured, *asked}))
    intervals = {point.nodes: (point.expected_low_s, point.expected_high_s) for point in points}
    next_runs = tuple(
        NextRun(nodes=point.nodes, data=point.data, seconds=point.seconds, cost_usd=point.cost_usd)
        for point in known.points(plan_runs(known.belief, measured, intervals, known.target))
    )
    data_is_assumed = has_one_amount and question.data != 1
    parts = known.parts(points[-1])
    return ScalingForecast(
        job=subject.job,
        engine=subject.engine,
        node_type=subject.node_type,
        emulated=subject.emulated,
        sentence=words.sentence(points, measured, next_runs, is_other_data=question.data != 1),
        limit=words.limit(points, parts),
        points=tuple(points),
        laws=laws,
        parts=parts,
        physics=subject.physics,
        physics_run_id=subject.physics_run_id,
        next_runs=next_runs,
        next_reason=words.next_reason(points, measured) if next_runs else "",
        noise=known.belief.noise,
        price_usd_per_hour=subject.price_usd_per_hour,
        price_note=subject.price_note,
        data_is_assumed=data_is_assumed,
        notes=(*words.notes(points, known.law, known.start_up_s(), data_is_assumed), *subject.notes),
        run_ids=tuple(run.run_id for run in ordered),
    )


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Known:
    """What a forecast is made from: ``target`` is the amount of data asked for, relative to the least."""

    runs: tuple[MeasuredRun, ...]
    amounts: Array
    target: float
    law: LawFit | None
    belief: ScalingBelief
    price_usd_per_hour: float | None

    def points(self, counts: Sequence[int]) -> list[ForecastPoint]:
        nodes, data = np.array(counts, np.float64), np.full(len(counts), self.target)
        asked = clusters_alike(nodes, data)
        run_band, expected = self.belief.run_band(asked), self.belief.expected_band(asked)
        law_s = None if self.law is None else law_seconds(self.law, nodes, data)
        points: list[ForecastPoint] = []
        for index, count in enumerate(counts):
            least_s, start_up_s, most_s = self._start_ups(count)
            measured_s = self._measured_s(count)
            seconds = median(measured_s) if measured_s else start_up_s + float(run_band.median_s[index])
            low_s, high_s = least_s + float(run_band.low_s[index]), most_s + float(run_band.high_s[index])
            speedup = points[0].seconds / seconds if points else 1.0
            points.append(
                ForecastPoint(
                    nodes=count,
                    data=self.target,
                    basis="measured" if measured_s else self._basis(count),
                    seconds=seconds,
                    low_s=low_s,
                    high_s=high_s,
                    expected_low_s=least_s + float(expected.low_s[index]),
                    expected_high_s=most_s + float(expected.high_s[index]),
                    law_s=None if law_s is None else start_up_s + float(law_s[index]),
                    speedup=speedup,
                    efficiency=speedup * counts[0] / count,
                    cost_usd=self._cost_usd(count, seconds),
                    cost_low_usd=self._cost_usd(count, low_s),
                    cost_high_usd=self._cost_usd(count, high_s),
                    measured_s=measured_s,
                )
            )
        return points

    def parts(self, point: ForecastPoint) -> tuple[LawPart, ...]:
        """Of the law's time for a point, with the start-up."""
        if self.law is None:
            return ()
        start_up = LawPart(what=words.START_UP, seconds=self._start_ups(point.nodes)[1])
        parts = [*law_parts(self.law, point.nodes, point.data), *([start_up] if start_up.seconds > 0 else [])]
        return tuple(sorted(parts, key=lambda part: -part.seconds))

    def start_up_s(self) -> float:
        """Median over all runs."""
        return median(run.start_up_s for run in self.runs)

    def _start_ups(self, nodes: int) -> tuple[float, float, float]:
        """The least, the median and the most of the runs on so many nodes; where there are none, of all."""
        seconds = [run.start_up_s for run in self.runs if run.nodes == nodes] or [run.start_up_s for run in self.runs]
        return min(seconds), median(seconds), max(seconds)

    def _measured_s(self, nodes: int) -> tuple[float, ...]:
        pairs = zip(self.runs, self.amounts, strict=True)
        return tuple(run.billed_s for run, data in pairs if run.nodes == nodes and data == self.target)

    def _basis(self, nodes: int) -> Basis:
        is_within = self.runs[0].nodes <= nodes <= self.runs[-1].nodes
        return "predicted" if is_within and 1 <= self.target <= self.amounts.max() else "extrapolated"

    def _cost_usd(self, nodes: int, seconds: float) -> float | None:
        return None if self.price_usd_per_hour is None else self.price_usd_per_hour * nodes * seconds / 3600


def _amounts(runs: Sequence[MeasuredRun]) -> tuple[Array, bool]:
    """The data of each run relative to the least; and whether all had the same, as far as is known."""
    known = [run.data for run in runs if run.data is not None and run.data > 0]
    if len(known) < len(runs):
        return np.ones(len(runs)), True
    steps = sorted(set(known))
    # Of bytes read the number differs a little from run to run; sizes that follow each other closely are one.
    size_of = {steps[0]: steps[0]}
    for before, size in pairwise(steps):
        size_of[size] = size_of[before] if size <= SAME_DATA * size_of[before] else size
    amounts = np.array([size_of[size] for size in known]) / steps[0]
    return amounts, bool(np.ptp(amounts) == 0)
