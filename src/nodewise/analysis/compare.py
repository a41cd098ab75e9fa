"""Runs -> one result per scenario -> the comparison."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Mapping, Sequence
from decimal import Decimal
from statistics import median
from typing import Any

from nodewise.analysis import ratios
from nodewise.analysis.limiter import what_limits
from nodewise.analysis.time_split import held_limits, split_time
from nodewise.analysis.usage_lines import usage_lines
from nodewise.analysis.verdict import write_verdict
from nodewise.core.errors import UnknownNameError
from nodewise.specs.results import ComparisonResult, EpochResult, ScenarioResult, StageResult
from nodewise.specs.run import RunRecord, StageRecord, TaskRecord
from nodewise.specs.scenario import Scenario
from nodewise.specs.usage import UsageSample

__all__ = ["compare_scenarios", "summarise_scenario"]


def summarise_scenario(
    scenario: Scenario,
    runs: Sequence[RunRecord],
    tasks: Mapping[str, Sequence[TaskRecord]],
    *,
    price_usd_per_hour: Decimal | None,
    price_note: str,
    usage: Mapping[str, Sequence[UsageSample]] | None = None,
) -> ScenarioResult:
    """Medians and ranges over the finished runs of one scenario.

    cost = nodes x price x median of the billed hours; a stage's cost is its share of these hours. Counts (records,
    tasks, skipped images) and the epochs are those of the last run, retries the sum over all runs. Where the nodes'
    time went, and what limited it, is told of the run with the median time (of two, the shorter).

    Args:
        runs: At least one, each with its ``cluster_s``; in order of time.
        tasks: Task records by run id; a run without any counts as zero CPU seconds.
        price_usd_per_hour: Of one node, fees included; None leaves every cost unknown.
        usage: What the nodes used over time, by run id.

    Raises:
        ValueError: No runs, or one whose cluster was not timed.
    """
    if not runs:
        raise ValueError(f"scenario {scenario.name!r} has no finished run")
    billed_s = [_billed_s(run) for run in runs]
    seconds = median(billed_s)
    last = runs[-1]
    cost = None if price_usd_per_hour is None else _cost_usd(scenario.nodes, price_usd_per_hour, seconds)
    accuracies = [run.accuracy for run in runs if run.accuracy is not None]
    result = last.result or {}
    prepared: Mapping[str, Any] = result.get("prepare") or {}
    trained: Mapping[str, Any] = result.get("train") or {}
    typical = sorted(runs, key=_billed_s)[(len(runs) - 1) // 2]
    return ScenarioResult(
        name=scenario.name,
        engine=scenario.engine,
        emulated=last.cluster.emulated,
        nodes=scenario.nodes,
        cores_per_node=last.cluster.cores_per_node,
        node_type=scenario.node_type,
        stages=tuple(
            _summarise_stage(
                stage.name, runs, tasks, cost_usd_per_s=cost / seconds if cost is not None and seconds else None
            )
            for stage in last.stages
        ),
        seconds=seconds,
        seconds_min=min(billed_s),
        seconds_max=max(billed_s),
        start_up_seconds=median(run.start_up_s or 0.0 for run in runs),
        stop_seconds=median(_stop_s(run) for run in runs),
        cost_usd=cost,
        price_usd_per_hour=None if price_usd_per_hour is None else float(price_usd_per_hour),
        price_note=price_note,
        accuracy=median(accuracies) if accuracies else None,
        records=int(prepared.get("records", 0)),
        skipped=len(prepared.get("skipped", ())),
        repeats=len(runs),
        run_ids=tuple(run.run_id for run in runs),
        tags=dict(scenario.tags),
        epochs=tuple(_epoch(epoch) for epoch in trained.get("epochs", ())),
        emulation_tier=None if last.emulation_tier is None else last.emulation_tier.value,
        **_where_the_time_went(typical, tasks.get(typical.run_id, ()), (usage or {}).get(typical.run_id, ())),
    )


def compare_scenarios(
    name: str,
    experiment: str,
    scenarios: Sequence[ScenarioResult],
    *,
    baseline: str,
    left_out: Mapping[str, str],
    machine_cores: int,
    report_path: str,
) -> ComparisonResult:
    """Put scenarios side by side and write the verdict.

    A baseline that was left out is replaced by the first scenario that ran, and the verdict says so. A ratio that has
    no meaning (a time of zero, an unknown cost) is absent from its dict.

    Raises:
        UnknownNameError: ``baseline`` names no scenario, neither one that ran nor one that was left out.
    """
    by_name = {scenario.name: scenario for scenario in scenarios}
    if baseline not in by_name and baseline not in left_out:
        raise UnknownNameError("baseline", baseline, [*by_name, *left_out])
    reference = by_name.get(baseline) or next(iter(scenarios), None)

    def relate(ratio: Callable[[ScenarioResult, ScenarioResult], float | None]) -> dict[str, float]:
        pairs = {} if reference is None else {scenario.name: ratio(reference, scenario) for scenario in scenarios}
        return {key: value for key, value in pairs.items() if value is not None}

    comparison = ComparisonResult(
        name=name,
        experiment=experiment,
        scenarios=tuple(scenarios),
        baseline=baseline if reference is None else reference.name,
        speedup=relate(ratios.speedup),
        work_speedup=relate(ratios.work_speedup),
        efficiency=relate(ratios.efficiency),
        cost_ratio=relate(ratios.cost_ratio),
        left_out=dict(left_out),
        machine_cores=machine_cores,
        verdict="",
        report_path=report_path,
    )
    return dataclasses.replace(comparison, verdict=write_verdict(comparison, wanted_baseline=baseline))


def _where_the_time_went(run: RunRecord, tasks: Sequence[TaskRecord], usage: Sequence[UsageSample]) -> dict[str, Any]:
    """The fields of a scenario's result that tell it; none if nothing was recorded to tell it from."""
    if not tasks and not usage:
        return {}
    cluster, cluster_s = run.cluster, _billed_s(run)
    limits = held_limits(cluster.limits, run.emulation_tier)
    split = split_time(
        run.stages,
        tasks,
        usage,
        nodes=cluster.nodes,
        slots_per_node=cluster.cores_per_node,
        limits=limits,
        cluster_s=cluster_s,
        start_up_s=run.start_up_s or 0.0,
    )
    limit = what_limits(
        split,
        run.stages,
        tasks,
        usage,
        slots_per_node=cluster.cores_per_node,
        limits=limits,
        cluster_s=cluster_s,
    )
    return {
        "time_split": split.total.shares(),
        "ideal_seconds": split.ideal_s,
        "limited_by": limit.kind.value,
        "limit_sentence": limit.sentence,
        "usage": usage_lines(run, tasks, usage),
    }


