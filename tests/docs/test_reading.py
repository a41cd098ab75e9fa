"""What docs/reading.md shows can be run."""

from __future__ import annotations

import importlib.util
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from nodewise.images.codecs import encode_jpeg
from nodewise.shards.examples import Example
from nodewise.shards.files import write_shards
from nodewise.shards.manifest import Manifest, write_manifest

PAGE = (Path(__file__).parents[2] / "docs" / "reading.md").read_text()
BLOCKS = re.findall(r"^```python\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)


def package_of(block: str) -> str:
    """The package that a block shows."""
    return next(name for name in ("torch", "tensorflow", "webdataset", "nodewise") if name in block)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folders of shards: ``jpeg/shards``, ``raw/shards`` and ``tar/shards``."""
    folder = tmp_path_factory.mktemp("reading")
    pixels = np.full((8, 8, 3), 100, np.uint8)
    jpeg, raw = Example(encode_jpeg(pixels, 90), 1), Example(pixels.tobytes(), 1, (8, 8, 3))
    for name, example, shard_format in (
        ("jpeg", jpeg, "tfrecord"),
        ("raw", raw, "tfrecord"),
        ("tar", jpeg, "webdataset"),
    ):
        shards = write_shards(folder / name / "shards", "train", 0, [example] * 3, shard_format=shard_format)
        manifest = Manifest(
            classes=("a", "b"),
            image={"height": 8, "width": 8, "channels": 3},
            transform={},
            counts={"train": {"b": 3}},
            shards=shards,
            shard_format=shard_format,
        )
        write_manifest(folder / name / "shards", manifest)
    return folder


@pytest.mark.parametrize("number", range(len(BLOCKS)), ids=lambda number: f"{number}-{package_of(BLOCKS[number])}")
def test_the_blocks_of_the_page_run(folder: Path, number: int) -> None:
    block, package = BLOCKS[number], package_of(BLOCKS[number])
    if importlib.util.find_spec(package) is None:
        pytest.skip(f"{package} is not installed")
    name = "tar" if package == "webdataset" else "raw" if "decode_raw" in block else "jpeg"
    done = subprocess.run(
        [sys.executable, "-c", block],
        cwd=folder / name,
        env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": "-1"},
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    lines = done.stdout.splitlines()
    assert len(lines) == {"nodewise": 10, "torch": 1, "webdataset": 3, "tensorflow": 0}[package]
