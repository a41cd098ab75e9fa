"""The three jobs as steps of a run: what a session does for each, and the result that a user gets."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from nodewise.jobs.prepare import PrepareJob
from nodewise.jobs.prepare_folder import PrepareFolder
from nodewise.jobs.score import ScoreJob, ScoreOutcome
from nodewise.jobs.train import TrainJob, TrainOutcome
from nodewise.runs.session import Session
from nodewise.specs.codec import to_json
from nodewise.specs.results import PrepareResult, ScoreResult, TrainResult

__all__ = ["run_prepare", "run_score", "run_train"]

EPOCH_LOG = "epochs.jsonl"


def run_prepare(session: Session, job: PrepareJob, folder: PrepareFolder) -> PrepareResult:
    """Write the shards and their manifest, as far as the folder has them not yet."""
    with session.stage(job.name) as metered:
        metered.each(job.task(folder), job.plan(folder), lambda _index, outcome: job.note(folder, outcome))
        manifest = job.combine(folder)
    stage = session.last_stage
    result = PrepareResult(
        records=sum(shard.records for shard in manifest.shards),
        skipped=manifest.skipped,
        classes=manifest.classes,
        shards=tuple(replace(shard, path=str(folder.path / shard.path)) for shard in manifest.shards),
        seconds=stage.wall_s,
        start_up_seconds=session.start_up_s,
        records_per_s=stage.records_per_s,
        dest=str(folder.path),
        resumed_tasks=folder.num_resumed,
        run_id=session.run.run_id,
        emulation_tier=session.emulation_tier,
    )
    session.result["prepare"] = to_json(result)
    return result


def run_train(session: Session, job: TrainJob, model_path: Path) -> TrainResult:
    """Train over all nodes and write the model."""
    payload = job.payload(model_path, session.folder / EPOCH_LOG)
    with session.stage(job.name) as metered:
        outcomes = metered.gang(job.function, payload, steps=job.spec.epochs, log=payload.epoch_log)
    outcome: TrainOutcome = outcomes[0]
    stage = session.last_stage
    last = outcome.epochs[-1]
    result = TrainResult(
        model_path=str(model_path),
        accuracy=last.test_accuracy,
        epochs=outcome.epochs,
        seconds=stage.wall_s,
        start_up_seconds=session.start_up_s,
        world_size=outcome.world_size,
        strategy="all-reduce" if outcome.world_size > 1 else "single",
        records=stage.records // job.spec.epochs,
        run_id=session.run.run_id,
        emulation_tier=session.emulation_tier,
    )
    session.accuracy = result.accuracy
    session.result["train"] = to_json(result)
    return result


def run_score(session: Session, job: ScoreJob, dest: Path) -> ScoreResult:
    """Write the predictions."""
    with session.stage(job.name) as metered:
        outcome: ScoreOutcome = job.combine(metered.map(job.task(dest), job.plan()))
    stage = session.last_stage
    result = ScoreResult(
        records=outcome.records,
        accuracy=outcome.right / outcome.records,
        predictions_path=str(dest),
        seconds=stage.wall_s,
        start_up_seconds=session.start_up_s,
        records_per_s=stage.records_per_s,
        split=job.split,
        run_id=session.run.run_id,
        emulation_tier=session.emulation_tier,
    )
    session.accuracy = result.accuracy
    session.result["score"] = to_json(result)
    return result
