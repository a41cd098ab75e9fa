"""A disk that is full, at every place where it can be: a small file system in memory that is made for the test."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import nodewise
from nodewise.core.errors import DiskFullError
from nodewise.core.files import TEMP_PREFIX
from nodewise.shards.files import read_shard
from nodewise.shards.manifest import MANIFEST_NAME, read_manifest
from nodewise.shards.names import parse_shard_name
from nodewise.specs.results import TrainResult
from nodewise.training.checkpoint import parse_checkpoint

SETTINGS = {"size": 16, "sample": 0.05, "shard_records": 15}
"""Six shards of 90 digits: 60 KB."""
STEP = 4096

Disk = Callable[[int], Path]


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Disk]:
    """Call it with a number of bytes: makes the disk, or changes its size."""
    mount = tmp_path / "disk"
    mount.mkdir()
    made = False

    def of_size(count: int) -> Path:
        nonlocal made
        action = f"remount,size={count}" if made else f"size={count}"
        command = ["mount", "-t", "tmpfs", "-o", action, "tmpfs", str(mount)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            pytest.skip(f"this user may not mount a file system: {done.stderr.strip()}")
        made = True
        return mount

    yield of_size
    if made:
        subprocess.run(["umount", str(mount)], check=True)


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def assert_nothing_is_half_written(folder: Path) -> None:
    if not folder.exists():
        return
    for path in folder.iterdir():
        assert not path.name.startswith(TEMP_PREFIX), path
        if parse_shard_name(path.name):
            assert len(list(read_shard(folder, path.name))) == parse_shard_name(path.name).records


def disk_full_while_preparing(source: Path, dest: Path, workspace: Path) -> DiskFullError | None:
    try:
        nodewise.prepare(source, dest, workspace=workspace, cores_per_node=1, preflight=False, **SETTINGS)
    except DiskFullError as error:
        return error
    return None


def test_wherever_space_runs_out_it_is_said_and_the_same_job_goes_on_later(
    disk: Disk, digits_folder: Path, tmp_path: Path, repetitions: int
) -> None:
    nodewise.prepare(digits_folder, tmp_path / "undisturbed", workspace=tmp_path / "workspace", **SETTINGS)
    undisturbed = contents(tmp_path / "undisturbed")
    whole = sum(len(data) + STEP for data in undisturbed.values())
    step = STEP if repetitions > 3 else STEP * 7
    failures = 0
    for size in range(STEP, whole, step):
        mount = disk(size)
        shards = mount / "shards"
        error = disk_full_while_preparing(digits_folder, shards, tmp_path / "workspace")
        if error is not None:
            failures += 1
            assert f"{mount} has " in error.message
            assert " free" in error.message
            assert error.hint == "free some space and run the same command again"
            assert_nothing_is_half_written(shards)
            assert not (shards / MANIFEST_NAME).exists()
            disk(4 * whole)
            nodewise.prepare(digits_folder, shards, workspace=tmp_path / "workspace", cores_per_node=1, **SETTINGS)
        assert contents(shards) == undisturbed
        for path in (*shards.iterdir(), shards):
            path.rmdir() if path.is_dir() else path.unlink()
    assert failures >= 3


def test_a_full_disk_under_the_workspace_is_said_too(disk: Disk, digits_folder: Path, tmp_path: Path) -> None:
    mount = disk(16 * STEP)
    failures = 0
    for room in range(16):
        workspace = mount / f"workspace {room}"
        filler = mount / "filler"
        filler.write_bytes(bytes((15 - room) * STEP))
        error = disk_full_while_preparing(digits_folder, tmp_path / f"shards {room}", workspace)
        if error is not None:
            assert f"{mount} has " in error.message
            failures += 1
        for folder, _, files in os.walk(workspace, topdown=False):
            for name in files:
                os.unlink(os.path.join(folder, name))
            os.rmdir(folder)
    assert failures >= 3


def test_the_command_says_it_in_one_line(disk: Disk, digits_folder: Path, tmp_path: Path) -> None:
    mount = disk(6 * STEP)
    command = [sys.executable, "-m", "nodewise", "prepare", str(digits_folder), str(mount / "shards"), "--size", "64"]
    # What preflight foresees is not what happens when somebody else fills the disk meanwhile.
    command += ["--no-preflight"]
    done = subprocess.run(
        [*command, "--workspace", str(tmp_path / "workspace"), "--json", str(tmp_path / "result.json")],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    (line,) = (line for line in done.stderr.splitlines() if line.startswith("error:"))
    assert f"{mount} has " in line
    error = json.loads((tmp_path / "result.json").read_text())["error"]
    assert error["code"] == "disk_full"
    assert not list((mount / "shards").glob("*.tfrec")) or not (mount / "shards" / MANIFEST_NAME).exists()
    disk(64 * 2**20)
    subprocess.run([*command, "--workspace", str(tmp_path / "workspace")], check=True, capture_output=True)
    assert sum(shard.records for shard in read_manifest(mount / "shards").shards) == 1797


def test_a_checkpoint_that_does_not_fit_ends_the_training_and_the_one_before_stays(
    disk: Disk, small_shards: Path, tmp_path: Path
) -> None:
    def train(checkpoints: Path, **more: Any) -> TrainResult:
        return nodewise.train(
            small_shards,
            epochs=3,
            batch_size=158,
            checkpoint_every=1,
            checkpoint_dir=checkpoints,
            cores_per_node=1,
            preflight=False,
            workspace=tmp_path / "workspace",
            **more,
        )

    undisturbed = train(tmp_path / "kept", output=tmp_path / "undisturbed")
    size = max(path.stat().st_size for path in (tmp_path / "kept").iterdir())
    mount = disk(size + size // 2)
    with pytest.raises(DiskFullError) as caught:
        train(mount, output=tmp_path / "model")
    assert f"{mount} has " in caught.value.message
    (left,) = mount.iterdir()
    assert parse_checkpoint(left.read_bytes(), str(left)).step == 1
    assert not (tmp_path / "model").exists()
    disk(4 * size)
    resumed = train(mount, output=tmp_path / "model", resume=True)
    assert resumed.resumed_at_step == 1
    assert (tmp_path / "model").read_bytes() == (tmp_path / "undisturbed").read_bytes()
    assert resumed.accuracy == undisturbed.accuracy
