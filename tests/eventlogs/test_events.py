from __future__ import annotations

import json
from typing import Any

import pytest

from nodewise.eventlogs.events import clean_text, parse_event, read_properties, read_task

from .small_logs import START_MS, task_end

SECOND = START_MS / 1000

METRICS = {
    "Executor Deserialize Time": 40,
    "Executor Deserialize CPU Time": 30_000_000,
    "Executor Run Time": 800,
    "Executor CPU Time": 500_000_000,
    "Peak Execution Memory": 4096,
    "Result Size": 2103,
    "JVM GC Time": 12,
    "Result Serialization Time": 10,
    "Memory Bytes Spilled": 7,
    "Disk Bytes Spilled": 3,
    "Shuffle Read Metrics": {
        "Fetch Wait Time": 25,
        "Remote Bytes Read": 100,
        "Local Bytes Read": 50,
        "Total Records Read": 9,
    },
    "Shuffle Write Metrics": {
        "Shuffle Bytes Written": 60,
        "Shuffle Write Time": 5_000_000,
        "Shuffle Records Written": 4,
    },
    "Input Metrics": {"Bytes Read": 1000, "Records Read": 20},
    "Output Metrics": {"Bytes Written": 300, "Records Written": 6},
    "Updated Blocks": [],
}


def test_all_of_a_task_is_read_in_seconds_and_bytes() -> None:
    event = task_end(5, 1000, 2000, stage_id=3, stage_attempt=1, attempt=2, metrics=METRICS, Speculative=True)
    event["Task Info"] |= {"Index": 4, "Partition ID": 17, "Getting Result Time": START_MS + 1900}

    task = read_task(event)

    assert (task.task_id, task.stage_id, task.stage_attempt, task.partition, task.attempt) == (5, 3, 1, 17, 2)
    assert (task.executor_id, task.node, task.reason, task.speculative) == ("1", "host-1", "Success", True)
    assert (task.started_at, task.ended_at) == (SECOND + 1, SECOND + 2)
    assert (task.deserialize_s, task.run_s, task.result_serialize_s) == (0.04, 0.8, 0.01)
    assert task.getting_result_s == pytest.approx(0.1, abs=1e-5)
    assert task.scheduler_delay_s == pytest.approx(0.05, abs=1e-5)  # instants are held to 0.2 us
    assert (task.cpu_s, task.deserialize_cpu_s, task.gc_s) == (0.5, 0.03, 0.012)
    assert (task.fetch_wait_s, task.shuffle_write_s) == (0.025, 0.005)
    assert (task.shuffle_read_bytes, task.shuffle_remote_bytes, task.shuffle_read_records) == (150, 100, 9)
    assert (task.shuffle_written_bytes, task.shuffle_written_records) == (60, 4)
    assert (task.memory_spilled_bytes, task.disk_spilled_bytes, task.result_bytes) == (7, 3, 2103)
    assert (task.input_bytes, task.input_records, task.output_bytes, task.output_records) == (1000, 20, 300, 6)
    assert task.peak_memory_bytes == 4096


def test_the_first_spark_2_wrote_less_and_lost_tasks_have_no_metrics() -> None:
    event = task_end(5, 1000, 2000)
    del event["Task Metrics"], event["Stage Attempt ID"]

    task = read_task(event)

    assert (task.partition, task.stage_attempt) == (5, 0)
    assert (task.run_s, task.cpu_s, task.shuffle_read_bytes, task.peak_memory_bytes) == (0, 0, 0, 0)
    assert task.scheduler_delay_s == 1


@pytest.mark.parametrize(
    ("executor", "peak"),
    [
        ({"ProcessTreeJVMRSSMemory": 5000, "ProcessTreePythonRSSMemory": 900, "JVMHeapMemory": 2000}, 5900),
        ({"ProcessTreeJVMRSSMemory": 0, "JVMHeapMemory": 3000, "JVMOffHeapMemory": 2000}, 5000),
        ({"ProcessTreeJVMRSSMemory": -1, "JVMHeapMemory": 0}, 4096),
    ],
)
def test_peak_memory_is_the_largest_figure_there_is(executor: dict[str, int], peak: int) -> None:
    event = task_end(5, 0, 1, metrics=METRICS) | {"Task Executor Metrics": executor}

    assert read_task(event).peak_memory_bytes == peak


