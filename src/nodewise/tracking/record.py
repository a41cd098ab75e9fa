"""A run of the workspace becomes a run of MLflow when it has ended."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from nodewise.core.progress import Progress
from nodewise.core.secrets import redact, secret_values
from nodewise.specs.run import RunRecord
from nodewise.tracking.facts import RUN_ID, experiment_of, metrics_of, parameters_of, tags_of
from nodewise.tracking.store import TRACKING_URI, Store, is_switched_off, missing_mlflow, open_store
from nodewise.workspace.store import Workspace

if TYPE_CHECKING:
    from mlflow import MlflowClient

__all__ = ["find_run", "log_run", "model_path_of", "record_run"]

MAX_TABLE_BYTES = 1_000_000
"""Longer tables of tasks and usage stay in the workspace."""
MAX_REASON_CHARS = 200
_TABLES = ("tasks.parquet", "usage.parquet")
# What one call to MLflow takes at most.
_MAX_NAMES, _MAX_METRICS = 100, 1000

Item = TypeVar("Item")


def record_run(workspace: Workspace, run: RunRecord, progress: Progress) -> None:
    """Mirror a run that has ended to MLflow, with its model if it trained one.

    Whatever goes wrong there is told in one note and nothing more: the run is in the workspace. Nothing is done where
    ``NODEWISE_TRACKING=off`` or where MLflow is not installed, of which a note is made if ``MLFLOW_TRACKING_URI`` asks
    for it.
    """
    if is_switched_off():
        return
    missing = missing_mlflow()
    if missing is not None:
        if os.environ.get(TRACKING_URI):
            progress.note(f"not in MLflow, though {TRACKING_URI} is set: {missing.message} ({missing.hint})")
        return
    try:
        with open_store(workspace) as store:
            log_run(store, workspace, run)
    except Exception as error:
        lines = str(error).strip().splitlines() or [type(error).__name__]
        reason = redact(lines[0], known=secret_values(os.environ))[:MAX_REASON_CHARS]
        progress.note(f"run {run.run_id} is in the workspace, but not or not wholly in MLflow: {reason}")


def log_run(store: Store, workspace: Workspace, run: RunRecord) -> str:
    """Write a run that has ended to MLflow and return its id there.

    It has its status before files and model follow, so that it is no run without end if these cannot be stored.
    """
    client = store.client
    tags = tags_of(run)
    created = client.create_run(
        _experiment(store, experiment_of(run)),
        start_time=_milliseconds(run.created_at),
        run_name=run.scenario or run.run_id,
        tags={RUN_ID: tags.pop(RUN_ID)},
    )
    mlflow_run_id: str = created.info.run_id
    try:
        _log_facts(client, mlflow_run_id, run, tags)
    finally:
        ended_at = _milliseconds(run.ended_at or datetime.now(UTC))
        client.set_terminated(mlflow_run_id, run.status.value, ended_at)
    folder = workspace.run_dir(run.run_id)
    for table in (folder / name for name in _TABLES):
        if table.is_file() and table.stat().st_size <= MAX_TABLE_BYTES:
            client.log_artifact(mlflow_run_id, str(table))
    model_path = model_path_of(run)
    if model_path is not None and model_path.is_file():
        from nodewise.tracking.logged_model import log_model

        log_model(client, created, run, model_path)
    return mlflow_run_id


def find_run(store: Store, run: RunRecord) -> str | None:
    """The id in MLflow of a run, or None if it was not mirrored."""
    experiment = store.client.get_experiment_by_name(experiment_of(run))
    if experiment is None:
        return None
    found = store.client.search_runs(
        [experiment.experiment_id], filter_string=f"tags.`{RUN_ID}` = '{run.run_id}'", max_results=1
    )
    return found[0].info.run_id if found else None


def model_path_of(run: RunRecord) -> Path | None:
    """The file of the model that a run has trained; None if it has trained none."""
    path = ((run.result or {}).get("train") or {}).get("model_path")
    return Path(path) if path else None


def _experiment(store: Store, name: str) -> str:
    from mlflow.exceptions import MlflowException

    found = store.client.get_experiment_by_name(name)
    if found is None:
        try:
            return str(store.client.create_experiment(name, store.artifact_root))
        except MlflowException:
            # Another run of this moment has made it.
            found = store.client.get_experiment_by_name(name)
            if found is None:
                raise
    return str(found.experiment_id)


def _log_facts(client: MlflowClient, mlflow_run_id: str, run: RunRecord, tags: dict[str, str]) -> None:
    from mlflow.entities import Metric, Param, RunTag

    for pairs in _portions(list(parameters_of(run).items()), _MAX_NAMES):
        client.log_batch(mlflow_run_id, params=[Param(*pair) for pair in pairs])
    for pairs in _portions(list(tags.items()), _MAX_NAMES):
        client.log_batch(mlflow_run_id, tags=[RunTag(*pair) for pair in pairs])
    for metrics in _portions(metrics_of(run), _MAX_METRICS):
        client.log_batch(
            mlflow_run_id,
            metrics=[Metric(metric.name, metric.value, _milliseconds(metric.at), metric.step) for metric in metrics],
        )


def _portions(items: Sequence[Item], most: int) -> Iterator[Sequence[Item]]:
    return (items[start : start + most] for start in range(0, len(items), most))


def _milliseconds(at: datetime) -> int:
    return round(at.timestamp() * 1000)
