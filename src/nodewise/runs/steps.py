"""The three jobs as steps of a run: what a session does for each, and the result that a user gets."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from nodewise.analysis.confusion import accuracy_of, class_scores, confusion_matrix
from nodewise.core.machine import machine_cores
from nodewise.jobs.prepare import PrepareJob
from nodewise.jobs.prepare_folder import PrepareFolder
from nodewise.jobs.score import ScoreJob, ScoreOutcome
from nodewise.jobs.train import TrainJob
from nodewise.runs.session import Session
from nodewise.shards.files import remove_leftovers
from nodewise.shards.manifest import fingerprint_of
from nodewise.specs.cluster import ClusterSpec
from nodewise.specs.codec import to_json
from nodewise.specs.results import PrepareResult, ScoreResult, TrainResult
from nodewise.training.plan import TrainOutcome

__all__ = ["default_checkpoint_dir", "run_prepare", "run_score", "run_train"]

EPOCH_LOG = "epochs.jsonl"


def run_prepare(session: Session, job: PrepareJob, folder: PrepareFolder) -> PrepareResult:
    """Write the shards and their manifest, as far as the folder has them not yet."""
    session.jobs[job.name] = job.describe()
    with session.stage(job.name) as metered:
        metered.each(job.task(folder), job.plan(folder), lambda _index, outcome: job.note(folder, outcome))
        manifest = job.combine(folder)
    session.jobs[job.name]["data_fingerprint"] = fingerprint_of(manifest)
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


def run_train(
    session: Session,
    job: TrainJob,
    model_path: Path,
    checkpoint_dir: Path | None = None,
    *,
    is_resumed: bool = False,
    report: Path | None = None,
) -> TrainResult:
    """Train over all nodes and write the model.

    Args:
        checkpoint_dir: Stays; None: beside the model, until training has ended well.
        is_resumed: Go on from the newest checkpoint there; else those of an earlier training are removed.
        report: Where the page will be that the caller writes when the cluster is gone.
    """
    from nodewise.training.checkpoint import remove_checkpoints

    session.jobs[job.name] = job.describe()
    folder = checkpoint_dir or default_checkpoint_dir(model_path)
    plan = job.plan(model_path, session.folder / EPOCH_LOG, folder)
    if not is_resumed:
        remove_checkpoints(folder)
    with session.stage(job.name) as metered:
        if job.is_gang:
            outcomes: list[TrainOutcome] = metered.gang(
                job.function,
                plan,
                steps=job.spec.epochs,
                log=plan.epoch_log,
                max_restarts=job.spec.max_restarts,
            )
        else:
            from nodewise.runs.train_crew import run_crew

            outcomes = run_crew(session, metered, job, plan)
    if checkpoint_dir is None:
        remove_checkpoints(folder)
    stage, first = session.last_stage, outcomes[0]
    result = TrainResult(
        model_path=str(model_path),
        accuracy=first.epochs[-1].test_accuracy,
        epochs=first.epochs,
        seconds=stage.wall_s,
        start_up_seconds=session.start_up_s,
        world_size=first.world_size,
        strategy=job.strategy,
        records=plan.num_train,
        recipe=job.spec.recipe,
        precision=first.precision,
        steps=first.steps,
        workers=tuple(sorted((worker for one in outcomes for worker in one.workers), key=lambda w: (w.epoch, w.rank))),
        restarts=max((task.retries for task in metered.tasks), default=0) if job.is_gang else 0,
        lost=first.lost,
        resumed_at_step=first.resumed_at_step if is_resumed else None,
        checkpoint_dir=str(folder) if folder.is_dir() else None,
        mean_staleness=first.mean_staleness,
        max_staleness=first.max_staleness,
        run_id=session.run.run_id,
        emulation_tier=session.emulation_tier,
        report_path=None if report is None else str(report),
    )
    session.accuracy = result.accuracy
    session.result["train"] = to_json(result)
    return result


def default_checkpoint_dir(model_path: Path) -> Path:
    """Where checkpoints lie that nobody gave a place."""
    return model_path.with_name(f"{model_path.name}.checkpoints")


def run_score(session: Session, job: ScoreJob, dest: Path, report: Path | None = None) -> ScoreResult:
    """Write the predictions.

    Args:
        report: Where the page will be that the caller writes when the cluster is gone.
    """
    session.jobs[job.name] = job.describe()
    cluster = session.run.cluster
    parts = job.plan(cluster.slots)
    with session.stage(job.name) as metered:
        outcome: ScoreOutcome = job.combine(metered.map(job.task(dest), parts))
    # Of workers that were killed.
    remove_leftovers(dest)
    stage = session.last_stage
    matrix = confusion_matrix(len(job.classes), outcome.counts)
    rate = outcome.forward_records_per_cpu_s
    result = ScoreResult(
        records=outcome.records,
        accuracy=accuracy_of(matrix),
        predictions_path=str(dest),
        seconds=stage.wall_s,
        start_up_seconds=session.start_up_s,
        records_per_s=stage.records_per_s,
        split=job.split,
        batch_size=outcome.batch_size or 0,
        forward_records_per_s=None if rate is None else rate * _cpus_at_work(cluster, len(parts)),
        classes=class_scores(job.classes, matrix),
        confusion=matrix,
        run_id=session.run.run_id,
        emulation_tier=session.emulation_tier,
        report_path=None if report is None else str(report),
    )
    session.accuracy = result.accuracy
    session.result["score"] = to_json(result)
    return result


def _cpus_at_work(cluster: ClusterSpec, num_tasks: int) -> float:
    """Cores' worth of CPU time that tasks of one thread each get together."""
    slots = min(cluster.slots, num_tasks)
    if not cluster.emulated:
        return slots
    allowed = cluster.nodes * (cluster.limits.cpus or cluster.cores_per_node)
    return min(slots, allowed, machine_cores())
