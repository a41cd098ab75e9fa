"""Logs of real applications. What is expected was counted with grep and jq, and agrees with Spark's history server.

For instance ``jq -s 'map(."Task Metrics"."Executor CPU Time" // 0) | add'`` over the lines of the ends of tasks.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import pytest

from nodewise.core.errors import InputError
from nodewise.eventlogs.layout import find_log
from nodewise.eventlogs.reader import read_application
from nodewise.eventlogs.records import result_of


@pytest.fixture
def logs(test_data: Path) -> Path:
    folder = test_data / "eventlogs"
    if not folder.is_dir():
        pytest.skip(f"no event logs at {folder}")
    return folder


class Expected(NamedTuple):
    app_id: str
    spark_version: str
    stages: int
    tasks: int
    executors: int
    cores: int
    ms: int
    run_ms: int
    cpu_ns: int
    complete: bool = True
    failed: int = 0
    unreadable: int = 0


LOGS = {
    "cluster_information/eventlog_3nodes_12cores_multiple_executors": Expected(
        # The line that adds executor 1 stands twice.
        "local-1651187225439",
        "3.1.1",
        3,
        3,
        4,
        48,
        1651187579832 - 1651187224195,
        806,
        690153301,
    ),
    "cluster_information/eventlog_4nodes_8cores_dynamic_alloc.zstd": Expected(
        # 15 executors of 4 cores came, 14 went; 7 were there when number 14 came.
        "application_1707709865217_0493",
        "3.2.1",
        20,
        235,
        15,
        28,
        1727966197896 - 1727965992605,
        173557,
        122204209080,
    ),
    "cluster_information/platform/databricks-azure": Expected(
        "local-1726394182053-db", "3.1.1", 3, 3, 2, 16, 1651187579832 - 1651187224195, 806, 690153301
    ),
    "cluster_information/platform/dataproc": Expected(
        # No end: to the last task.
        "local-1622043423016",
        "3.1.1",
        3,
        21,
        2,
        16,
        1622043428457 - 1622043422343,
        8648,
        5430127402,
        complete=False,
    ),
    "db_sim_eventlog": Expected(
        "local-1623876083964", "3.1.1", 4, 2672 + 129, 1, 12, 1623876217227 - 1623876083370, 1401278, 1278607618550
    ),
    "eventlog_v2_local-1623876083964": Expected(
        "local-1623876083964", "3.1.1", 4, 2672 + 129, 1, 12, 1623876217227 - 1623876083370, 1401278, 1278607618550
    ),
    "malformed_json_eventlog.zstd": Expected(
        # Executor 1 with 4 cores went, then four of 2 and four of 4 came.
        "application_1603128018386_7759",
        "3.1.1",
        5,
        217,
        9,
        24,
        1622846444815 - 1622846324825,
        28808,
        19842016313,
        unreadable=1,
    ),
    "nds_q72_dataproc_2_2.zstd": Expected(
        "application_1751493828576_0001",
        "3.5.3",
        49,
        13504,
        8,
        128,
        1751494028927 - 1751493912198,
        8103020,
        5836670357887,
    ),
    "python_udf_eventlog": Expected(
        "local-1774375206936", "3.5.5", 2, 2, 1, 1, 1774375208728 - 1774375206644, 535, 121915284
    ),
    "rdd_only_eventlog": Expected(
        "local-1623280648631", "3.1.1", 1, 1, 1, 12, 1623280717022 - 1623280648014, 27, 25822551
    ),
    "spark2-eventlog.zstd": Expected(
        "local-1634253215009", "2.2.3", 6, 6, 1, 8, 1634253261073 - 1634253214010, 275, 189421324
    ),
    "tasks_executors_fail_compressed_eventlog.zstd": Expected(
        # 8577 ended well, 1 by the loss of its executor, 2 by failed fetches; 50 of the first were resubmitted.
        "application_1603128018386_7846",
        "3.1.1",
        135,
        8630,
        8,
        32,
        1623285426936 - 1623285329454,
        28326,
        28959886111,
        failed=53,
    ),
    "truncated_eventlog": Expected(
        "local-1622043423018", "3.1.1", 3, 21, 1, 12, 1622043428457 - 1622043422343, 8648, 5430127402, complete=False
    ),
    "xgboost_eventlog.zstd": Expected(
        # No end: to the end of the last job.
        "app-20221221223542-0001",
        "3.2.1",
        12,
        155,
        2,
        16,
        1671662962490 - 1671662138929,
        3827302,
        2785815196867,
        complete=False,
    ),
}


@pytest.mark.parametrize("name", LOGS)
def test_a_real_log_comes_to_what_it_should(name: str, logs: Path) -> None:
    result = result_of(read_application(logs / name), "run-1")

    assert LOGS[name] == Expected(
        app_id=str(result.app_id),
        spark_version=str(result.spark_version),
        stages=result.stages,
        tasks=result.tasks,
        executors=result.executors,
        cores=result.cores,
        ms=round(result.seconds * 1e3),
        run_ms=round(result.executor_run_seconds * 1e3),
        cpu_ns=round(result.executor_cpu_seconds * 1e9),
        complete=result.complete,
        failed=result.failed_tasks,
        unreadable=result.unreadable_lines,
    )


def test_every_real_log_is_expected(logs: Path) -> None:
    inside = ("db_sim_eventlog", "eventlog_v2_local-1623876083964")
    files = {
        str(path.relative_to(logs)) for path in logs.rglob("*") if path.is_file() and path.parent.name not in inside
    }

    assert files | set(inside) == set(LOGS)


def test_the_parts_of_a_log_are_its_sum(logs: Path) -> None:
    whole = read_application(logs / "db_sim_eventlog")
    older = read_application(logs / "db_sim_eventlog" / "eventlog-2021-06-15--15-00.gz")
    newer = read_application(logs / "db_sim_eventlog" / "eventlog")

    assert whole.tasks == older.tasks + newer.tasks
    assert (older.is_complete, newer.is_complete) == (False, True)
    assert (newer.app_id, len(newer.executors)) == (None, 0)


def test_the_malformed_line_is_named(logs: Path) -> None:
    (line,) = read_application(logs / "malformed_json_eventlog.zstd").unreadable

    assert (line.file, line.line) == ("malformed_json_eventlog.zstd", 4)
    assert line.reason == "not JSON: Expecting property name enclosed in double quotes: line 1 column 43 (char 42)"


def test_failed_tasks_and_lost_executors_are_told_apart(logs: Path) -> None:
    app = read_application(logs / "tasks_executors_fail_compressed_eventlog.zstd")

    reasons = {task.reason for task in app.tasks if task.outcome != "succeeded"}
    assert reasons == {"ExecutorLostFailure", "FetchFailed", "Resubmitted"}
    assert (app.task_counts.succeeded, app.task_counts.resubmitted) == (8577, 50)
    assert [executor.executor_id for executor in app.executors if executor.removed_because] == ["2", "1"]
    assert sum(stage.failure is not None for stage in app.stages) == 1
    assert app.failure == "its last job, number 79, failed: Job 79 cancelled because SparkContext was shut down"


def test_the_parts_of_a_tasks_time_never_exceed_it(logs: Path) -> None:
    for task in read_application(logs / "nds_q72_dataproc_2_2.zstd").tasks:
        parts = task.deserialize_s + task.run_s + task.result_serialize_s + task.getting_result_s
        # Each is whole milliseconds, rounded by itself.
        assert parts <= task.wall_s + 0.004
        assert task.fetch_wait_s + task.shuffle_write_s <= task.run_s + 0.004


def test_of_a_folder_of_several_logs_none_is_chosen(logs: Path) -> None:
    with pytest.raises(InputError, match="holds 4 event logs"):
        find_log(logs / "cluster_information")