@pytest.mark.parametrize(
    ("reason", "outcome"),
    [
        ("Success", "succeeded"),
        ("TaskKilled", "killed"),
        ("TaskCommitDenied", "killed"),
        ("ExceptionFailure", "failed"),
        ("Resubmitted", "failed"),
        ("SomethingNew", "failed"),
    ],
)
def test_outcomes_are_those_of_sparks_ui(reason: str, outcome: str) -> None:
    assert read_task(task_end(5, 0, 1, reason=reason)).outcome == outcome


@pytest.mark.parametrize(
    ("place", "key", "value"),
    [
        ("Task Info", "Task ID", "5"),
        ("Task Info", "Task ID", True),
        ("Task Info", "Task ID", 2**53 + 1),
        ("Task Info", "Launch Time", None),
        ("Task Info", "Launch Time", 1e12),
        ("Task Info", "Finish Time", 10**15),
        ("Task Info", "Executor ID", None),
        ("Task Info", "Host", 7),
        ("Task Metrics", "Executor Run Time", "fast"),
        ("Task Metrics", "Input Metrics", []),
        ("Task End Reason", "Reason", None),
    ],
)
def test_a_value_of_the_wrong_kind_is_refused(place: str, key: str, value: Any) -> None:
    event = task_end(5, 1000, 2000)
    event[place][key] = value

    with pytest.raises(ValueError, match=f"'{key}'|without its times"):
        read_task(event)


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b"not json", "not JSON: Expecting value"),
        (b'{"Event":"SparkListenerTask', "not JSON: Unterminated string"),
        (b'{"Event":"x"}{"Event":"x"}', "not JSON: Extra data"),
        (b'{"Event":"\xff"}', "not JSON: 'utf-8' codec can't decode byte"),
        (b"[" * 100_000 + b"]" * 100_000, "nested too deeply"),
        (b'{"Event":' + b"9" * 5000 + b"}", "not JSON: Exceeds the limit"),
        (b'["Event"]', 'not an event: no "Event" with a name'),
        (b'{"event":"x"}', 'not an event: no "Event" with a name'),
        (b'{"Event":7}', 'not an event: no "Event" with a name'),
    ],
)
def test_a_line_that_is_no_event_says_why(line: bytes, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        parse_event(line)


def test_the_plan_of_a_large_query_may_be_deep() -> None:
    plan: dict[str, Any] = {"nodeName": "Scan"}
    for _ in range(200):
        plan = {"nodeName": "Project", "children": [plan]}

    event = parse_event(json.dumps({"Event": "SparkListenerSQLExecutionStart", "sparkPlanInfo": plan}).encode())

    assert event["sparkPlanInfo"] == plan


def test_texts_are_cut_to_a_line_and_what_cannot_be_shown_is_replaced() -> None:
    event = parse_event(b'{"Event":"x","a":"\\ud800\\u001b[31m first\\nsecond","b":"' + b"y" * 1000 + b'"}')

    assert clean_text(event, "a") == "\ufffd\ufffd[31m first"
    assert clean_text(event, "b") == "y" * 300
    assert clean_text(event, "c") is None


def test_of_a_python_traceback_the_error_is_kept() -> None:
    trace = 'Worker said: Traceback (most recent call last):\n  File "etl.py", line 7, in f\nValueError: bad row\n at x'

    assert clean_text({"Event": "x", "a": trace}, "a") == "Worker said: ValueError: bad row"


def test_secrets_are_gone_before_anything_is_cut() -> None:
    url = "x" * 280 + " jdbc:postgresql://me:" + "hunter2" * 20 + "@db/sales"
    properties = {"spark.url": url, "spark.hadoop.fs.s3a.secret.key": "abcdefghijkl", "spark.master": "yarn", "n": 7}

    read = read_properties({"Event": "x", "Spark Properties": properties})

    assert "hunter2" not in str(read)
    assert read["spark.hadoop.fs.s3a.secret.key"] == "***"
    assert (read["spark.master"], "n" in read) == ("yarn", False)
