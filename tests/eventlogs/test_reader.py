from __future__ import annotations

import tracemalloc
from pathlib import Path
from typing import Any

import pytest

from nodewise.core.errors import InputError
from nodewise.core.progress import SilentProgress
from nodewise.eventlogs import tally
from nodewise.eventlogs.application import Application
from nodewise.eventlogs.layout import find_log
from nodewise.eventlogs.reader import LogReader, read_application
from nodewise.specs.results import UnreadableLine

from .small_logs import (
    CODECS,
    START_MS,
    Event,
    app_end,
    app_start,
    as_lines,
    environment,
    executor_added,
    executor_removed,
    job_end,
    job_start,
    log_start,
    pack,
    small_application,
    stage_completed,
    stage_submitted,
    task_end,
)

SECOND = START_MS / 1000


@pytest.fixture
def read(tmp_path: Path) -> Any:
    """Reads the log of these events, with these lines after them."""

    def read(events: list[Event], rest: bytes = b"") -> Application:
        (tmp_path / "log").write_bytes(as_lines(events) + rest)
        return read_application(tmp_path / "log")

    return read


@pytest.mark.parametrize("codec", CODECS)
def test_an_application_is_read_whole(codec: str, tmp_path: Path) -> None:
    file = tmp_path / "app-1"
    file.write_bytes(pack(codec, as_lines(small_application())))

    app = read_application(file)

    assert (app.app_id, app.attempt_id, app.name, app.spark_version) == ("app-1", None, "etl", "3.5.3")
    assert (app.started_at, app.ended_at, app.wall_s) == (SECOND, SECOND + 10, 10)
    assert (app.is_complete, app.is_compacted, app.exit_code, app.failure) == (True, False, None, None)
    assert (app.executor_run_s, app.executor_cpu_s) == (4, 2)
    assert (app.task_counts.ended, app.task_counts.succeeded) == (2, 2)
    assert [(executor.executor_id, executor.node, executor.cores) for executor in app.executors] == [
        ("1", "host-1", 4),
        ("2", "host-2", 4),
    ]
    (job,) = app.jobs
    assert (job.job_id, job.started_at, job.ended_at, job.failure) == (0, SECOND + 1, SECOND + 4.6, None)
    (stage,) = app.stages
    assert (stage.label, stage.num_tasks, stage.wall_s) == ("0: count at etl.py:7", 2, 3.5)
    assert (stage.median_task_s, stage.max_task_s, stage.run_s, stage.failure) == (2, 3, 4, None)
    assert [task.node for task in app.tasks] == ["host-1", "host-2"]
    assert (app.unreadable_lines, app.unreadable) == (0, ())


def test_databricks_begins_a_log_in_its_own_way(read: Any) -> None:
    first = {"Event": "DBCEventLoggingListenerMetadata", "Spark Version": "3.2.1", "Rollover Number": 0}

    assert read([first, *small_application()[1:]]).spark_version == "3.2.1"


def test_the_parts_of_a_rolling_log_are_one_application(tmp_path: Path) -> None:
    folder = tmp_path / "eventlog_v2_app-1"
    folder.mkdir()
    events = small_application()
    (folder / "events_1_app-1.zstd").write_bytes(pack("zstd", as_lines(events[:8])))
    (folder / "events_2_app-1").write_bytes(as_lines([log_start("3.5.3"), *events[8:]]) + b"nonsense\n")

    app = read_application(folder)

    assert (app.task_counts.ended, app.is_complete) == (2, True)
    assert app.unreadable == (
        UnreadableLine(file="events_2_app-1", line=6, reason="not JSON: Expecting value: line 1 column 1 (char 0)"),
    )


def test_what_cannot_be_read_is_counted_and_what_is_unknown_passed_over(read: Any) -> None:
    events = small_application()
    events.insert(7, {"Event": "com.example.SomethingNew", "Stage ID": "what?"})
    events.insert(8, task_end(7, 0, 1) | {"Task Info": "gone"})
    rest = b"\n".join(b"broken %d" % number for number in range(15)) + b"\n" + b'{"Event":"SparkListenerTaskEnd","Sta'

    app = read(events, rest)

    assert app.unreadable_lines == 17
    assert [line.line for line in app.unreadable] == [9, *range(15, 24)]
    assert app.unreadable[0].reason == "'Task Info' is not an object"
    assert app.task_counts.ended == 2


