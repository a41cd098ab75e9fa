"""A speed test as a run: cells on a cluster, then their averages, fits, files and report."""

from __future__ import annotations

import dataclasses
import json
import shlex
import shutil
import tempfile
import time
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

from nodewise.analysis.speedtest import average, fit, write_sentence
from nodewise.analysis.speedtest_summary import PARAMETERS
from nodewise.core.errors import InputError
from nodewise.core.files import atomic_writer, write_atomic
from nodewise.core.machine import machine_cores
from nodewise.core.progress import Progress
from nodewise.data.datasets import resolve_source
from nodewise.engines.spark import SparkEngine
from nodewise.engines.spark_stage import SparkStage
from nodewise.jobs.speedtest import CeilingOutcome, CellOutcome, SpeedtestJob
from nodewise.report.speedtest import write_speedtest_report
from nodewise.runs.session import Session, open_session
from nodewise.specs.checks import check_speedtest
from nodewise.specs.cluster import ClusterSpec
from nodewise.specs.codec import to_json
from nodewise.specs.job import SpeedtestSpec
from nodewise.specs.results import SpeedtestCell, SpeedtestMean, SpeedtestResult
from nodewise.workspace import Workspace

__all__ = ["run_speedtest"]


def run_speedtest(
    data: Sequence[str],
    spec: SpeedtestSpec,
    cluster: ClusterSpec,
    workspace: Workspace,
    report_path: Path | None,
    progress: Progress,
    *,
    tags: dict[str, str] | None = None,
    cluster_name: str | None = None,
) -> SpeedtestResult:
    """Measure every reader at every source and write cells, result and report.

    A node measures one cell at a time, with ``cores_per_node`` threads. On one node of this machine cells run one after
    another; on more they run side by side, and share what the nodes share.

    Args:
        data: Folders of image files or shards, archives, or names of data sets.
        cluster: ``cores_per_node`` is what a reader may use.
        report_path: File for the HTML report; None: one in the workspace.
        cluster_name: The all-purpose cluster that ``cluster`` is; None: one of the run's own.

    Raises:
        InputError: The request cannot be carried out; nothing was started.
        NodewiseError: The run failed; it is in the workspace with its reason.
    """
    check_speedtest(spec)
    is_sequential = cluster.nodes == 1 and cluster.address is None
    if spec.cold and cluster.emulated and not is_sequential:
        raise InputError(
            "cells on several nodes of one machine would drop each other's files from its page cache",
            hint="measure with --cold on one node, or without it on several",
        )
    if not spec.cache and cluster.engine != "spark":
        raise InputError(
            f"engine {cluster.engine!r} keeps what was measured; only Spark would measure it again",
            hint="--no-cache needs --engine spark",
        )
    folders = [resolve_source(one, workspace.datasets_dir, Path.cwd(), progress) for one in data]
    job = SpeedtestJob(folders, spec)
    # A slot is a task at a time, and a task here takes a whole node.
    one_slot_each = replace(cluster, cores_per_node=1)
    with open_session(
        workspace, job.name, one_slot_each, progress, modules=job.modules, tags=tags, cluster_name=cluster_name
    ) as session:
        session.jobs[job.name] = {**to_json(spec), "data": [str(folder) for folder in folders]}
        result = _measure(session, job, threads=cluster.cores_per_node)
        result = replace(
            result,
            order="sequential" if is_sequential else "parallel",
            cache={True: "cold", False: "warm", None: "as found"}[spec.cold],
            report_path=str(report_path or workspace.reports_dir / f"speedtest-{result.run_id}" / "report.html"),
            table_path=str(session.folder / "cells.parquet"),
        )
        result = replace(result, sentence=write_sentence(result))
        _write_cells(Path(result.table_path), result.cells)
        session.result[job.name] = to_json(result)
        write_atomic(session.folder / "speedtest.json", json.dumps(session.result[job.name], indent=2) + "\n")
    command = shlex.join(session.run.provenance["command"])
    write_speedtest_report(result, Path(result.report_path), command=command)
    return result


def _measure(session: Session, job: SpeedtestJob, *, threads: int) -> SpeedtestResult:
    # Made and removed here, because readers that use it may be killed.
    scratch = Path(tempfile.mkdtemp(prefix="nw-read-"))
    task, plan = job.task(threads, scratch), job.plan()
    try:
        with session.stage(job.name) as metered:
            if isinstance(metered.engine, SparkEngine):
                kept = metered.engine.keep(job.name, task, plan, persist=job.spec.cache)
                outcomes = metered.gather(kept.results(), len(plan))
            else:
                kept, outcomes = None, metered.map(task, plan)
        nodes = {record.task: record.node for record in metered.tasks}
        outcome = job.combine(outcomes, [nodes[number] for number in range(len(plan))])
        began = time.perf_counter()
        means = average(outcome.cells) if kept is None else _average_on_spark(kept, outcome.cells)
        recompute_seconds = None if job.spec.cache else time.perf_counter() - began
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    return SpeedtestResult(
        cells=outcome.cells,
        means=means,
        fits=fit(outcome.cells),
        sentence="",
        left_out=outcome.left_out,
        imports_s=outcome.imports_s,
        ceilings=outcome.ceilings,
        engine=session.run.cluster.engine,
        nodes=session.run.cluster.nodes,
        machine_cores=machine_cores(),
        seconds=session.last_stage.wall_s,
        start_up_seconds=session.start_up_s,
        recompute_seconds=recompute_seconds,
        run_id=session.run.run_id,
        emulation_tier=session.emulation_tier,
    )


def _average_on_spark(kept: SparkStage, cells: Sequence[SpeedtestCell]) -> tuple[SpeedtestMean, ...]:
    """The same means as :func:`average` gives of the cells, one Spark action per parameter, in the same order."""
    wanted = {_mean_key(mean): number for number, mean in enumerate(average(cells))}
    found = [
        mean
        for parameter in PARAMETERS
        for mean in kept.group(partial(_group_of, parameter), partial(_mean_of_group, parameter))
        if mean is not None and _mean_key(mean) in wanted
    ]
    return tuple(sorted(found, key=lambda mean: wanted[_mean_key(mean)]))


def _group_of(parameter: str, outcome: CellOutcome | CeilingOutcome) -> tuple[str, str, int] | None:
    cell = outcome.cell if isinstance(outcome, CellOutcome) else None
    return None if cell is None else (cell.source, cell.reader, PARAMETERS[parameter](cell))


def _mean_of_group(parameter: str, _key: object, outcomes: list[CellOutcome]) -> SpeedtestMean | None:
    means = average([outcome.cell for outcome in outcomes if outcome.cell is not None])
    return next((mean for mean in means if mean.parameter == parameter), None)


def _mean_key(mean: SpeedtestMean) -> tuple[str, str, str, int]:
    return mean.source, mean.reader, mean.parameter, mean.value


def _write_cells(path: Path, cells: Sequence[SpeedtestCell]) -> None:
    """The cells as Parquet: a row each, columns as the fields of :class:`~nodewise.specs.results.SpeedtestCell`."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    table = pa.Table.from_pylist([dataclasses.asdict(cell) for cell in cells], schema=_schema())
    with atomic_writer(path) as stream:
        pq.write_table(table, stream, compression="zstd")


def _schema() -> object:
    import pyarrow as pa

    types = {"str": pa.string(), "int": pa.int64(), "float": pa.float64(), "bool": pa.bool_()}
    return pa.schema(
        [
            pa.field(field.name, types[str(field.type).removesuffix(" | None")])
            for field in dataclasses.fields(SpeedtestCell)
        ]
    )
