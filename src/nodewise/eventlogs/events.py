"""One line of a log as an event, and what the events of interest hold. Values of the wrong kind raise ``ValueError``.

Field names are those of Spark's ``JsonProtocol``. A field that a version of Spark does not write has a value to stand
in; one that is there must be of its kind.
"""

from __future__ import annotations

import json
from typing import Any

from pydantic_core import from_json

from nodewise.core.secrets import is_secret_name, redact
from nodewise.eventlogs.application import Executor, TaskAttempt

__all__ = [
    "Event",
    "clean_text",
    "count",
    "counts",
    "instant",
    "parse_event",
    "part",
    "read_executor",
    "read_properties",
    "read_task",
    "text",
]

Event = dict[str, Any]

MAX_TEXT_CHARS = 300
_MAX_READ_CHARS = 10_000
_TRACEBACK = "Traceback (most recent call last):"
_MAX_NUMBER = 2**53
_MAX_INSTANT_MS = 253_402_300_799_000  # the end of the year 9999


def parse_event(content: bytes) -> Event:
    """A line as a JSON object with a text under ``Event``.

    Raises:
        ValueError: It is none; the message says why.
    """
    try:
        event = from_json(content)
    except ValueError:
        # Twice as fast as Python's own parser, but it refuses the depth of large query plans.
        try:
            event = json.loads(content.decode())
        except RecursionError:
            raise ValueError("nested too deeply") from None
        except ValueError as error:
            raise ValueError(f"not JSON: {error}") from None
    if not isinstance(event, dict) or not isinstance(event.get("Event"), str):
        raise ValueError('not an event: no "Event" with a name')
    return event


def read_executor(event: Event) -> Executor:
    """The executor of ``SparkListenerExecutorAdded``."""
    info = part(event, "Executor Info")
    return Executor(
        executor_id=text(event, "Executor ID"),
        node=text(info, "Host"),
        cores=count(info, "Total Cores"),
        added_at=instant(event, "Timestamp") or 0.0,
    )


def read_task(event: Event) -> TaskAttempt:
    """The task of ``SparkListenerTaskEnd``."""
    info = part(event, "Task Info")
    metrics = part(event, "Task Metrics")
    fetched = part(metrics, "Shuffle Read Metrics")
    shuffled = part(metrics, "Shuffle Write Metrics")
    read = part(metrics, "Input Metrics")
    written = part(metrics, "Output Metrics")
    started_at, ended_at = instant(info, "Launch Time"), instant(info, "Finish Time")
    if started_at is None or ended_at is None:
        raise ValueError("a task without its times")
    result_at = instant(info, "Getting Result Time")
    # From Spark 3.3 on; -1 where a log was converted from an older one.
    partition = info.get("Partition ID", -1)
    remote_bytes = count(fetched, "Remote Bytes Read")
    return TaskAttempt(
        task_id=count(info, "Task ID"),
        stage_id=count(event, "Stage ID"),
        stage_attempt=count(event, "Stage Attempt ID"),
        partition=count(info, "Index") if partition == -1 else count(info, "Partition ID"),
        attempt=count(info, "Attempt"),
        executor_id=text(info, "Executor ID"),
        node=text(info, "Host"),
        started_at=started_at,
        ended_at=ended_at,
        reason=text(part(event, "Task End Reason"), "Reason"),
        speculative=info.get("Speculative") is True,
        deserialize_s=count(metrics, "Executor Deserialize Time") / 1e3,
        run_s=count(metrics, "Executor Run Time") / 1e3,
        result_serialize_s=count(metrics, "Result Serialization Time") / 1e3,
        getting_result_s=max(0.0, ended_at - result_at) if result_at else 0.0,
        cpu_s=count(metrics, "Executor CPU Time") / 1e9,
        deserialize_cpu_s=count(metrics, "Executor Deserialize CPU Time") / 1e9,
        gc_s=count(metrics, "JVM GC Time") / 1e3,
        fetch_wait_s=count(fetched, "Fetch Wait Time") / 1e3,
        shuffle_write_s=count(shuffled, "Shuffle Write Time") / 1e9,
        shuffle_read_bytes=remote_bytes + count(fetched, "Local Bytes Read"),
        shuffle_remote_bytes=remote_bytes,
        shuffle_read_records=count(fetched, "Total Records Read"),
        shuffle_written_bytes=count(shuffled, "Shuffle Bytes Written"),
        shuffle_written_records=count(shuffled, "Shuffle Records Written"),
        memory_spilled_bytes=count(metrics, "Memory Bytes Spilled"),
        disk_spilled_bytes=count(metrics, "Disk Bytes Spilled"),
        input_bytes=count(read, "Bytes Read"),
        input_records=count(read, "Records Read"),
        output_bytes=count(written, "Bytes Written"),
        output_records=count(written, "Records Written"),
        result_bytes=count(metrics, "Result Size"),
        peak_memory_bytes=_peak_memory(metrics, part(event, "Task Executor Metrics")),
    )


