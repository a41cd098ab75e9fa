"""What the jobs and comparisons return, and write with ``--json``. Field names are a contract: add, never rename.

``emulation_tier`` says how far emulated nodes were kept apart (see :class:`~nodewise.specs.place.EmulationTier`); None
where none were emulated, or one node was the machine itself.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from nodewise.specs.training import LostWorker, WorkerEpoch

__all__ = [
    "CheckResult",
    "ClassScore",
    "CommandResult",
    "ComparisonResult",
    "EpochResult",
    "EventLogResult",
    "EventLogStage",
    "FaultyRecord",
    "NodeUsage",
    "PrepareResult",
    "ScenarioResult",
    "ScoreResult",
    "ShardInfo",
    "SkippedImage",
    "SpeedtestCell",
    "SpeedtestFit",
    "SpeedtestMean",
    "SpeedtestResult",
    "StageResult",
    "StageSpan",
    "TrainResult",
    "UnreadableLine",
    "UsageResult",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class SkippedImage:
    """An image that could not be decoded."""

    path: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ShardInfo:
    """One shard file: ``path`` (in a manifest the name alone), ``bytes`` its length, ``sha256`` its checksum."""

    path: str
    split: str
    records: int
    bytes: int
    sha256: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PrepareResult:
    """``seconds`` is the job itself; starting the engine took ``start_up_seconds`` more.

    ``resumed_tasks`` are those whose shards an earlier run had left that did not come to its end; ``records_per_s`` is
    that of the others.
    """

    records: int
    skipped: tuple[SkippedImage, ...]
    classes: tuple[str, ...]
    shards: tuple[ShardInfo, ...]
    seconds: float
    start_up_seconds: float
    records_per_s: float
    dest: str
    resumed_tasks: int = 0
    run_id: str = ""
    emulation_tier: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class EpochResult:
    """One pass over the training records, and the evaluation after it.

    Accuracies are shares of 1; ``test_accuracy`` is None if nothing is held out, and after epochs at whose end the
    workers of strategy ``average`` have no common weights.
    """

    epoch: int
    loss: float
    train_accuracy: float
    test_accuracy: float | None
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainResult:
    """A trained model.

    Attributes:
        accuracy: Of the held-out records after the last epoch.
        seconds: From the stage's start to its end: reading, training, evaluation, checkpoints.
        world_size: Number of workers.
        records: Training records.
        precision: ``float32`` or ``bf16``.
        steps: Optimiser steps of all epochs, those before a resumption included.
        workers: Every worker in every epoch.
        restarts: How often the whole group started again since a worker was lost.
        lost: Workers that were lost while the others went on.
        resumed_at_step: The step of the checkpoint that an earlier run had left; None: from the beginning.
        checkpoint_dir: Where the checkpoints are; None: none are kept.
        mean_staleness, max_staleness: How many steps workers were ahead of the slowest one, with asynchronous servers.
        report_path: The page that shows it; None: none was written.
    """

    model_path: str
    accuracy: float | None
    epochs: tuple[EpochResult, ...]
    seconds: float
    start_up_seconds: float
    world_size: int
    strategy: str
    records: int
    recipe: str = "standard"
    precision: str = "float32"
    steps: int = 0
    workers: tuple[WorkerEpoch, ...] = ()
    restarts: int = 0
    lost: tuple[LostWorker, ...] = ()
    resumed_at_step: int | None = None
    checkpoint_dir: str | None = None
    mean_staleness: float | None = None
    max_staleness: int | None = None
    run_id: str = ""
    emulation_tier: str | None = None
    report_path: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ClassScore:
    """One class among the scored records.

    Attributes:
        records: That are of this class.
        precision: Share of what was predicted to be of this class that is; None: nothing was.
        recall: Share of this class that was predicted to be of it; None: there is none.
    """

    name: str
    records: int
    precision: float | None
    recall: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoreResult:
    """Predictions.

    Attributes:
        predictions_path: A folder of Parquet files: record, label, predicted, probability.
        batch_size: Records per forward pass; of several workers that measured it, the most frequent.
        forward_records_per_s: What the network alone does with images in memory, measured on the same slots.
        classes: In the order of the manifest.
        confusion: Counts, a row per label and a column per predicted class, in that order.
        report_path: The page that shows it; None: none was written.
    """

    records: int
    accuracy: float | None
    predictions_path: str
    seconds: float
    start_up_seconds: float
    records_per_s: float
    split: str
    batch_size: int = 0
    forward_records_per_s: float | None = None
    classes: tuple[ClassScore, ...] = ()
    confusion: tuple[tuple[int, ...], ...] = ()
    run_id: str = ""
    emulation_tier: str | None = None
    report_path: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class CommandResult:
    """A program that was run on a cluster.

    Attributes:
        kind: ``spark``, ``ray``, ``notebook`` or ``program``.
        command: Its words, without secrets.
        exit_status: As a shell has it: 128 and the signal's number for one that a signal ended.
        seconds: From its start to its end; of a Spark program from when its executors were there.
        start_up_seconds: Billed time before that.
        stages: Spark's stages, the names of Ray's tasks; of other programs one.
        tasks: Attempts that succeeded; those of ``failed_tasks`` did not. The cells of a notebook are its tasks.
        stdout_path, stderr_path: What it wrote, without secrets. Ray writes both to the former.
        event_log_path: Of a Spark program.
        notebook_path: The executed notebook.
        cluster: The all-purpose cluster that it ran on; None: one of its own.
        notes: What to know when reading these numbers.
    """

    run_id: str
    kind: str
    command: tuple[str, ...]
    exit_status: int
    seconds: float
    start_up_seconds: float
    stages: int
    tasks: int
    failed_tasks: int
    stdout_path: str
    stderr_path: str
    event_log_path: str | None = None
    notebook_path: str | None = None
    cluster: str | None = None
    engine: str = "local"
    nodes: int = 1
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class StageResult:
    """A stage of a scenario: the median over its runs, with the range.

    Attributes:
        cpu_fraction: CPU seconds of the tasks over the seconds that all slots had in this stage, 0 to 1 (more if a task
            used more threads than its slot has cores).
        num_tasks: Tasks that the stage was cut into.
        cost_usd: The share of the scenario's cost that these seconds make.
    """

    name: str
    seconds: float
    records: int
    seconds_min: float
    seconds_max: float
    records_per_s: float
    num_tasks: int
    cpu_fraction: float
    retries: int
    cost_usd: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class StageSpan:
    """When a stage ran, in seconds since the run began."""

    name: str
    started_s: float
    ended_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeUsage:
    """One node over time: a value per step, None where it was not measured.

    Attributes:
        node: ``node-0`` ..., ``driver`` for the process that started the run, ``machine`` for all of this machine.
        cpu_cores: Cores in use.
        received_bits_per_s, sent_bits_per_s: Over its link; empty where it shares the machine's.
        gpu_fraction: Of all GPUs; empty where there is none.
    """

    node: str
    cpu_cores: tuple[float | None, ...]
    memory_bytes: tuple[int | None, ...]
    received_bits_per_s: tuple[int | None, ...] = ()
    sent_bits_per_s: tuple[int | None, ...] = ()
    gpu_fraction: tuple[float | None, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class UsageResult:
    """What the nodes of one run used over time, at no more than 200 steps.

    Attributes:
        run_id: The run, of several the one with the median time.
        step_s: Length of a step; values are means over it, but memory, which is the most.
        start_up_s, ended_s: When the cluster was ready, and when the run was over.
        cpus, memory_limit_bytes, network_limit_bits_per_s: What each node could use; None: no limit.
    """

    run_id: str
    step_s: float
    nodes: tuple[NodeUsage, ...]
    stages: tuple[StageSpan, ...]
    start_up_s: float
    ended_s: float
    cpus: float | None = None
    memory_limit_bytes: int | None = None
    network_limit_bits_per_s: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ScenarioResult:
    """A scenario: medians over its ``repeats`` runs.

    Attributes:
        seconds: Billed time, from the start of the cluster to its stop.
        start_up_seconds, stop_seconds: The parts of it before the first and after the last job.
        cost_usd: Nodes x price x billed time, with the platform fee where asked for; None where no price is known. For
            an emulated scenario: what the node type would cost at this speed, not a bill.
        price_usd_per_hour: Of one node, platform fee included.
        price_note: The price's source and date.
        time_split: What the nodes did from when the cluster was ready until it was stopped, of the run with the median
            time: shares of 1 by ``compute``, ``read_write``, ``communicate``, ``wait`` and ``idle``; empty where that
            was not measured.
        ideal_seconds: What that run would have taken if its nodes had done nothing but compute, each the same share.
        limited_by: ``cpu``, ``storage``, ``network``, ``driver``, ``partitions``, ``skew``, ``start-up`` or ``memory``.
        limit_sentence: That in words, with the numbers.
        emulation_tier: How far emulated nodes were kept apart: ``namespaces``, ``cgroups`` or ``processes``.
        usage: What its nodes used over time; None where that was not recorded.
    """

    name: str
    engine: str
    emulated: bool
    nodes: int
    cores_per_node: int
    node_type: str | None
    stages: tuple[StageResult, ...]
    seconds: float
    seconds_min: float
    seconds_max: float
    start_up_seconds: float
    stop_seconds: float
    cost_usd: float | None
    price_usd_per_hour: float | None
    price_note: str
    accuracy: float | None
    records: int
    skipped: int
    repeats: int
    run_ids: tuple[str, ...]
    tags: dict[str, str]
    epochs: tuple[EpochResult, ...]
    time_split: dict[str, float] = field(default_factory=dict)
    ideal_seconds: float | None = None
    limited_by: str | None = None
    limit_sentence: str = ""
    emulation_tier: str | None = None
    usage: UsageResult | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ComparisonResult:
    """Scenarios side by side.

    Attributes:
        speedup: Baseline's seconds over the scenario's, by name: above 1 is faster.
        work_speedup: The same without start-up and stop of the clusters.
        efficiency: Speedup per node, relative to the baseline's nodes.
        cost_ratio: The scenario's cost over the baseline's, by name; a scenario without a price is left out.
        left_out: Scenarios that could not run here, or whose run failed, with the reason.
        failed: Those of them whose run failed.
        verdict: Two or three sentences written from these numbers.
    """

    name: str
    experiment: str
    scenarios: tuple[ScenarioResult, ...]
    baseline: str
    speedup: dict[str, float]
    work_speedup: dict[str, float]
    efficiency: dict[str, float]
    cost_ratio: dict[str, float]
    left_out: dict[str, str]
    machine_cores: int
    verdict: str
    report_path: str
    failed: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class FaultyRecord:
    """Where a shard is damaged: ``record`` counts from 0, ``offset`` is the byte at which the record starts.

    Both are None if the file as a whole is at fault (missing, of another length, not as many records as it should).
    """

    path: str
    record: int | None
    offset: int | None
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckResult:
    """``records`` is how many were found to be whole; ``classes`` counts them by class name."""

    records: int
    bad: tuple[FaultyRecord, ...]
    shards: int = 0
    classes: dict[str, int] = field(default_factory=dict)
    seconds: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class SpeedtestCell:
    """One measurement: ``batch_count`` batches of ``batch_size`` images read from a source by a reader.

    Attributes:
        source: What was read, by name.
        reader: ``nodewise``, ``tf.data``, ``torch``, ``webdataset`` or ``ray.data``.
        repeat: Number of the repetition, from 0.
        records: Images that were delivered.
        short: Fewer than ``batch_size * batch_count`` were; then there is no rate.
        seconds: From asking for the first batch to having the last one; without ``start_seconds``.
        records_per_s: None if short.
        from_cache: Share of the bytes used that came from the page cache, 0 to 1; None where it cannot be measured.
        bytes: Of the records as they are stored.
        pixel_bytes: Of the arrays that were delivered.
        device_bytes: Read from the storage device meanwhile, read-ahead included; None where it cannot be measured.
        ids_sha256: Over the ids of the records in order of delivery, one to a line.
        start_seconds: Opening the reader (import of its library apart), before the first batch was asked for.
        node: Where it ran.
    """

    source: str
    reader: str
    batch_size: int
    batch_count: int
    repeat: int
    records: int
    short: bool
    seconds: float
    records_per_s: float | None
    from_cache: float | None
    bytes: int
    pixel_bytes: int
    device_bytes: int | None
    ids_sha256: str
    start_seconds: float
    node: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class SpeedtestMean:
    """Mean rate of the cells of a source and reader at one value of a parameter; short cells are left out.

    ``parameter`` is ``batch_size``, ``batch_count``, ``records`` (batch size x batch count), ``repeat`` or ``all``
    (then ``value`` is 0); ``n`` the number of cells.
    """

    source: str
    reader: str
    parameter: str
    value: int
    records_per_s: float
    n: int
    records_per_s_sd: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SpeedtestFit:
    """A model fitted to the cells of a source and reader by least squares.

    Attributes:
        formula: Such as ``records_per_s = a + b * batch_size`` or ``seconds = start + per_record * records +
            per_batch * batches``.
        coefficients, standard_errors: By the names in the formula, in the units that it implies.
        r2: Share of the variance of the formula's left side that it explains.
        cv_error: Root mean square of the relative error of the predicted rate on settings left out of the fit.
        best: The smallest ``cv_error`` of this source and reader.
    """

    source: str
    reader: str
    formula: str
    coefficients: dict[str, float]
    standard_errors: dict[str, float]
    r2: float
    cv_error: float
    n: int
    best: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class SpeedtestResult:
    """Cells, what they come to, and one paragraph that says it.

    Attributes:
        left_out: Readers that were not measured, with the reason, by name.
        imports_s: Seconds that importing a reader's library took, by reader; None if it was loaded already.
        ceilings: Upper bounds measured on this machine, in records per second by source: ``decode``, ``read``.
        order: ``sequential`` or ``parallel``: whether cells ran one after another.
        cache: ``cold``, ``warm`` or ``as found``.
        recompute_seconds: On Spark without caching: what measuring again for the averages took.
    """

    cells: tuple[SpeedtestCell, ...]
    means: tuple[SpeedtestMean, ...]
    fits: tuple[SpeedtestFit, ...]
    sentence: str
    left_out: dict[str, str] = field(default_factory=dict)
    imports_s: dict[str, float | None] = field(default_factory=dict)
    ceilings: dict[str, dict[str, float]] = field(default_factory=dict)
    order: str = "sequential"
    cache: str = "as found"
    engine: str = "local"
    nodes: int = 1
    machine_cores: int = 1
    seconds: float = 0.0
    start_up_seconds: float = 0.0
    recompute_seconds: float | None = None
    report_path: str = ""
    table_path: str = ""
    run_id: str = ""
    emulation_tier: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class UnreadableLine:
    """A line of an event log that could not be read: ``line`` counts from 1."""

    file: str
    line: int
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class EventLogStage:
    """A stage of an imported application; the times of its tasks are wall times of those that succeeded."""

    name: str
    seconds: float
    tasks: int
    median_task_seconds: float
    max_task_seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class EventLogResult:
    """What an event log of a Spark application comes to.

    Attributes:
        app_id, app_name, spark_version: None where the log lacks its beginning.
        stages: Attempts at stages that were submitted; stages that Spark skipped are none.
        tasks: Ends of task attempts, as Spark's UI counts them: ``failed_tasks`` did not succeed, ``killed_tasks``
            neither (their result was no longer wanted), ``resubmitted_tasks`` are those of the failed that had
            succeeded, until their output was lost with its executor.
        executors: Distinct ones that were ever added.
        cores: Of all executors, the most at the same time.
        seconds: From the application's start to its end, or to the last job, stage or task if the log lacks its end.
        executor_run_seconds, executor_cpu_seconds: Sums over all tasks.
        busy_fraction: ``executor_run_seconds / (cores * seconds)``; None where either is unknown.
        status: ``FINISHED`` or ``FAILED``, then with the reason in ``failure``.
        complete: Whether the log has the application's end.
        longest_stages: By their wall time.
        unreadable: The first of the ``unreadable_lines``.
        notes: What to know when reading these numbers.
        imported_before: Whether the log was in the workspace already, so that nothing was read.
    """

    run_id: str
    app_id: str | None
    spark_version: str | None
    stages: int
    tasks: int
    failed_tasks: int
    executors: int
    cores: int
    seconds: float
    executor_run_seconds: float
    executor_cpu_seconds: float
    unreadable_lines: int
    app_name: str | None
    killed_tasks: int
    resubmitted_tasks: int
    busy_fraction: float | None
    status: str
    failure: str | None
    complete: bool
    longest_stages: tuple[EventLogStage, ...] = ()
    unreadable: tuple[UnreadableLine, ...] = ()
    notes: tuple[str, ...] = ()
    imported_before: bool = False
