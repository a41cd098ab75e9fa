"""What MLflow is told of a run: experiment, parameters, metrics and tags. Pure; no MLflow.

Metrics carry their unit and are grouped by ``/``: ``time/cluster_s``, ``cost/usd``, ``records_per_s/train``. Those of
epochs (``loss``, ``train_accuracy``, ``test_accuracy``, ``epoch_s``) have the epoch as their step.
"""

from __future__ import annotations

import math
import os
import re
import shlex
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any, NamedTuple

from nodewise.core.secrets import is_secret_name, redact, secret_values
from nodewise.specs.codec import to_json
from nodewise.specs.run import RunRecord

__all__ = [
    "ACCURACY",
    "FINGERPRINT",
    "JOBS",
    "MODEL_FILE",
    "RUN_ID",
    "SHA256",
    "Metric",
    "experiment_of",
    "fingerprint_of",
    "metrics_of",
    "parameters_of",
    "tags_of",
]

JOBS = "jobs"
"""Key of a run's provenance: the settings of its jobs, by name."""
RUN_ID = "nodewise.run_id"
"""Tag by which a run is found again; of models too."""
ACCURACY, FINGERPRINT, SHA256 = "nodewise.accuracy", "nodewise.data_fingerprint", "nodewise.sha256"
"""Tags of a model and of its versions in the registry."""
MODEL_FILE = "data/model.safetensors"
"""Where in MLflow's folder of a model its file lies."""

MAX_VALUE_CHARS = 500
"""Of parameters: what servers of every version take."""
MAX_TAG_CHARS = 5000
_MASK = "***"
_STAMP = re.compile(r"-\d{8}-\d{6}$")
_NOT_IN_NAMES = re.compile(r"[^\w./ -]")


class Metric(NamedTuple):
    """A number: ``at`` is its instant, ``step`` the epoch, or 0."""

    name: str
    value: float
    at: datetime
    step: int


def experiment_of(run: RunRecord) -> str:
    """Runs of a comparison are filed under its name, all others under their command."""
    return _STAMP.sub("", run.experiment) if run.experiment else run.command


def parameters_of(run: RunRecord) -> dict[str, str]:
    """Where the run was to take place and the settings of its jobs, as ``<job>/<setting>``; without secrets.

    Where a job found out for itself what was left open, such as the batch size, it is what it found.
    """
    cluster = to_json(run.cluster)
    limits = cluster.pop("limits")
    values = {name: value for name, value in (cluster | limits).items() if value is not None}
    if run.cluster_name is not None:
        values["cluster"] = run.cluster_name
    for job, settings in run.provenance.get(JOBS, {}).items():
        found = (run.result or {}).get(job) or {}
        for name, value in settings.items():
            result = found.get(name)
            # Of the epochs a result has a list, and the setting is how many.
            values[f"{job}/{name}"] = result if isinstance(result, str | int | float) else value
    return _clean({name: _text(value) for name, value in values.items()}, MAX_VALUE_CHARS)


def metrics_of(run: RunRecord) -> list[Metric]:
    """Numbers of the epochs, then those of the whole run; what is not known, or no number, is left out."""
    ended_at = run.ended_at or datetime.now(UTC)
    whole: dict[str, Any] = {
        "accuracy": run.accuracy,
        "time/cluster_s": run.cluster_s,
        "time/start_up_s": run.start_up_s,
        "cost/usd": None if run.cost_usd is None else float(run.cost_usd),
    }
    for stage in run.stages:
        whole[f"time/{stage.name}_s"] = stage.wall_s
        whole[f"records_per_s/{stage.name}"] = stage.records_per_s
    metrics = [Metric(_NOT_IN_NAMES.sub("_", name), value, ended_at, 0) for name, value in whole.items()]
    return [metric for metric in (*_of_epochs(run), *metrics) if _is_number(metric.value)]


def _of_epochs(run: RunRecord) -> Iterator[Metric]:
    began = next((stage.started_at for stage in run.stages if stage.name == "train"), run.created_at.timestamp())
    passed_s = 0.0
    for epoch in ((run.result or {}).get("train") or {}).get("epochs", ()):
        passed_s += epoch["seconds"]
        at, step = datetime.fromtimestamp(began + passed_s, UTC), epoch["epoch"]
        for name in ("loss", "train_accuracy", "test_accuracy"):
            yield Metric(name, epoch[name], at, step)
        yield Metric("epoch_s", epoch["seconds"], at, step)


def tags_of(run: RunRecord) -> dict[str, str]:
    """The user's own tags, and under ``nodewise.`` where it came from and why it failed; without secrets."""
    error = run.error or {}
    ours: dict[str, Any] = {
        RUN_ID: run.run_id,
        "nodewise.command": run.command,
        "nodewise.scenario": run.scenario,
        "nodewise.comparison": run.experiment,
        "nodewise.engine": run.cluster.engine,
        "nodewise.emulation_tier": run.emulation_tier,
        FINGERPRINT: fingerprint_of(run),
        "nodewise.error.code": error.get("code"),
        "nodewise.error.message": error.get("message"),
        "nodewise.machine": run.provenance.get("machine"),
        "nodewise.version": run.provenance.get("versions", {}).get("nodewise"),
        "mlflow.source.name": shlex.join(run.provenance.get("command", ())),
    }
    known = {name: _text(value) for name, value in ours.items() if value}
    return _clean({**run.tags, **known}, MAX_TAG_CHARS)


def fingerprint_of(run: RunRecord) -> str:
    """Of the data that it trained on, else of those that its other job read; empty if none is known."""
    jobs: Mapping[str, Mapping[str, Any]] = run.provenance.get(JOBS, {})
    found = (jobs[name].get("data_fingerprint") for name in ("train", "score", "prepare") if name in jobs)
    return next(filter(None, found), "")


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and math.isfinite(value)


def _text(value: Any) -> str:
    value = to_json(value)
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)


def _clean(values: Mapping[str, str], max_chars: int) -> dict[str, str]:
    known = secret_values(os.environ)
    return {
        _NOT_IN_NAMES.sub("_", redact(name, known=known)): (
            _MASK if is_secret_name(name) else redact(value, known=known)[:max_chars]
        )
        for name, value in values.items()
    }
