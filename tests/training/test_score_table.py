"""The Parquet file of a part: written once, whoever comes second."""

from __future__ import annotations

import errno
import os
import threading
from pathlib import Path
from typing import NoReturn

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from nodewise.specs.results import ShardInfo
from nodewise.training.score_parts import cut_parts
from nodewise.training.score_table import read_predictions, table_of, write_predictions

SHARDS = [ShardInfo(path=f"s-{n}.tfrec", split="test", records=n, bytes=10, sha256="") for n in (2, 3)]
(PART,) = cut_parts(SHARDS, 1)
LABELS = np.array([0, 1, 1, 0, 1])


def a_table(predicted: list[int], probability: float = 0.75) -> pa.Table:
    return table_of(PART, ("cat", "dog"), LABELS, np.array(predicted), np.full(5, probability, np.float32))


RIGHT, WRONG = a_table([0, 1, 1, 0, 1]), a_table([1, 0, 0, 1, 0])


def test_a_row_names_its_record_and_its_classes(tmp_path: Path) -> None:
    path = tmp_path / "new" / "part.parquet"
    write_predictions(path, RIGHT, "a")
    table = pq.read_table(path)
    assert table["record"].to_pylist() == ["s-2.tfrec:0", "s-2.tfrec:1", "s-3.tfrec:0", "s-3.tfrec:1", "s-3.tfrec:2"]
    assert table.slice(1, 1).to_pylist() == [
        {
            "record": "s-2.tfrec:1",
            "label": 1,
            "predicted": 1,
            "label_name": "dog",
            "predicted_name": "dog",
            "probability": 0.75,
        }
    ]
    assert [str(field.type) for field in table.schema] == ["string", "int64", "int64", "string", "string", "float"]
    assert os.listdir(path.parent) == ["part.parquet"]


def test_the_second_attempt_takes_over_what_the_first_has_written(tmp_path: Path) -> None:
    path = tmp_path / "part.parquet"
    assert write_predictions(path, RIGHT, "a")["predicted"].to_pylist() == [0, 1, 1, 0, 1]
    before = path.stat()
    assert write_predictions(path, WRONG, "a")["predicted"].to_pylist() == [0, 1, 1, 0, 1]
    assert (path.stat().st_ino, path.stat().st_mtime_ns) == (before.st_ino, before.st_mtime_ns)
    assert os.listdir(tmp_path) == ["part.parquet"]


def test_attempts_at_the_same_time_all_say_what_the_file_says(tmp_path: Path) -> None:
    path = tmp_path / "part.parquet"
    said: list[list[int]] = []
    ready = threading.Barrier(8)

    def attempt(table: pa.Table) -> None:
        ready.wait()
        said.append(write_predictions(path, table, "a")["predicted"].to_pylist())

    threads = [threading.Thread(target=attempt, args=(table,)) for table in [RIGHT, WRONG] * 4]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert said == [pq.read_table(path)["predicted"].to_pylist()] * 8
    assert os.listdir(tmp_path) == ["part.parquet"]


def test_what_was_made_from_something_else_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "part.parquet"
    write_predictions(path, WRONG, "another model")
    assert read_predictions(path, "a", 5) is None
    write_predictions(path, RIGHT, "a")
    assert pq.read_table(path)["predicted"].to_pylist() == [0, 1, 1, 0, 1]


@pytest.mark.parametrize("content", [b"", b"PAR1", b"no parquet at all"])
def test_a_damaged_file_is_no_prediction_and_is_replaced(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "part.parquet"
    path.write_bytes(content)
    assert read_predictions(path, "a", 5) is None
    write_predictions(path, RIGHT, "a")
    assert read_predictions(path, "a", 5) is not None


def test_a_file_with_another_number_of_rows_is_not_taken(tmp_path: Path) -> None:
    write_predictions(tmp_path / "part.parquet", RIGHT, "a")
    assert read_predictions(tmp_path / "part.parquet", "a", 4) is None
    assert read_predictions(tmp_path / "absent.parquet", "a", 5) is None


def test_a_file_system_without_links_gets_whole_files_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> NoReturn:
        raise OSError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(os, "link", refuse)
    path = tmp_path / "part.parquet"
    write_predictions(path, RIGHT, "a")
    assert write_predictions(path, WRONG, "a")["predicted"].to_pylist() == [0, 1, 1, 0, 1]
    assert os.listdir(tmp_path) == ["part.parquet"]


def test_another_failure_leaves_no_unfinished_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> NoReturn:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(os, "link", fail)
    with pytest.raises(OSError, match="Input/output error"):
        write_predictions(tmp_path / "part.parquet", RIGHT, "a")
    assert os.listdir(tmp_path) == []
