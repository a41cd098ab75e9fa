"""How much memory ``prepare`` takes for very many files: the list is arrays, and tasks are cut out one at a time."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import psutil
import pytest

from nodewise.images.codecs import encode_jpeg

FILES = 1_000_000 if os.environ.get("NODEWISE_TEST_ALL") == "1" else 60_000
LINKS_PER_FILE = 25_000
CLASSES = 10


@pytest.fixture
def many_files(tmp_path: Path) -> Path:
    """Tiny JPEGs under long names in ten class folders: hard links to a few files, which a list cannot tell."""
    source = tmp_path / "many"
    random = np.random.default_rng(0)
    for label in range(CLASSES):
        folder = source / f"class-{label}"
        folder.mkdir(parents=True)
        for number in range(FILES // CLASSES):
            if number % LINKS_PER_FILE == 0:
                original = folder / f"original-{number:08d}.jpg"
                original.write_bytes(encode_jpeg(random.integers(0, 256, (8, 8, 3), dtype=np.uint8), 75))
            else:
                os.link(original, folder / f"image-with-a-name-as-cameras-give-{number:08d}.jpg")
    return source


def rss_bytes(process: psutil.Process) -> tuple[int, int]:
    """Of the process with its children, and of the process alone."""
    try:
        own = process.memory_info().rss
        return own + sum(child.memory_info().rss for child in process.children(recursive=True)), own
    except psutil.NoSuchProcess:
        return 0, 0


@pytest.mark.timeout(1800)
def test_memory_stays_flat_however_many_files_there_are(many_files: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "nodewise", "prepare", str(many_files), str(tmp_path / "shards")]
    options = ["--workspace", str(tmp_path / "workspace"), "--json", str(tmp_path / "result.json")]
    with subprocess.Popen([*command, *options], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as running:
        process, samples = psutil.Process(running.pid), [(0, 0)]
        while running.poll() is None:
            samples.append(rss_bytes(process))
            time.sleep(0.1)
    peak, driver_peak = (max(column) for column in zip(*samples, strict=True))
    assert running.returncode == 0
    assert json.loads((tmp_path / "result.json").read_text())["result"]["records"] == FILES
    print(f"{FILES:,} files: {peak / 2**20:.0f} MiB in all processes, {driver_peak / 2**20:.0f} MiB in the driver")
    assert peak < 2**30
    # 60,000 names take some 4 MB as an array, and as Python objects some 20 MB.
    assert driver_peak < (160 + FILES * 260 // 2**20) * 2**20
