"""Run times on larger clusters, predicted from those on the smallest, for all workloads in a file of run times."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from nodewise.advice.space import family_of
from nodewise.advice.traces import Measured, Workload, read_traces
from nodewise.analysis.regression import Array
from nodewise.analysis.scaling.belief import COVERAGE, Band, ScalingBelief
from nodewise.analysis.scaling.clusters import Clusters
from nodewise.analysis.scaling.training_step import predict_steps
from nodewise.core.progress import Progress
from nodewise.runs.training_traces import MeasuredTraining, TrainingTrace, read_training_traces
from nodewise.specs.advice import ScaleOutResult, ScaleOutRow

__all__ = ["replay_scale_out"]


def replay_scale_out(path: Path, train_smallest: int, progress: Progress, coverage: float = COVERAGE) -> ScaleOutResult:
    """Learn each workload from its smallest clusters, predict all larger ones, and put both beside each other.

    One belief holds all node types of a workload (:class:`~nodewise.analysis.scaling.belief.ScalingBelief`), so that
    many small nodes of one type are judged by few large ones of another too: of each type the smallest node counts are
    learned from. Training on GPUs has laws of its own (:func:`~nodewise.analysis.scaling.training_step.predict_steps`):
    learned from are the smallest numbers of GPUs that are powers of two, on however many nodes, and predicted all
    larger ones. Runs that did not end well are neither learned from nor predicted.

    Args:
        path: CSV file, as :func:`~nodewise.advice.traces.read_traces` takes it.
        train_smallest: Node counts of each type to learn from, at least 1.
        coverage: Probability that a run lies within its interval.

    Raises:
        InputError: The file cannot be read; with its line.
    """
    workloads, jobs = read_traces(path), read_training_traces(path)
    rows: list[ScaleOutRow] = []
    progress.stage("predict", len(jobs or workloads))
    for one in jobs or workloads:
        if isinstance(one, TrainingTrace):
            rows += _trainings(one, train_smallest, coverage)
        else:
            rows += _runs(one, train_smallest, coverage)
        progress.advance(1, "workloads")
    progress.done()
    return ScaleOutResult(train_smallest=train_smallest, rows=tuple(rows))


def _runs(workload: Workload, train_smallest: int, coverage: float) -> list[ScaleOutRow]:
    by_type: dict[str, list[Measured]] = defaultdict(list)
    for one in workload.measured:
        if one.is_ok:
            by_type[one.configuration.instance_type].append(one)
    known, asked = list[Measured](), list[Measured]()
    for measured in by_type.values():
        ordered = sorted(measured, key=lambda one: one.configuration.nodes)
        known += ordered[:train_smallest]
        asked += ordered[train_smallest:]
    if not asked:
        return []
    belief = ScalingBelief(_clusters(known), np.array([one.runtime_s for one in known]))
    measured_on = [
        _MeasuredOn(one.configuration.instance_type, one.configuration.nodes, None, one.runtime_s) for one in asked
    ]
    return _rows(workload, measured_on, belief.run_band(_clusters(asked), coverage))


def _clusters(measured: Sequence[Measured]) -> Clusters:
    chosen = [one.configuration for one in measured]
    cores = [one.vcpus for one in chosen]
    memory_gib = [one.memory_gib for one in chosen]
    return Clusters(
        nodes=np.array([one.nodes for one in chosen], np.float64),
        data=np.ones(len(chosen)),
        node_size=np.array(cores, np.float64) if all(cores) else np.ones(len(chosen)),
        memory_gib=np.array(memory_gib, np.float64) if all(memory_gib) else None,
        node_type=np.array([one.instance_type for one in chosen]),
        family=np.array([family_of(one.instance_type) for one in chosen]),
    )


def _trainings(job: TrainingTrace, train_smallest: int, coverage: float) -> list[ScaleOutRow]:
    powers = sorted({one.gpus for one in job.measured if one.gpus.bit_count() == 1})[:train_smallest]
    known = [one for one in job.measured if one.gpus in powers]
    asked = [one for one in job.measured if powers and one.gpus > powers[-1]]
    if not asked:
        return []
    (nodes, gpus, runtimes_s), (asked_nodes, asked_gpus, _) = _columns(known), _columns(asked)
    # The batch of a GPU stays the same, so that with twice the GPUs half the steps are made.
    band = predict_steps(nodes, gpus, runtimes_s * gpus, asked_nodes, asked_gpus, coverage)
    measured_on = [_MeasuredOn(job.instance_type, one.nodes, one.gpus, one.runtime_s) for one in asked]
    runtime_band = Band(band.low_s / asked_gpus, band.median_s / asked_gpus, band.high_s / asked_gpus)
    return _rows(job, measured_on, runtime_band)


def _columns(measured: Sequence[MeasuredTraining]) -> Array:
    """Nodes, GPUs and run times, shape (3, n)."""
    return np.array([(one.nodes, one.gpus, one.runtime_s) for one in measured], np.float64).T


class _MeasuredOn(NamedTuple):
    instance_type: str
    nodes: int
    gpus: int | None
    seconds: float


def _rows(of: Workload | TrainingTrace, asked: Sequence[_MeasuredOn], band: Band) -> list[ScaleOutRow]:
    return [
        ScaleOutRow(
            workload=of.workload,
            framework=of.framework,
            dataset=of.dataset,
            instance_type=one.instance_type,
            nodes=one.nodes,
            gpus=one.gpus,
            measured_s=one.seconds,
            predicted_s=float(band.median_s[index]),
            low_s=float(band.low_s[index]),
            high_s=float(band.high_s[index]),
        )
        for index, one in enumerate(asked)
    ]
