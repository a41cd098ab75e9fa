"""The commands show, check and stats of ``nodewise data``, as processes."""

from __future__ import annotations

import json
import os
import pty
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest


@pytest.fixture
def shards(small_shards: Path, tmp_path: Path) -> Path:
    """A copy to damage: 158 records to train on and 40 held out, 50 to a shard."""
    return Path(shutil.copytree(small_shards, tmp_path / "shards"))


@pytest.fixture
def photos(digits_folder: Path, tmp_path: Path) -> Path:
    (tmp_path / "photos").symlink_to(digits_folder)
    return tmp_path / "photos"


def damage(path: Path, position: int) -> None:
    content = bytearray(path.read_bytes())
    content[position] ^= 1
    path.write_bytes(content)


def test_whole_shards_are_checked_in_one_line_and_status_0(cli: Any, read_json: Any, shards: Path) -> None:
    done = cli("data", "check", "shards", "--json", "out.json")
    assert done.returncode == 0, done.stderr
    # 158 and 40 records, 50 to a shard: four shards and one.
    assert done.stdout.startswith("5 shards, 198 records: all whole (")
    assert len(done.stdout.splitlines()) == 1
    content = read_json(shards.parent / "out.json")
    assert (content["ok"], content["command"], content["result"]["records"]) == (True, "data check", 198)
    assert content["result"]["bad"] == []


def test_each_fault_is_a_line_with_file_record_and_byte_and_status_1(cli: Any, read_json: Any, shards: Path) -> None:
    damage(shards / "train-00001-50.tfrec", 100)
    (shards / "test-00000-40.tfrec").unlink()
    done = cli("data", "check", "shards", "--json", "out.json")
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    damaged, missing, verdict = done.stdout.splitlines()
    assert damaged == "shards/train-00001-50.tfrec, record 0, byte 0: the record's data does not match its checksum"
    assert missing == "shards/test-00000-40.tfrec: is missing"
    assert verdict.startswith("5 shards, 157 whole records; 2 faults in 2 files (")
    content = read_json(shards.parent / "out.json")
    assert (content["ok"], content["error"]["code"]) == (False, "corrupt_file")
    assert content["result"]["records"] == 157
    assert content["result"]["bad"] == [
        {
            "path": "shards/train-00001-50.tfrec",
            "record": 0,
            "offset": 0,
            "reason": "the record's data does not match its checksum",
        },
        {"path": "shards/test-00000-40.tfrec", "record": None, "offset": None, "reason": "is missing"},
    ]


def test_twenty_faults_are_shown_and_the_rest_is_counted(cli: Any, shards: Path) -> None:
    for number in range(23):
        shutil.copy(shards / "test-00000-40.tfrec", shards / f"other-{number:05d}-40.tfrec")
    done = cli("data", "check", "shards")
    assert done.returncode == 1
    lines = done.stdout.splitlines()
    assert len(lines) == 22
    assert lines[20] == "and 3 more"


def test_check_writes_its_json_to_standard_output_alone(cli: Any, shards: Path) -> None:
    damage(shards / "train-00001-50.tfrec", 100)
    done = cli("data", "check", "shards", "--json", "-")
    assert done.returncode == 1
    assert len(json.loads(done.stdout)["result"]["bad"]) == 1
    assert "1 fault in 1 file" in done.stderr


@pytest.mark.parametrize("command", ["check", "stats", "show"])
def test_where_there_is_nothing_is_status_2(cli: Any, read_json: Any, tmp_path: Path, command: str) -> None:
    (tmp_path / "empty").mkdir()
    done = cli("data", command, "empty", "--json", "out.json")
    assert done.returncode == 2, done.stderr
    assert done.stderr.startswith("error: empty: no")
    assert read_json(tmp_path / "out.json")["result"] is None
    assert not (tmp_path / "ws").exists()


@pytest.mark.parametrize("columns", [80, 120])
def test_stats_of_shards_fit_the_terminal(cli: Any, shards: Path, columns: int) -> None:
    done = cli("data", "stats", "shards", env={"COLUMNS": str(columns)})
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert max(map(len, lines)) <= columns
    assert lines[0].split() == ["CLASS", "TRAIN", "TEST", "ALL"]
    assert [line.split()[0] for line in lines[1:11]] == list("0123456789")
    assert lines[11].split() == ["10", "classes", "158", "40", "198"]
    facts = {line.split()[0]: line.split(maxsplit=1)[1].strip() for line in lines[13:]}
    assert facts["sizes"] == "all 32 x 32"
    assert facts["format"] == "jpeg 198"
    assert facts["shards"].startswith("5, ")


