"""``nodewise clean`` as a process."""

import os
import time
from pathlib import Path
from typing import Any

import pytest


@pytest.fixture
def part(tmp_path: Path) -> Path:
    """What a command that was killed an hour ago has left in the workspace."""
    path = tmp_path / "ws" / ".part-0123456789ab-index.json"
    path.parent.mkdir()
    path.write_bytes(b"x" * 2048)
    past = time.time() - 3600
    os.utime(path, (past, past))
    return path


def test_clean_lists_and_removes_nothing_without_a_yes(cli: Any, part: Path) -> None:
    done = cli("clean", "--data")
    assert done.returncode == 2
    assert "temporary file" in done.stdout
    assert "2.0 KiB" in done.stdout
    assert "error: cleaning needs a yes, and there is no terminal to ask on" in done.stderr
    assert part.exists()


def test_clean_says_what_it_removed(cli: Any, read_json: Any, tmp_path: Path, part: Path) -> None:
    done = cli("clean", "--data", "-y", "--json", "clean.json")
    assert done.returncode == 0, done.stderr
    assert done.stderr == "removed 1 of 1, 2.0 KiB\n"
    assert not part.exists()
    result = read_json(tmp_path / "clean.json")["result"]
    expected = {"kind": "temporary file", "name": str(part), "detail": "", "bytes": 2048}
    assert result == {"found": [expected], "removed": [expected], "freed_bytes": 2048}
    assert cli("clean", "--data", "-y").stderr == "nothing to clean\n"


def test_clean_removes_runs_only_where_it_is_asked_to(cli: Any, digits_folder: Path) -> None:
    settings = ["--size", "32", "--sample", "0.01", "--no-preflight"]
    assert cli("prepare", str(digits_folder), "shards", *settings).returncode == 0
    assert "run" not in cli("clean", "--data", "-y").stdout
    assert cli("clean", "--runs", "-y").stderr == "nothing to clean\n"
    assert "removed 1 of 1" in cli("clean", "--runs", "--older-than", "0s", "-y").stderr
    assert "no runs in" in cli("runs", "list").stderr


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--older-than", "30d"], "--older-than is for runs"),
        (["--runs", "--older-than", "soon"], "--older-than: 'soon' is no duration"),
    ],
)
def test_a_wrong_age_is_refused(cli: Any, options: list[str], message: str) -> None:
    done = cli("clean", *options)
    assert done.returncode == 2
    assert f"error: {message}" in done.stderr