@pytest.mark.parametrize("length", range(1, 4000, 371))
def test_a_log_that_was_cut_off_is_read_to_the_cut(length: int, tmp_path: Path) -> None:
    content = as_lines(small_application())
    (tmp_path / "app-1.inprogress").write_bytes(content[:length])
    whole_lines = content[:length].count(b"\n")
    if whole_lines == 0:
        with pytest.raises(InputError, match="is no Spark event log"):
            read_application(tmp_path / "app-1.inprogress")
        return

    app = read_application(tmp_path / "app-1.inprogress")

    assert app.unreadable_lines == (0 if length >= len(content) or content[length - 1 : length] == b"\n" else 1)
    assert app.is_complete == (whole_lines == 12)


def test_without_its_end_an_application_goes_to_its_last_task(read: Any) -> None:
    app = read([*small_application()[:9], executor_removed("1", 9_000_000)])

    assert (app.wall_s, app.is_complete) == (4, False)
    assert app.failure == "the log ends before the application does, while 1 job was running"
    (stage,) = app.stages
    assert (stage.ended_at, stage.wall_s, stage.max_task_s) == (None, 0, 3)


def test_without_its_beginning_an_application_has_no_name(read: Any) -> None:
    app = read(small_application()[7:])

    assert (app.app_id, app.name, app.spark_version) == (None, None, None)
    assert (app.started_at, app.wall_s) == (SECOND + 1, 9)
    # The tasks came before the name of their stage.
    assert app.stages[0].label == "0: unnamed"


def test_executors_come_and_go(read: Any) -> None:
    app = read(
        [
            app_start(),
            executor_added("1", 0, cores=4),
            executor_added("2", 10, cores=8),
            executor_added("2", 10, cores=8),
            executor_removed("1", 20, "idle"),
            executor_removed("9", 20),
            executor_added("3", 30, cores=2),
            app_end(40),
        ]
    )

    assert (len(app.executors), app.peak_executors, app.peak_cores) == (3, 2, 12)
    assert (app.executors[0].removed_at, app.executors[0].removed_because) == (SECOND + 0.02, "idle")
    assert app.executors[1].removed_at is None


def test_ends_of_tasks_are_counted_by_what_became_of_them(read: Any) -> None:
    events = [
        app_start(),
        stage_submitted(0),
        task_end(0, 0, 100),
        task_end(1, 0, 100, reason="ExceptionFailure"),
        task_end(2, 0, 100, attempt=1),
        task_end(3, 0, 100, reason="TaskKilled"),
        task_end(0, 0, 100, reason="Resubmitted", metrics={}),
        stage_completed(0, 0, 200, failure="lost\nat somewhere"),
        stage_submitted(0, 300, attempt=1),
        task_end(4, 300, 400, stage_attempt=1),
        app_end(500),
    ]

    app = read(events)

    counts = app.task_counts
    assert (counts.ended, counts.succeeded, counts.failed, counts.killed, counts.resubmitted) == (6, 3, 2, 1, 1)
    # All but the last count: a tenth of a second each, also where it was lost.
    assert app.executor_run_s == pytest.approx(0.5)
    assert [stage.label for stage in app.stages] == ["0: count at etl.py:7", "0: count at etl.py:7 (attempt 1)"]
    assert app.stages[0].failure == "lost"


def test_tasks_that_end_after_their_stage_are_counted_but_not_in_its_median(read: Any) -> None:
    late = task_end(9, 0, 60_000)
    app = read([app_start(), stage_submitted(0), task_end(0, 0, 100), stage_completed(0, 0, 100), late])

    assert app.stages[0].tasks.succeeded == 2
    assert app.stages[0].max_task_s == pytest.approx(0.1, abs=1e-5)


@pytest.mark.parametrize(
    ("rest", "failure"),
    [
        ([job_start(1, 1), job_end(1, 2), app_end(3)], None),
        ([job_start(1, 1), job_end(1, 2, "boom"), job_start(2, 3), job_end(2, 4), app_end(5)], None),
        ([job_start(1, 1), job_end(1, 2, "boom\n\tat x"), app_end(3)], "its last job, number 1, failed: boom"),
        ([job_end(1, 2, "boom"), app_end(3, ExitCode=0)], "its last job, number 1, failed: boom"),
        ([job_start(1, 1), job_end(1, 2), app_end(3, ExitCode=7)], "the application left with exit status 7"),
        ([job_start(1, 1), app_end(3)], None),
    ],
)
def test_whether_an_application_failed(rest: list[Event], failure: str | None, read: Any) -> None:
    assert read([app_start(), *rest]).failure == failure


