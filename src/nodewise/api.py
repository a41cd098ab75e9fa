"""The jobs and comparisons as Python functions: what the command line calls.

All take an engine by name (``local``, ``spark``, ``ray``) and a number of nodes, which are emulated on this machine
unless ``address`` names a cluster. Every call is a run in the workspace.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from datetime import date
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Literal, TypedDict, Unpack

from nodewise.core.errors import InputError
from nodewise.core.machine import machine_cores
from nodewise.core.progress import SILENT, Progress
from nodewise.metering.prices import node_type_names
from nodewise.specs.checks import check_compare, check_prepare, check_score, check_train
from nodewise.specs.cluster import EngineName
from nodewise.specs.cluster_checks import check_scenario
from nodewise.specs.costs import CostsResult
from nodewise.specs.job import (
    Compression,
    Encoding,
    Fit,
    Optimizer,
    Precision,
    PrepareSpec,
    ProgramChoice,
    Recipe,
    Resample,
    ScaleRule,
    Schedule,
    ScoreSpec,
    ShardFormat,
    SpeedtestSpec,
    Strategy,
    Subsampling,
    TrainSpec,
)
from nodewise.specs.results import (
    CheckResult,
    CommandResult,
    ComparisonResult,
    EventLogResult,
    PrepareResult,
    ScoreResult,
    SpeedtestResult,
    TrainResult,
)
from nodewise.specs.scenario import CompareSpec, DatasetSpec, Scenario
from nodewise.workspace import Workspace, find_workspace

if TYPE_CHECKING:
    from nodewise.metering.pricing import Pricing
    from nodewise.runs.session import Session
    from nodewise.shards.stats import DataStats

# Each function imports what its job needs: PyTorch alone takes longer to load than a small `prepare` to run.

__all__ = [
    "RunOptions",
    "check_data",
    "compare",
    "costs",
    "data_stats",
    "import_eventlog",
    "prepare",
    "run",
    "score",
    "speedtest",
    "train",
]

StrPath = str | PathLike[str]


class RunOptions(TypedDict, total=False):
    """Where a job runs and where its run is kept; every key may be left out.

    Attributes:
        engine: ``local`` (the default), ``spark`` or ``ray``.
        nodes: How many; 1 by default.
        cores_per_node: Task slots per node, and threads of a training worker; by default an equal share of this
            machine's cores, at least one.
        cpus_per_node: CPUs that an emulated node may use, such as 0.25; by default an equal share of this machine's
            cores, and no limit for a single node.
        memory_per_node: Of an emulated node, ``"512MiB"``; no limit by default.
        network_per_node: Rate of an emulated node's link, each way, ``"100Mbit/s"``; no limit by default.
        latency_per_node: Added to what an emulated node sends, ``"5ms"``; nothing by default.
        node_type: Name in the table of node types, for the price.
        address: Spark master URL or Ray address of a cluster that is up; by default the nodes are emulated here.
        port: Port of the emulated cluster's Spark master or Ray head; any free one by default.
        cluster: Name of a cluster of ``nodewise clusters`` to run on, in place of all of the above.
        preflight: Whether to look, before anything is started, for what would fail; True by default.
        tags: Names and values that the run's cost is filed under.
        workspace: Folder; ``NODEWISE_WORKSPACE``, else ``./.nodewise``, by default.
        progress: Is told what happens; nobody is by default.
    """

    engine: EngineName
    nodes: int
    cores_per_node: int | None
    cpus_per_node: float | None
    memory_per_node: str | None
    network_per_node: str | None
    latency_per_node: str | None
    node_type: str | None
    address: str | None
    port: int | None
    cluster: str | None
    preflight: bool
    tags: dict[str, str]
    workspace: StrPath | None
    progress: Progress


def prepare(
    source: StrPath,
    dest: StrPath,
    *,
    size: int | None = None,
    fit: Fit = "cover",
    resample: Resample = "bilinear",
    sample: float = 1.0,
    test_fraction: float = 0.2,
    seed: int = 0,
    shard_format: ShardFormat = "tfrecord",
    shard_records: int = 230,
    shard_bytes: int | None = None,
    encoding: Encoding | None = None,
    quality: int = 95,
    subsampling: Subsampling = "444",
    optimize: bool = False,
    max_pixels: int = 100_000_000,
    max_bad: float = 0.01,
    strict: bool = False,
    overwrite: bool = False,
    **options: Unpack[RunOptions],
) -> PrepareResult:
    """Turn a collection of images into shards.

    A run that was cut off goes on where it stopped when the same call is made again.

    Args:
        source: A folder with a sub-folder per class, CIFAR-10's batches, an archive of either, or a data set's name.
        dest: Folder for the shards; new or empty, unless ``overwrite`` is set.
        size, fit, resample, sample, test_fraction, seed, shard_format, shard_records, shard_bytes, encoding, quality,
            subsampling, optimize, max_pixels, max_bad, strict: See :class:`~nodewise.specs.job.PrepareSpec`.

    Raises:
        InputError: The request cannot be carried out; nothing was started.
        NodewiseError: The run failed; it is in the workspace with its reason.

    Example:
        >>> nodewise.prepare("digits", "shards", size=32, nodes=2).records  # doctest: +SKIP
        1797
    """
    from nodewise.data.datasets import resolve_source
    from nodewise.data.sources import open_source
    from nodewise.jobs.prepare import PrepareJob
    from nodewise.jobs.prepare_folder import claim_folder
    from nodewise.runs.steps import run_prepare

    spec = PrepareSpec(
        size=size,
        fit=fit,
        resample=resample,
        sample=sample,
        test_fraction=test_fraction,
        seed=seed,
        shard_format=shard_format,
        shard_records=shard_records,
        shard_bytes=shard_bytes,
        encoding=encoding,
        quality=quality,
        subsampling=subsampling,
        optimize=optimize,
        max_pixels=max_pixels,
        max_bad=max_bad,
        strict=strict,
    )
    check_prepare(spec)
    place = _Place(options)
    place.preflight(inputs=(str(source),), output=Path(dest))
    found = open_source(resolve_source(str(source), place.workspace.datasets_dir, Path.cwd(), place.progress))
    job = PrepareJob(found, spec)
    with claim_folder(Path(dest).absolute(), job.fingerprint(), overwrite=overwrite) as folder:
        if folder.num_resumed:
            place.progress.note(f"going on with an earlier run that had done {folder.num_resumed} shards")
        place.note_tasks(len(job.plan(folder)))
        with place.session("prepare", PrepareJob.modules) as session:
            return run_prepare(session, job, folder)


def train(
    shards: StrPath,
    *,
    model: str = "cnn",
    recipe: Recipe = "standard",
    strategy: Strategy | None = None,
    epochs: int = 5,
    batch_size: int = 128,
    learning_rate: float | None = None,
    scale_lr: ScaleRule = "sqrt",
    optimizer: Optimizer = "muon",
    schedule: Schedule = "one-cycle",
    warmup: float = 0.2,
    precision: Precision = "auto",
    compression: Compression = "none",
    servers: int = 1,
    workers_per_node: int = 1,
    is_async: bool = False,
    max_staleness: int = 4,
    average_every: int | None = None,
    checkpoint_every: int | None = None,
    max_restarts: int = 3,
    seed: int = 0,
    output: StrPath | None = None,
    checkpoint_dir: StrPath | None = None,
    resume: bool = False,
    report: StrPath | None = None,
    **options: Unpack[RunOptions],
) -> TrainResult:
    """Train a classifier on prepared shards, one worker per node.

    Args:
        shards: Folder that :func:`prepare` wrote.
        model, recipe, ..., seed: See :class:`~nodewise.specs.job.TrainSpec`.
        output: File for the model; None: ``model.safetensors`` in the run's folder.
        checkpoint_dir: Folder for the checkpoints, which stay there; None: beside the model until training has ended.
        resume: Go on from the newest checkpoint there.
        report: File for the HTML report, beside ``report.html`` in the run's folder.

    Raises:
        InputError: The request cannot be carried out; nothing was started.
        NodewiseError: The run failed; it is in the workspace with its reason.
    """
    from nodewise.jobs.train import TrainJob
    from nodewise.preflight.dependencies import require_torch
    from nodewise.runs.steps import default_checkpoint_dir, run_train
    from nodewise.runs.train_report import write_train_report
    from nodewise.shards.manifest import read_manifest

    require_torch()
    spec = TrainSpec(
        model=model,
        recipe=recipe,
        strategy=strategy,
        epochs=epochs,
        batch_size=batch_size,
        learning_rate=learning_rate,
        scale_lr=scale_lr,
        optimizer=optimizer,
        schedule=schedule,
        warmup=warmup,
        precision=precision,
        compression=compression,
        servers=servers,
        workers_per_node=workers_per_node,
        is_async=is_async,
        max_staleness=max_staleness,
        average_every=average_every,
        checkpoint_every=checkpoint_every,
        max_restarts=max_restarts,
        seed=seed,
    )
    check_train(spec)
    place = _Place(options)
    folder = Path(shards).absolute()
    job = TrainJob(folder, read_manifest(folder), spec, place.cluster)
    model_path = Path(output).absolute() if output else None
    checkpoints = Path(checkpoint_dir).absolute() if checkpoint_dir else None
    if resume:
        job.check_resumable(checkpoints or (default_checkpoint_dir(model_path) if model_path else None))
    if report and Path(report).is_dir():
        raise InputError(f"{report} is a folder", hint="give the path of a file for the report")
    place.preflight()
    with place.session("train") as session:
        own_report = session.folder / "report.html"
        report_path = Path(report).absolute() if report else own_report
        result = run_train(
            session,
            job,
            model_path or session.folder / "model.safetensors",
            checkpoints,
            is_resumed=resume,
            report=report_path,
        )
    write_train_report({own_report, report_path}, session, job, result)
    return result


def score(
    shards: StrPath,
    model: StrPath,
    *,
    split: Literal["test", "train", "all"] = "test",
    batch_size: int | None = None,
    output: StrPath | None = None,
    report: StrPath | None = None,
    **options: Unpack[RunOptions],
) -> ScoreResult:
    """Predict the class of every record and write the predictions as Parquet.

    Args:
        shards: Folder that :func:`prepare` wrote.
        model: File that :func:`train` wrote, or the name of a registered one: ``models:/flowers@champion``.
        output: Folder for the predictions; None: ``predictions`` in the run's folder.
        report: File for the HTML report, beside ``report.html`` in the run's folder.
        split, batch_size: See :class:`~nodewise.specs.job.ScoreSpec`.

    Raises:
        InputError: The request cannot be carried out; nothing was started.
        NodewiseError: The run failed; it is in the workspace with its reason.
    """
    from nodewise.jobs.score import ScoreJob, claim_predictions
    from nodewise.preflight.dependencies import require_torch
    from nodewise.runs.steps import run_score
    from nodewise.shards.manifest import read_manifest
    from nodewise.tracking.resolve import resolve_model

    require_torch()
    spec = ScoreSpec(split=split, batch_size=batch_size)
    check_score(spec)
    place = _Place(options)
    folder = Path(shards).absolute()
    manifest = read_manifest(folder)
    job = ScoreJob(folder, manifest, resolve_model(model, place.workspace), spec)
    if report and Path(report).is_dir():
        raise InputError(f"{report} is a folder", hint="give the path of a file for the report")
    place.preflight()
    if output:
        claim_predictions(Path(output).absolute())
    with place.session("score", ScoreJob.modules) as session:
        own_report = session.folder / "report.html"
        report_path = Path(report).absolute() if report else own_report
        dest = Path(output).absolute() if output else session.folder / "predictions"
        result = run_score(session, job, dest, report_path)
    from nodewise.runs.score_report import write_score_report

    write_score_report({own_report, report_path}, session, job, manifest, result)
    return result


def compare(
    spec: CompareSpec | StrPath,
    *,
    source: StrPath | None = None,
    repeat: int | None = None,
    report: StrPath | None = None,
    workspace: StrPath | None = None,
    preflight: bool = True,
    progress: Progress = SILENT,
) -> ComparisonResult:
    """Run the same jobs in every scenario and put them side by side.

    Args:
        spec: A comparison, or the YAML file that holds one. Relative paths in it are taken from the file's folder, or
            from the current one.
        source: Images to use instead of those that the comparison names, as in :func:`prepare`.
        repeat: Runs per scenario instead of what the comparison says.
        preflight: Whether to look, before anything is started, for what would fail.
        report: File for the HTML report; None: one in the workspace.

    Raises:
        InputError: The comparison cannot be carried out; nothing was started.
        NodewiseError: Not one scenario could be run to its end.
    """
    from nodewise.preflight.dependencies import require_torch
    from nodewise.runs.compare import run_comparison
    from nodewise.specs.codec import load_compare

    base = Path.cwd()
    if not isinstance(spec, CompareSpec):
        base = Path(spec).absolute().parent
        spec = load_compare(Path(spec), node_type_names=node_type_names())
    if source is not None:
        # Typed by the user, hence from where the user stands.
        base, spec = Path.cwd(), replace(spec, dataset=DatasetSpec(source=str(source)))
    if repeat is not None:
        spec = replace(spec, repeat=repeat)
    check_compare(spec, node_type_names=node_type_names())
    if spec.jobs.command is None:
        require_torch()
    store = Workspace(find_workspace(str(workspace) if workspace else None))
    report_path = Path(report).absolute() if report else None
    return run_comparison(spec, store, base, report_path, progress, preflight=preflight)


def speedtest(
    *data: StrPath,
    batch_sizes: Sequence[int] = (2, 4, 6, 8),
    batch_counts: Sequence[int] = (3, 6, 12, 18),
    repeat: int = 3,
    readers: Sequence[str] | None = None,
    size: int = 192,
    cold: bool | None = None,
    cache: bool = True,
    seed: int = 0,
    report: StrPath | None = None,
    **options: Unpack[RunOptions],
) -> SpeedtestResult:
    """Measure how fast readers deliver images, over batch size x batch count x repetition.

    Args:
        data: Folders of image files or of shards, archives, or names of data sets.
        batch_sizes, batch_counts, repeat, readers, size, cold, cache, seed: See
            :class:`~nodewise.specs.job.SpeedtestSpec`.
        report: File for the HTML report; None: one in the workspace.

    Raises:
        InputError: The request cannot be carried out; nothing was started.
        NodewiseError: The run failed; it is in the workspace with its reason.
    """
    from nodewise.runs.speedtest import run_speedtest

    spec = SpeedtestSpec(
        batch_sizes=tuple(batch_sizes),
        batch_counts=tuple(batch_counts),
        repeat=repeat,
        readers=None if readers is None else tuple(readers),
        size=size,
        cold=cold,
        cache=cache,
        seed=seed,
    )
    place = _Place(options)
    place.preflight()
    return run_speedtest(
        [str(one) for one in data],
        spec,
        place.cluster,
        place.workspace,
        Path(report).absolute() if report else None,
        place.progress,
        tags=place.tags,
        cluster_name=place.cluster_name,
    )


def run(
    command: Sequence[str],
    *,
    kind: ProgramChoice = "auto",
    output: StrPath | None = None,
    stdout: BinaryIO | None = None,
    stderr: BinaryIO | None = None,
    **options: Unpack[RunOptions],
) -> CommandResult:
    """Run any program on a cluster, under the meter.

    Args:
        command: The program and its arguments; no shell looks at them.
        kind: ``auto`` looks at what the script imports; see :func:`nodewise.jobs.command.recognise`.
        output: Folder for logs, event log and executed notebook; None: the run's own.
        stdout, stderr: Where its output goes as it comes; None: to where this process's goes.

    Raises:
        InputError: The request cannot be carried out; nothing was started.
        ProgramFailedError: The program ended with another status than 0.
        NodewiseError: The run failed for another reason; it is in the workspace with it.

    Example:
        >>> nodewise.run(["python", "pi.py"], engine="spark", nodes=2).exit_status  # doctest: +SKIP
        0
    """
    from nodewise.jobs.command import recognise
    from nodewise.preflight.dependencies import require_for_program
    from nodewise.runs.command import run_program
    from nodewise.runs.program import bytes_of

    place = _Place(options)
    program = recognise(command, kind, place.cluster.engine, Path.cwd())
    require_for_program(program.kind)
    place.preflight(script=program.source)
    with place.session("run", connect=False) as session:
        return run_program(
            session,
            program,
            Path(output).absolute() if output else session.folder,
            stdout=stdout or bytes_of(sys.stdout),
            stderr=stderr or bytes_of(sys.stderr),
        )


def check_data(path: StrPath, *, progress: Progress = SILENT) -> CheckResult:
    """Check shards: every checksum, image, class and count; see :func:`nodewise.shards.check.check_shards`."""
    from nodewise.shards.check import check_shards

    return check_shards(Path(path), progress)


def data_stats(path: StrPath, *, progress: Progress = SILENT) -> DataStats:
    """What is in a folder of shards or of images; see :func:`nodewise.shards.stats.collect_stats`."""
    from nodewise.shards.stats import collect_stats

    return collect_stats(Path(path), progress)


def import_eventlog(
    path: StrPath, *, again: bool = False, workspace: StrPath | None = None, progress: Progress = SILENT
) -> EventLogResult:
    """Keep a Spark application that ran elsewhere as a run, from its event log.

    Args:
        path: The log's file, its folder, or a folder below which no other log lies.
        again: Import it also if the application is in the workspace already; else its result from then is returned.

    Raises:
        InputError: There is no event log there, or it cannot be read. Nothing was kept.
    """
    from nodewise.runs.eventlog import import_log

    return import_log(
        Path(path), Workspace(find_workspace(str(workspace) if workspace else None)), progress, again=again
    )


def costs(
    by: str = "cluster",
    *,
    since: date | None = None,
    until: date | None = None,
    workspace: StrPath | None = None,
) -> CostsResult:
    """What nodes have cost, beside it what imported bills say; see :func:`nodewise.billing.costs.collect_costs`.

    Args:
        by: ``tag:NAME``, ``cluster``, ``job``, ``user`` or ``day``.
        since, until: First and last day (UTC).
        workspace: Folder; ``NODEWISE_WORKSPACE``, else ``./.nodewise``, by default.

    Raises:
        InputError: There is no such grouping, or the days are the wrong way round.
    """
    from nodewise.billing.costs import collect_costs

    return collect_costs(Workspace(find_workspace(str(workspace) if workspace else None)), by, since=since, until=until)


class _Place:
    """What the options of a call come to: a cluster with its price, and the workspace."""

    def __init__(self, options: RunOptions) -> None:
        workspace = options.get("workspace")
        self.progress = options.get("progress", SILENT)
        self.workspace = Workspace(find_workspace(str(workspace) if workspace else None))
        self.tags = options.get("tags")
        asked = Scenario(
            name="",
            engine=options.get("engine", "local"),
            nodes=options.get("nodes", 1),
            cores_per_node=options.get("cores_per_node"),
            cpus_per_node=options.get("cpus_per_node"),
            memory_per_node=options.get("memory_per_node"),
            network_per_node=options.get("network_per_node"),
            latency_per_node=options.get("latency_per_node"),
            node_type=options.get("node_type"),
            address=options.get("address"),
            port=options.get("port"),
            tags=self.tags or {},
        )
        check_scenario(asked, node_type_names=node_type_names())
        cores = machine_cores()
        # One node alone is the machine; only where there are several does each need a share of it.
        share = cores / asked.nodes if asked.nodes > 1 else None
        self.cluster = asked.cluster(max(1, cores // asked.nodes), share)
        self.cluster_name = options.get("cluster")
        self.pricing: Pricing | None = None
        self._is_checked = options.get("preflight", True)
        self._libraries: tuple[str, ...] = ()
        if self.cluster_name is not None:
            self._take(self.cluster_name)

    def _take(self, name: str) -> None:
        """Run on a cluster that is up, instead of on one as the other options say."""
        from nodewise.clusters.lifecycle import find_cluster
        from nodewise.clusters.plan import plan_from_json

        record = find_cluster(self.workspace, name)
        plan = plan_from_json(record.definition)
        self.cluster = replace(plan.cluster, nodes=plan.autoscale[1] if plan.autoscale else record.nodes)
        self.pricing = plan.pricing
        self._libraries = plan.libraries

    def preflight(self, *, inputs: Sequence[str] = (), output: Path | None = None, script: Path | None = None) -> None:
        """Look, before anything is started, for what would fail, unless that is not wanted.

        Raises:
            PreflightError: Something would.
        """
        if not self._is_checked:
            return
        from nodewise.preflight.check import require
        from nodewise.preflight.plan import Plan

        plan = Plan(
            cluster=self.cluster,
            workspace=self.workspace,
            is_up=self.cluster_name is not None,
            inputs=tuple(inputs),
            base=Path.cwd(),
            output=output,
            script=script,
            libraries=self._libraries,
            variables=os.environ,
            tags=self.tags or {},
        )
        require([plan], self.progress)

    def note_tasks(self, num_tasks: int) -> None:
        """Say so if the work is cut into too few tasks to keep the cluster busy."""
        if not self._is_checked:
            return
        from nodewise.preflight.machine import check_tasks
        from nodewise.preflight.plan import Plan

        for finding in check_tasks(Plan(cluster=self.cluster, workspace=self.workspace, num_tasks=num_tasks)):
            self.progress.note(f"{finding.text} ({finding.remedy})")

    def session(
        self, command: str, modules: Sequence[str] = (), *, connect: bool = True
    ) -> AbstractContextManager[Session]:
        from nodewise.runs.session import open_session

        return open_session(
            self.workspace,
            command,
            self.cluster,
            self.progress,
            modules=modules,
            pricing=self.pricing,
            tags=self.tags,
            cluster_name=self.cluster_name,
            connect=connect,
        )
