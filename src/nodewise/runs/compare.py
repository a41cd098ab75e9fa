"""A comparison: every scenario runs the same jobs, then the runs are put side by side and reported."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from nodewise.analysis.compare import compare_scenarios
from nodewise.core.errors import NodewiseError
from nodewise.core.files import write_atomic
from nodewise.core.machine import machine_cores
from nodewise.core.progress import Progress
from nodewise.report.html import Evidence, write_html
from nodewise.runs.compared import ComparedWork
from nodewise.runs.machine import provenance
from nodewise.runs.scenarios import PlannedScenario, plan_scenarios, prepare_work, run_scenario, summarise_runs
from nodewise.specs.codec import to_json
from nodewise.specs.results import ComparisonResult
from nodewise.specs.run import RunRecord
from nodewise.specs.scenario import CompareSpec
from nodewise.workspace import Workspace

__all__ = ["run_comparison"]


def run_comparison(
    spec: CompareSpec,
    workspace: Workspace,
    base: Path,
    report_path: Path | None,
    progress: Progress,
    *,
    preflight: bool = True,
) -> ComparisonResult:
    """Run the scenarios one after another, ``spec.repeat`` times round, and write the report.

    A scenario whose engine is not on this machine is left out, one whose run fails is left out from there on; the
    result says so. The shards of a run are removed when it has ended: they take room and any run makes them again.

    Args:
        base: Folder that relative paths of the comparison are taken from.
        report_path: File for the HTML report; None: one in the workspace.
        preflight: Whether to look, before anything is started, for what would fail.

    Raises:
        InputError: The comparison cannot be carried out; nothing was started.
        NodewiseError: Not one scenario could be run to its end.
    """
    plans, left_out = plan_scenarios(spec, progress)
    work = prepare_work(spec, plans, workspace, base, progress, preflight=preflight)
    started_at = datetime.now(UTC)
    experiment = f"{_slug(spec.name)}-{started_at:%Y%m%d-%H%M%S}"
    report_path = report_path or workspace.reports_dir / experiment / "report.html"
    runs: dict[str, list[RunRecord]] = {plan.scenario.name: [] for plan in plans}
    failures: dict[str, NodewiseError] = {}
    for repetition in range(1, spec.repeat + 1):
        for plan in plans:
            name = plan.scenario.name
            if name in failures:
                continue
            progress.scenario(name if spec.repeat == 1 else f"{name}, run {repetition} of {spec.repeat}")
            try:
                run = run_scenario(plan, work, workspace, experiment, progress)
            except NodewiseError as error:
                failures[name] = error
                progress.note(f"{name} failed: {error.message}")
                continue
            runs[name].append(run)
    if failures and len(failures) == len(plans):
        raise next(iter(failures.values()))
    summaries = [
        summarise_runs(plan, runs[plan.scenario.name], workspace)
        for plan in plans
        if plan.scenario.name not in failures
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
    evidence = _evidence(spec, work, started_at, plans, result)
    write_html(report_path, result, images=work.images, evidence=evidence)
    write_atomic(report_path.with_suffix(".json"), json.dumps(to_json(result), indent=2) + "\n")
    return result


def _evidence(
    spec: CompareSpec,
    work: ComparedWork,
    started_at: datetime,
    plans: Sequence[PlannedScenario],
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
        source_name=work.source_name,
        source=work.source,
        fingerprint=work.fingerprint,
        commands=(shlex.join(facts["command"]),),
        price_notes=tuple(dict.fromkeys(plan.price.note for plan in plans if plan.price is not None)),
        warnings=tuple(warnings),
    )


def _slug(name: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", name.casefold()).strip("-")[:40] or "comparison"