def _peak_memory(metrics: Event, executor: Event) -> int:
    resident = ("ProcessTreeJVMRSSMemory", "ProcessTreePythonRSSMemory", "ProcessTreeOtherRSSMemory")
    java = ("JVMHeapMemory", "JVMOffHeapMemory")
    return max(
        sum(count(executor, name) for name in resident),
        sum(count(executor, name) for name in java),
        count(metrics, "Peak Execution Memory"),
    )


def part(event: Event, key: str) -> Event:
    """An object within the event; empty if it is absent or null."""
    value = event.get(key)
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise ValueError(f"{key!r} is not an object")
    return value


def count(event: Event, key: str) -> int:
    """A whole number of at least 0; 0 if it is absent, or negative, as Spark marks what it does not know."""
    value = event.get(key, 0)
    if type(value) is not int or value > _MAX_NUMBER:
        raise ValueError(f"{key!r} is not a whole number below 2**53")
    return max(0, value)


def counts(event: Event, key: str) -> tuple[int, ...]:
    """A list of such whole numbers; empty if it is absent or null."""
    values = event.get(key)
    if values is None:
        return ()
    if not isinstance(values, list):
        raise ValueError(f"{key!r} is not a list")
    return tuple(count({key: value}, key) for value in values)


def instant(event: Event, key: str) -> float | None:
    """Milliseconds since the epoch as seconds; None if the time is absent, or 0, as Spark marks what has not come."""
    value = event.get(key)
    if value is None:
        return None
    if type(value) is not int or value > _MAX_INSTANT_MS:
        raise ValueError(f"{key!r} is not a time in milliseconds")
    return value / 1e3 if value > 0 else None


def text(event: Event, key: str) -> str:
    """A text that must be there, cut to :data:`MAX_TEXT_CHARS`, with nothing that a terminal or a file cannot take."""
    value = event.get(key)
    if not isinstance(value, str):
        raise ValueError(f"{key!r} is not a text")
    value = value[:MAX_TEXT_CHARS]
    return value if value.isprintable() else "".join(char if char.isprintable() else "\ufffd" for char in value)


def clean_text(event: Event, key: str) -> str | None:
    """The first line of a text that people wrote, without secrets, cut to :data:`MAX_TEXT_CHARS`; None if absent.

    Of the traceback of a Python worker it is the line with the error.
    """
    value = event.get(key)
    if value is None:
        return None
    if not isinstance(value, str):
        raise ValueError(f"{key!r} is not a text")
    # Cut afterwards: half a secret is not known for one.
    first, *more = value[:_MAX_READ_CHARS].strip().split("\n")
    if first.endswith(_TRACEBACK):
        # Its frames are indented, the error is not.
        first = first.removesuffix(_TRACEBACK) + next((line for line in more if line[:1].strip()), "")
    return text({key: redact(first.strip())}, key)


def read_properties(event: Event) -> dict[str, str]:
    """Spark's settings of ``SparkListenerEnvironmentUpdate``, without secrets."""
    properties = part(event, "Spark Properties")
    named = {name: value for name, value in properties.items() if isinstance(value, str)}
    shown = {name: "***" if is_secret_name(name) else clean_text(named, name) or "" for name in named}
    return {text({"name": name}, "name"): value for name, value in shown.items()}
