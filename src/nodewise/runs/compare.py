"""A comparison: every scenario runs the same jobs, then the runs are put side by side and reported."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shlex
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from nodewise.analysis.compare import compare_scenarios, summarise_scenario
from nodewise.core.errors import MissingDependencyError, NodewiseError, SourceError
from nodewise.core.files import write_atomic
from nodewise.core.progress import Progress
from nodewise.data.datasets import resolve_source
from nodewise.data.sources import ImageSource, open_source
from nodewise.jobs.prepare import PrepareJob
from nodewise.jobs.prepare_folder import claim_folder
from nodewise.jobs.score import ScoreJob
from nodewise.jobs.train import TrainJob
from nodewise.metering.cost import Price, price_cluster
from nodewise.report.html import Evidence, PredictedImage, write_html
from nodewise.runs.dependencies import missing_for_engine
from nodewise.runs.machine import machine_cores, provenance
from nodewise.runs.samples import predicted_images
from nodewise.runs.session import open_session
from nodewise.runs.steps import run_prepare, run_score, run_train
from nodewise.shards.manifest import Manifest, read_manifest
from nodewise.specs.cluster import ClusterSpec
from nodewise.specs.codec import to_json
from nodewise.specs.results import ComparisonResult, ScenarioResult
from nodewise.specs.run import RunRecord
from nodewise.specs.scenario import CompareSpec, Scenario
from nodewise.training.models import build_model
from nodewise.workspace import Workspace

__all__ = ["run_comparison"]


@dataclass(frozen=True, slots=True)
class _Plan:
    """A scenario that can run here, its cluster and its price."""

    scenario: Scenario
    cluster: ClusterSpec
    price: Price | None


def run_comparison(
    spec: CompareSpec, workspace: Workspace, base: Path, report_path: Path | None, progress: Progress
) -> ComparisonResult:
    """Run the scenarios one after another, ``spec.repeat`` times round, and write the report.

    A scenario whose engine is not on this machine is left out, one whose run fails is left out from there on; the
    result says so. The shards of a run are removed when it has ended: they take room and any run makes them again.

    Args:
        base: Folder that relative paths of the comparison are taken from.
        report_path: File for the HTML report; None: one in the workspace.

    Raises:
        InputError: The comparison cannot be carried out; nothing was started.
        NodewiseError: Not one scenario could be run to its end.
    """
    plans, left_out = _plan(spec, progress)
    source = open_source(_find_source(spec, workspace, base, progress))
    _check_jobs(spec, source)
    started_at = datetime.now(UTC)
    experiment = f"{_slug(spec.name)}-{started_at:%Y%m%d-%H%M%S}"
    report_path = report_path or workspace.reports_dir / experiment / "report.html"
    runs: dict[str, list[RunRecord]] = {plan.scenario.name: [] for plan in plans}
    failures: dict[str, NodewiseError] = {}
    images: list[PredictedImage] = []
    fingerprint = ""
    for repetition in range(1, spec.repeat + 1):
        for plan in plans:
            name = plan.scenario.name
            if name in failures:
                continue
            progress.scenario(name if spec.repeat == 1 else f"{name}, run {repetition} of {spec.repeat}")
            try:
                outcome = _run_scenario(spec, plan, source, workspace, experiment, progress, with_images=not images)
            except NodewiseError as error:
                failures[name] = error
                progress.note(f"{name} failed: {error.message}")
                continue
            runs[name].append(outcome.run)
            images = images or outcome.images
            fingerprint = outcome.fingerprint
    if failures and len(failures) == len(plans):
        raise next(iter(failures.values()))
    summaries = [
        _summarise(plan, runs[plan.scenario.name], workspace) for plan in plans if plan.scenario.name not in failures
    ]
    result = compare_scenarios(
        spec.name,
        experiment,
        summaries,
        baseline=spec.baseline_name,
        left_out=left_out | {name: f"failed: {error.message}" for name, error in failures.items()},
        machine_cores=machine_cores(),
        report_path=str(report_path),
    )
    result = replace(result, failed=tuple(failures))
    evidence = _evidence(spec, source, started_at, fingerprint, plans, result)
    write_html(report_path, result, images=images, evidence=evidence)
    write_atomic(report_path.with_suffix(".json"), json.dumps(to_json(result), indent=2) + "\n")
    return result


def _plan(spec: CompareSpec, progress: Progress) -> tuple[list[_Plan], dict[str, str]]:
    """The scenarios that can run here, and why the others cannot."""
    most_nodes = max(scenario.nodes for scenario in spec.scenarios)
    # Every node of the comparison gets the same share of this machine, or one node against five says nothing.
    share = max(1, machine_cores() // most_nodes)
    plans: list[_Plan] = []
    left_out: dict[str, str] = {}
    reason: MissingDependencyError | None = None
    for scenario in spec.scenarios:
        missing = missing_for_engine(scenario.engine)
        if missing is not None:
            reason = reason or missing
            left_out[scenario.name] = f"{missing.message}; {missing.hint}"
            progress.note(f"{scenario.name} is left out: {missing.message} ({missing.hint})")
            continue
        cluster = scenario.cluster(share)
        plans.append(_Plan(scenario, cluster, price_cluster(cluster, spec.databricks)))
    if not plans and reason is not None:
        raise reason
    return plans, left_out


def _find_source(spec: CompareSpec, workspace: Workspace, base: Path, progress: Progress) -> Path:
    """The first of the sources that is there."""
    first: SourceError | None = None
    for source in spec.dataset.sources:
        try:
            return resolve_source(source, workspace.datasets_dir, base, progress)
        except SourceError as error:
            first = first or error
    if first is None:
        raise SourceError("the comparison names no images")
    others = len(spec.dataset.sources) - 1
    also = f" (nor any of the {others} other sources)" if others else ""
    raise SourceError(f"{first.message}{also}", hint=first.hint)


def _check_jobs(spec: CompareSpec, source: ImageSource) -> None:
    """Find out before anything is started what would go wrong after the first stage."""
    size = PrepareJob(source, spec.jobs.prepare).size
    if size is not None:
        shape = (3, size, size)
        model = spec.jobs.train.model
        build_model(model, num_classes=len(source.classes), image_shape=shape, search_path=os.getcwd())


@dataclass(frozen=True, slots=True)
class _Outcome:
    run: RunRecord
    images: list[PredictedImage]
    fingerprint: str


def _run_scenario(
    spec: CompareSpec,
    plan: _Plan,
    source: ImageSource,
    workspace: Workspace,
    experiment: str,
    progress: Progress,
    *,
    with_images: bool,
) -> _Outcome:
    jobs = spec.jobs
    images: list[PredictedImage] = []
    folder: Path | None = None
    try:
        with open_session(
            workspace,
            "compare",
            plan.cluster,
            progress,
            modules=PrepareJob.modules,
            price=plan.price,
            scenario=plan.scenario.name,
            experiment=experiment,
            tags=plan.scenario.tags,
        ) as session:
            folder = session.folder
            shards, model, predictions = (folder / name for name in ("shards", "model.safetensors", "predictions"))
            prepare = PrepareJob(source, jobs.prepare)
            with claim_folder(shards, prepare.fingerprint()) as claimed:
                run_prepare(session, prepare, claimed)
            manifest = read_manifest(shards)
            run_train(session, TrainJob(shards, manifest, jobs.train), model)
            run_score(session, ScoreJob(shards, manifest, model, jobs.score), predictions)
        if with_images:
            images = predicted_images(shards, manifest, predictions)
        return _Outcome(session.run, images, _fingerprint(manifest))
    finally:
        if folder is not None:
            shutil.rmtree(folder / "shards", ignore_errors=True)


def _summarise(plan: _Plan, runs: Sequence[RunRecord], workspace: Workspace) -> ScenarioResult:
    return summarise_scenario(
        plan.scenario,
        runs,
        {run.run_id: workspace.read_tasks(run.run_id) for run in runs},
        price_usd_per_hour=None if plan.price is None else plan.price.usd_per_node_hour,
        price_note="" if plan.price is None else plan.price.note,
    )


def _evidence(
    spec: CompareSpec,
    source: ImageSource,
    started_at: datetime,
    fingerprint: str,
    plans: Sequence[_Plan],
    result: ComparisonResult,
) -> Evidence:
    facts = provenance()
    warnings = [f"{name} was left out: {reason}" for name, reason in result.left_out.items()]
    if spec.repeat == 1:
        warnings.append(
            "One run per scenario shows no spread: repeat them with --repeat 3 before trusting a small gap."
        )
    for scenario in result.scenarios:
        if scenario.skipped:
            warnings.append(f"{scenario.name}: {scenario.skipped} images could not be decoded and were left out.")
        retries = sum(stage.retries for stage in scenario.stages)
        if retries:
            warnings.append(f"{scenario.name}: {retries} tasks had to be repeated because their worker died.")
    return Evidence(
        started_at=started_at,
        ended_at=datetime.now(UTC),
        machine=facts["machine"],
        cores=facts["cores"],
        memory_bytes=facts["memory_bytes"],
        versions={"Python": facts["python"], **facts["versions"]},
        source=f"{source.root.name}: {sum(map(len, source.splits.values())):,} images, {len(source.classes)} classes",
        fingerprint=fingerprint,
        commands=(shlex.join(facts["command"]),),
        price_notes=tuple(dict.fromkeys(plan.price.note for plan in plans if plan.price is not None)),
        warnings=tuple(warnings),
    )


def _fingerprint(manifest: Manifest) -> str:
    """One digest of all shards, the same for the same images, settings and seed."""
    return hashlib.sha256("".join(shard.sha256 for shard in manifest.shards).encode()).hexdigest()[:16]


def _slug(name: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", name.casefold()).strip("-")[:40] or "comparison"