def test_stats_of_a_folder_say_what_is_in_the_files(cli: Any, read_json: Any, photos: Path) -> None:
    done = cli("data", "stats", "photos", "--json", "out.json")
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[0].split() == ["CLASS", "IMAGES"]
    assert "colours  grey 1,797" in done.stdout
    result = read_json(photos.parent / "out.json")["result"]
    assert (result["records"], result["suffixes"], result["modes"]) == (1797, {".png": 1797}, {"grey": 1797})
    assert sum(result["classes"]["train"].values()) == 1797
    assert result["common_size"] == [8, 8, 1797]


def test_many_classes_are_summed_up(cli: Any, photos: Path, tmp_path: Path) -> None:
    image = next((photos / "0").iterdir()).read_bytes()
    for number in range(25):
        (tmp_path / "many" / f"c{number:02d}").mkdir(parents=True)
        (tmp_path / "many" / f"c{number:02d}" / "1.png").write_bytes(image)
    lines = cli("data", "stats", "many").stdout.splitlines()
    assert [line.split() for line in lines[20:23]] == [["c19", "1"], ["5", "more", "5"], ["25", "classes", "25"]]


def test_without_a_terminal_a_page_is_written_and_named(cli: Any, read_json: Any, shards: Path) -> None:
    done = cli("data", "show", "shards", "--json", "out.json")
    assert done.returncode == 0, done.stderr
    page = shards.parent / "ws" / "reports" / "shards-images.html"
    assert done.stdout == f"9 images: {page}\n"
    source = page.read_text()
    assert source.count("data:image/") == 9
    assert "9 of 198 images, drawn at random (seed 0)" in source
    result = read_json(shards.parent / "out.json")["result"]
    assert result["html_path"] == str(page)
    assert len(result["images"]) == 9
    assert set(result["images"][0]) == {"path", "record", "label", "height", "width", "bytes", "reason"}
    assert all(f"record {image['record']}" in source for image in result["images"])


def test_the_page_goes_where_html_says(cli: Any, photos: Path, tmp_path: Path) -> None:
    done = cli("data", "show", "photos", "--html", "new/page.html", "--count", "4", "--seed", "7")
    assert done.returncode == 0, done.stderr
    source = (tmp_path / "new" / "page.html").read_text()
    assert source.count("data:image/png") == 4
    assert "4 of 1,797 images, drawn at random (seed 7)" in source
    assert not (tmp_path / "ws").exists()


def test_a_split_is_shown_alone(cli: Any, shards: Path) -> None:
    done = cli("data", "show", "shards", "--split", "test", "--json", "-")
    images = json.loads(done.stdout)["result"]["images"]
    assert {Path(image["path"]).name for image in images} == {"test-00000-40.tfrec"}


def test_a_page_that_cannot_be_written_is_one_line(cli: Any, shards: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    done = cli("data", "show", "shards", "--html", "file/page.html")
    assert done.returncode == 1
    assert done.stderr.startswith("error: ")
    assert "file/page.html cannot be written" in done.stderr


@pytest.mark.parametrize("option", [["--count", "0"], ["--split", "dev"]])
def test_a_wrong_option_is_status_2(cli: Any, shards: Path, option: list[str]) -> None:
    done = cli("data", "show", "shards", *option)
    assert done.returncode == 2
    assert option[0] in done.stderr


def on_a_terminal(arguments: list[str], folder: Path, environment: dict[str, str]) -> str:
    """What a command writes to a terminal of 80 columns."""
    terminal, their_end = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "nodewise", *arguments], cwd=folder, env=environment, stdout=their_end
    )
    os.close(their_end)
    written = b""
    while True:
        try:
            piece = os.read(terminal, 1 << 16)
        except OSError:
            break
        if not piece:
            break
        written += piece
    os.close(terminal)
    assert process.wait(60) == 0
    return written.decode()


def test_in_a_terminal_with_colours_the_images_are_drawn(
    shards: Path, environment: dict[str, str], tmp_path: Path
) -> None:
    colours = {**environment, "TERM": "xterm-256color", "COLORTERM": "truecolor", "COLUMNS": "80"}
    colours.pop("NO_COLOR", None)
    text = on_a_terminal(["data", "show", "shards"], tmp_path, colours)
    # Nine images of 25 x 25 pixels, two pixels to a character.
    assert text.count("▀") == 9 * 25 * 13
    assert "\x1b[38;2;" in text
    assert not (tmp_path / "ws").exists()

    text = on_a_terminal(["data", "show", "shards"], tmp_path, {**colours, "NO_COLOR": "1"})
    assert "▀" not in text
    assert "shards-images.html" in text
