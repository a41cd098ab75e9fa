from __future__ import annotations

import os
from pathlib import Path

import pytest

from nodewise.core.errors import InputError
from nodewise.eventlogs import layout
from nodewise.eventlogs.layout import find_log

from .small_logs import CODECS, as_lines, pack, small_application

LOG = as_lines(small_application())


def write(folder: Path, *names: str, content: bytes = LOG) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        (folder / name).write_bytes(content)


def names(path: Path) -> list[str]:
    return [part.name for part in find_log(path).parts]


def test_a_file_is_a_log(tmp_path: Path) -> None:
    write(tmp_path, "application_1.inprogress")

    assert names(tmp_path / "application_1.inprogress") == ["application_1.inprogress"]


def test_the_files_of_a_rolling_log_are_in_the_order_of_their_numbers(tmp_path: Path) -> None:
    folder = tmp_path / "eventlog_v2_app-1"
    write(folder, "events_10_app-1.zstd", "events_2_app-1.zstd", "events_9_app-1.zstd", ".events_2_app-1.zstd.crc")
    write(folder, "appstatus_app-1.inprogress", content=b"")

    log = find_log(folder)

    assert [part.name for part in log.parts] == ["events_2_app-1.zstd", "events_9_app-1.zstd", "events_10_app-1.zstd"]
    assert (log.path, log.is_compacted) == (folder, False)


def test_nothing_before_the_last_compacted_file_is_read(tmp_path: Path) -> None:
    folder = tmp_path / "eventlog_v2_app-1"
    write(folder, "events_1_app-1.zstd", "events_1_app-1.zstd.compact", "events_2_app-1.zstd")
    write(folder, "events_3_app-1.zstd", "events_3_app-1.zstd.compact", "events_4_app-1.zstd")

    log = find_log(folder)

    assert [part.name for part in log.parts] == ["events_3_app-1.zstd.compact", "events_4_app-1.zstd"]
    assert log.is_compacted


def test_databricks_writes_the_newest_part_without_a_date(tmp_path: Path) -> None:
    write(tmp_path, "eventlog", "eventlog-2021-06-15--16-00.gz", "eventlog-2021-06-15--15-00.gz")

    assert names(tmp_path) == ["eventlog-2021-06-15--15-00.gz", "eventlog-2021-06-15--16-00.gz", "eventlog"]


def test_the_log_is_found_in_a_databricks_cluster_folder(tmp_path: Path) -> None:
    folder = tmp_path / "0615-150000-abc1" / "eventlog" / "0615-150000-abc1_10_0_0_1" / "7109237026247389532"
    write(folder, "eventlog", "eventlog-2021-06-15--15-00.gz")
    write(tmp_path / "0615-150000-abc1" / "driver", "stdout", "log4j-active.log", content=b"21/06/15 INFO\n")

    log = find_log(tmp_path / "0615-150000-abc1")

    assert log.path == folder
    assert [part.name for part in log.parts] == ["eventlog-2021-06-15--15-00.gz", "eventlog"]


@pytest.mark.parametrize("codec", CODECS)
def test_the_only_log_in_a_folder_is_told_by_its_content(codec: str, tmp_path: Path) -> None:
    write(tmp_path, "any name", content=pack(codec, LOG))
    write(tmp_path, "notes.txt", content=b"no log\n")
    write(tmp_path, "other.json", content=b'{"event": 1}\n')

    assert names(tmp_path) == ["any name"]


def test_several_logs_are_named_and_none_is_chosen(tmp_path: Path) -> None:
    write(tmp_path, *(f"app-{number}" for number in range(5)))
    write(tmp_path / "eventlog_v2_app-9", "events_1_app-9")

    with pytest.raises(InputError, match="holds 6 event logs") as refused:
        find_log(tmp_path)

    first = ", ".join(str(tmp_path / f"app-{number}") for number in range(4))
    assert refused.value.hint == f"import them one by one: {first}, ..."


def test_a_folder_without_a_log_is_refused(tmp_path: Path) -> None:
    write(tmp_path, "notes.txt", content=b"no log\n")

    with pytest.raises(InputError, match="there is no Spark event log in"):
        find_log(tmp_path)


def test_a_log_that_cannot_be_read_is_not_passed_over(tmp_path: Path) -> None:
    write(tmp_path, "app-1.lzf", content=b"ZV\x01\x00\x10" + bytes(16))

    assert names(tmp_path) == ["app-1.lzf"]


@pytest.mark.parametrize(
    ("name", "problem"),
    [
        ("gone", "does not exist"),
        ("pipe", "is neither a file nor a folder"),
        ("x" * 300, "cannot be read: File name too"),
    ],
)
def test_what_is_no_file_is_refused_at_once(name: str, problem: str, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")

    with pytest.raises(InputError, match=problem):
        find_log(tmp_path / name)


def test_a_pipe_in_a_folder_is_passed_over(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "events_1_app")
    write(tmp_path, "events_2_app")

    assert names(tmp_path) == ["events_2_app"]


def test_links_that_lead_out_of_the_folder_are_passed_over(tmp_path: Path) -> None:
    write(tmp_path / "elsewhere", "secret", "events_1_x")
    folder = tmp_path / "logs"
    write(folder, "events_2_app")
    (folder / "events_1_app").symlink_to(tmp_path / "elsewhere" / "secret")
    (folder / "circle").symlink_to(folder)
    (folder / "out").symlink_to(tmp_path / "elsewhere")

    assert names(folder) == ["events_2_app"]


def test_the_search_ends_after_so_many_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(layout, "MAX_LOOKS", 3)
    write(tmp_path, "a", "b", "c", content=b"no log\n")
    write(tmp_path, "d")

    with pytest.raises(InputError, match="there is no Spark event log in"):
        find_log(tmp_path)