def _summarise_stage(
    name: str, runs: Sequence[RunRecord], tasks: Mapping[str, Sequence[TaskRecord]], *, cost_usd_per_s: float | None
) -> StageResult:
    measured = [(run, stage) for run in runs for stage in run.stages if stage.name == name]
    walls = [stage.wall_s for _, stage in measured]
    seconds = median(walls)
    last_run, last_stage = measured[-1]
    return StageResult(
        name=name,
        seconds=seconds,
        records=last_stage.records,
        seconds_min=min(walls),
        seconds_max=max(walls),
        records_per_s=last_stage.records / seconds if seconds > 0 else 0.0,
        num_tasks=last_stage.num_tasks or len(_of_stage(name, tasks.get(last_run.run_id, ()))),
        cpu_fraction=median(_cpu_fraction(run, stage, tasks.get(run.run_id, ())) for run, stage in measured),
        retries=sum(task.retries for run in runs for task in _of_stage(name, tasks.get(run.run_id, ()))),
        cost_usd=None if cost_usd_per_s is None else cost_usd_per_s * seconds,
    )


def _cpu_fraction(run: RunRecord, stage: StageRecord, tasks: Iterable[TaskRecord]) -> float:
    slot_s = run.cluster.slots * stage.wall_s
    return sum(task.cpu_s for task in _of_stage(stage.name, tasks)) / slot_s if slot_s > 0 else 0.0


def _of_stage(name: str, tasks: Iterable[TaskRecord]) -> list[TaskRecord]:
    return [task for task in tasks if task.stage == name]


def _billed_s(run: RunRecord) -> float:
    if run.cluster_s is None:
        raise ValueError(f"run {run.run_id!r} has no cluster time: only finished runs can be compared")
    return run.cluster_s


def _stop_s(run: RunRecord) -> float:
    # Stages and cluster are timed one after the other, so the rest can come out a little below 0.
    return max(0.0, _billed_s(run) - (run.start_up_s or 0.0) - sum(stage.wall_s for stage in run.stages))


def _cost_usd(nodes: int, price_usd_per_hour: Decimal, seconds: float) -> float:
    return float(nodes * price_usd_per_hour * Decimal(str(seconds)) / 3600)


def _epoch(stored: Mapping[str, Any]) -> EpochResult:
    return EpochResult(
        epoch=stored["epoch"],
        loss=stored["loss"],
        train_accuracy=stored["train_accuracy"],
        test_accuracy=stored.get("test_accuracy"),
        seconds=stored["seconds"],
    )
