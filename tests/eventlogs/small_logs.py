"""Event logs of a few lines, made event by event as Spark writes them, and packed as Spark packs them."""

from __future__ import annotations

import gzip
import json
import struct
from typing import Any

import pyarrow as pa

START_MS = 1_700_000_000_000
"""The application's start; all times below are milliseconds from it."""

Event = dict[str, Any]


def log_start(version: str = "3.5.3") -> Event:
    return {"Event": "SparkListenerLogStart", "Spark Version": version}


def app_start(app_id: str = "app-1", name: str = "etl", **more: Any) -> Event:
    facts = {"App Name": name, "App ID": app_id, "Timestamp": START_MS, "User": "someone"}
    return {"Event": "SparkListenerApplicationStart", **facts, **more}


def app_end(ms: int, **more: Any) -> Event:
    return {"Event": "SparkListenerApplicationEnd", "Timestamp": START_MS + ms, **more}


def environment(**properties: str) -> Event:
    return {"Event": "SparkListenerEnvironmentUpdate", "Spark Properties": {"spark.master": "yarn", **properties}}


def executor_added(executor_id: str, ms: int = 0, *, host: str = "host-1", cores: int = 4) -> Event:
    info = {"Host": host, "Total Cores": cores, "Log Urls": {}}
    return {
        "Event": "SparkListenerExecutorAdded",
        "Timestamp": START_MS + ms,
        "Executor ID": executor_id,
        "Executor Info": info,
    }


def executor_removed(executor_id: str, ms: int, reason: str = "lost") -> Event:
    return {
        "Event": "SparkListenerExecutorRemoved",
        "Timestamp": START_MS + ms,
        "Executor ID": executor_id,
        "Removed Reason": reason,
    }


def job_start(job_id: int, ms: int) -> Event:
    return {"Event": "SparkListenerJobStart", "Job ID": job_id, "Submission Time": START_MS + ms, "Stage IDs": [0]}


def job_end(job_id: int, ms: int, failure: str | None = None) -> Event:
    result: Event = {"Result": "JobSucceeded"}
    if failure is not None:
        result = {"Result": "JobFailed", "Exception": {"Message": failure, "Stack Trace": []}}
    return {"Event": "SparkListenerJobEnd", "Job ID": job_id, "Completion Time": START_MS + ms, "Job Result": result}


def _stage_info(stage_id: int, attempt: int, name: str, num_tasks: int, began_ms: int) -> Event:
    return {
        "Stage ID": stage_id,
        "Stage Attempt ID": attempt,
        "Stage Name": name,
        "Number of Tasks": num_tasks,
        "Submission Time": START_MS + began_ms,
    }


def stage_submitted(
    stage_id: int, ms: int = 0, *, attempt: int = 0, name: str = "count at etl.py:7", num_tasks: int = 2
) -> Event:
    return {
        "Event": "SparkListenerStageSubmitted",
        "Stage Info": _stage_info(stage_id, attempt, name, num_tasks, ms),
        "Properties": {},
    }


def stage_completed(
    stage_id: int,
    began_ms: int,
    ended_ms: int,
    *,
    attempt: int = 0,
    name: str = "count at etl.py:7",
    num_tasks: int = 2,
    failure: str | None = None,
) -> Event:
    info = _stage_info(stage_id, attempt, name, num_tasks, began_ms)
    info |= {"Completion Time": START_MS + ended_ms} | ({} if failure is None else {"Failure Reason": failure})
    return {"Event": "SparkListenerStageCompleted", "Stage Info": info}


def task_end(
    task_id: int,
    began_ms: int,
    ended_ms: int,
    *,
    stage_id: int = 0,
    stage_attempt: int = 0,
    attempt: int = 0,
    executor_id: str = "1",
    host: str = "host-1",
    reason: str = "Success",
    metrics: Event | None = None,
    **more: Any,
) -> Event:
    info = {
        "Task ID": task_id,
        "Index": task_id,
        "Attempt": attempt,
        "Launch Time": START_MS + began_ms,
        "Executor ID": executor_id,
        "Host": host,
        "Speculative": False,
        "Getting Result Time": 0,
        "Finish Time": START_MS + ended_ms,
        **more,
    }
    default = {"Executor Run Time": ended_ms - began_ms, "Executor CPU Time": 1_000_000 * (ended_ms - began_ms) // 2}
    return {
        "Event": "SparkListenerTaskEnd",
        "Stage ID": stage_id,
        "Stage Attempt ID": stage_attempt,
        "Task Type": "ResultTask",
        "Task End Reason": {"Reason": reason},
        "Task Info": info,
        "Task Metrics": default if metrics is None else metrics,
    }


def small_application(app_id: str = "app-1") -> list[Event]:
    """One stage of two tasks, 1 s and 3 s long, on two executors of 4 cores; 10 s in all."""
    return [
        log_start(),
        app_start(app_id),
        environment(),
        executor_added("1", 500),
        executor_added("2", 600, host="host-2"),
        job_start(0, 1000),
        stage_submitted(0, 1000),
        task_end(0, 1000, 2000),
        task_end(1, 1000, 4000, executor_id="2", host="host-2"),
        stage_completed(0, 1000, 4500),
        job_end(0, 4600),
        app_end(10_000),
    ]


def as_lines(events: list[Event]) -> bytes:
    return b"".join(json.dumps(event).encode() + b"\n" for event in events)


# --- packed ----------------------------------------------------------------------------------------------------------

BLOCK = 1024  # small, so that a small log has many


def lz4_blocks(content: bytes) -> bytes:
    """As ``net.jpountz.lz4.LZ4BlockOutputStream``, every third block stored; nobody compares the checksums."""
    packed = b""
    for number, offset in enumerate(range(0, len(content), BLOCK)):
        plain = content[offset : offset + BLOCK]
        method, body = 0x10, plain
        if number % 3:
            method, body = 0x20, pa.compress(plain, codec="lz4_raw", asbytes=True)
        packed += struct.pack("<8sBiii", b"LZ4Block", method, len(body), len(plain), 0) + body
    return packed + struct.pack("<8sBiii", b"LZ4Block", 0x10, 0, 0, 0)


def snappy_blocks(content: bytes) -> bytes:
    """As ``org.xerial.snappy.SnappyOutputStream``."""
    packed = b"\x82SNAPPY\x00" + struct.pack(">ii", 1, 1)
    for offset in range(0, len(content), BLOCK):
        body = pa.compress(content[offset : offset + BLOCK], codec="snappy", asbytes=True)
        packed += struct.pack(">i", len(body)) + body
    return packed


def _arrow(codec: str, content: bytes) -> bytes:
    stream = pa.BufferOutputStream()
    with pa.CompressedOutputStream(stream, codec) as packed:
        packed.write(content)
    return bytes(stream.getvalue())


def pack(codec: str, content: bytes) -> bytes:
    match codec:
        case "plain":
            return content
        case "gzip":
            return gzip.compress(content)
        case "zstd" | "lz4":
            return _arrow(codec, content)
        case "lz4 blocks":
            return lz4_blocks(content)
        case "snappy blocks":
            return snappy_blocks(content)
    raise ValueError(codec)


CODECS = ["plain", "gzip", "zstd", "lz4", "lz4 blocks", "snappy blocks"]
