"""Run times of training on several numbers of GPUs, as others measured them."""

from __future__ import annotations

import csv
import json
from dataclasses import dataclass
from pathlib import Path

__all__ = ["MeasuredTraining", "TrainingTrace", "read_training_traces"]


@dataclass(frozen=True, slots=True, kw_only=True)
class MeasuredTraining:
    """How long an amount of training, always the same, took ``gpus`` GPUs that are spread over ``nodes`` nodes."""

    nodes: int
    gpus: int
    runtime_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingTrace:
    """All that was measured of one training job on one type of node, with the same batch for each GPU."""

    workload: str
    framework: str
    dataset: str
    instance_type: str
    measured: tuple[MeasuredTraining, ...]


def read_training_traces(path: Path) -> list[TrainingTrace]:
    """The training jobs of a file of run times, in their order in it; none if its rows are of other jobs.

    A row is of training if its column ``extra`` is JSON with ``gpus``, or with ``steps_per_s``: then each of its nodes
    stands for one GPU. Runs that did not end well are passed over.

    Args:
        path: As :func:`~nodewise.advice.traces.read_traces` takes it, and has found no fault with.
    """
    grouped: dict[tuple[str, str, str, str], list[MeasuredTraining]] = {}
    with path.open(newline="", encoding="utf-8") as file:
        for row in csv.DictReader(file):
            nodes = int(float(row["nodes"]))
            gpus = _gpus(row.get("extra") or "", nodes)
            if gpus is not None and (row.get("status") or "ok") == "ok":
                key = row["workload"], row["framework"], row["dataset"], row["instance_type"]
                one = MeasuredTraining(nodes=nodes, gpus=gpus, runtime_s=float(row["runtime_s"]))
                grouped.setdefault(key, []).append(one)
    return [
        TrainingTrace(workload=key[0], framework=key[1], dataset=key[2], instance_type=key[3], measured=tuple(measured))
        for key, measured in grouped.items()
    ]


def _gpus(extra: str, nodes: int) -> int | None:
    """None where the row does not tell."""
    try:
        told = json.loads(extra)
    except ValueError:
        return None
    if not isinstance(told, dict):
        return None
    gpus = told.get("gpus", nodes if "steps_per_s" in told else None)
    return gpus if isinstance(gpus, int) and gpus >= nodes else None
