"""The page of a training."""

from __future__ import annotations

import shlex
from pathlib import Path

from nodewise.analysis.training_time import analyse_training
from nodewise.jobs.train import TrainJob
from nodewise.report.train_page import write_train_page
from nodewise.runs.session import Session
from nodewise.specs.results import TrainResult

__all__ = ["write_train_report"]


def write_train_report(paths: set[Path], session: Session, job: TrainJob, result: TrainResult) -> None:
    """Write the page to these files. Called when the cluster is gone: nobody pays for the drawing."""
    run, cluster = session.run, session.run.cluster
    kind = "emulated " if cluster.emulated and cluster.nodes > 1 else ""
    note = f"if run on {cluster.node_type} at this speed" if cluster.emulated else ""
    for path in paths:
        write_train_page(
            path,
            result,
            analyse_training(result),
            spec=job.spec,
            cluster=f"{cluster.nodes} {kind}node{'s' if cluster.nodes > 1 else ''}, engine {cluster.engine}",
            cost_usd=run.cost_usd,
            cost_note=note if run.cost_usd is not None else "",
            command=shlex.join(run.provenance["command"]),
        )