def test_stages_know_their_parents_and_jobs_their_stages(read: Any) -> None:
    submitted = stage_submitted(3)
    submitted["Stage Info"]["Parent IDs"] = [1, 2]
    listed = job_start(7, 0) | {"Stage IDs": [1, 2, 3]}
    app = read([app_start(), listed, submitted, stage_submitted(4), job_end(7, 5), job_end(8, 6)])

    assert [stage.parent_ids for stage in app.stages] == [(1, 2), ()]
    assert [(job.job_id, job.stage_ids) for job in app.jobs] == [(7, (1, 2, 3)), (8, ())]


def test_parents_that_are_no_list_of_numbers_are_not_read(read: Any) -> None:
    wrong = [stage_submitted(1), stage_submitted(2)]
    wrong[0]["Stage Info"]["Parent IDs"] = 3
    wrong[1]["Stage Info"]["Parent IDs"] = ["3"]
    app = read([app_start(), *wrong])

    assert [line.reason for line in app.unreadable] == [
        "'Parent IDs' is not a list",
        "'Parent IDs' is not a whole number below 2**53",
    ]


def test_no_secret_is_kept(read: Any) -> None:
    secret = "password=hunter2hunter2"
    app = read(
        [
            app_start(name=f"etl {secret}"),
            environment(**{"spark.ssl.keyPassword": "hunter2hunter2", "spark.jdbc": f"jdbc:x?{secret}"}),
            executor_added("1"),
            executor_removed("1", 5, secret),
            stage_submitted(0, name=secret),
            stage_completed(0, 0, 5, failure=secret),
            job_end(0, 5, secret),
        ]
    )

    assert "hunter2" not in repr(app)
    assert app.properties["spark.ssl.keyPassword"] == "***"


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\n\n",
        b"no log\n",
        b"{}\n[]\n",
        bytes(range(256)) * 100,
        b'{"Event":"login","user":"me"}\n',
        b"x\n" * 5000,
    ],
)
def test_a_file_that_is_no_event_log_is_refused(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(content)

    with pytest.raises(InputError, match=r"file is no Spark event log") as refused:
        read_application(tmp_path / "file")

    assert refused.value.hint is not None


def test_a_log_made_to_fill_the_memory_is_not_kept(read: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tally, "MAX_KEPT", 3)

    app = read([app_start(), *(stage_submitted(number) for number in range(5)), stage_completed(0, 0, 5)])

    assert (len(app.stages), app.unreadable_lines) == (3, 2)
    assert app.unreadable[0].reason == "more than 3 of this kind"


def test_tasks_are_handed_on_and_not_kept(tmp_path: Path) -> None:
    lines = as_lines([app_start(), stage_submitted(0)])
    tasks = as_lines([task_end(number, 0, 100) for number in range(1000)])
    done = as_lines([stage_completed(0, 0, 100)])
    (tmp_path / "log").write_bytes(pack("zstd", lines + (tasks + done) * 8))
    reader = LogReader(find_log(tmp_path / "log"))
    tracemalloc.start()
    try:
        number = sum(1 for _ in reader.tasks())
        _, peak_bytes = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert number == 8_000
    # Three pieces of 256 KiB and what one line takes; the tasks would be 8 MB.
    assert peak_bytes < 2_000_000


def test_the_reader_tells_where_it_stands_and_what_it_reads(tmp_path: Path) -> None:
    told: list[Any] = []

    class Progress(SilentProgress):
        def stage(self, name: str, total: int | None = None) -> None:
            told.append((name, total))

        def advance(self, steps: int = 1, detail: str = "") -> None:
            told.append(steps)

        def done(self, detail: str = "") -> None:
            told.append("done")

    content = as_lines(small_application()[:8]) * 3000
    (tmp_path / "log").write_bytes(content)

    read_application(tmp_path / "log", Progress())

    steps = told[1:-1]
    assert told[0] == ("read log", -(-len(content) // (1 << 20)))
    assert sum(steps) == len(content) >> 20 > 1
    assert told[-1] == "done"
