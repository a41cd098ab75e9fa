"""What the benchmarks share: the photos, processes that are timed whole, rounds that interleave the sides, results.

Every side runs in processes of its own that this one starts, one after the other and never two at once; the order is
turned by one place in each round, so that no side always has the same place. Medians with ranges are written as JSON
with machine, versions, date and n. Nothing else should run on the machine meanwhile.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from itertools import cycle, islice
from pathlib import Path
from statistics import median
from typing import Any

from nodewise.core.files import write_atomic
from nodewise.runs.machine import provenance

RESULTS = Path(__file__).parent / "results"
PEERS = Path(__file__).parent / "peers"
FLOWERS = 3670
"""Photos in the whole Flowers set. The test data has 800 of them, which are repeated up to this number."""

PACKAGES = ("nodewise", "opencv-python-headless", "simplejpeg", "pillow", "numpy", "torch", "tensorflow-cpu")
PACKAGES += ("pyspark", "ray", "webdataset")

Side = Callable[[], dict[str, float]]
"""Runs once; figures by name."""


def test_data() -> Path:
    default = Path(__file__).parent.parent.parent / "shared" / "data"
    folder = Path(os.environ.get("NODEWISE_TEST_DATA", default))
    if not (folder / "flowers").is_dir():
        sys.exit(f"no photos at {folder}/flowers; NODEWISE_TEST_DATA names the folder of test data")
    return folder


def photos(folder: Path, count: int = FLOWERS) -> Path:
    """Make ``folder/photos`` with ``count`` files in class folders: the test data's, each several times by copy."""
    originals = sorted((test_data() / "flowers").glob("*/*.jpg"))
    for number, path in enumerate(islice(cycle(originals), count)):
        dest = folder / "photos" / path.parent.name / f"{number // len(originals)}-{path.name}"
        dest.parent.mkdir(parents=True, exist_ok=True)
        dest.write_bytes(path.read_bytes())
    return folder / "photos"


def timed(command: list[str], **environment: str) -> dict[str, float]:
    """Run a program; ``wall_s`` of the whole process, and the figures on the last line that it prints, as JSON."""
    began = time.perf_counter()
    run = subprocess.run(command, capture_output=True, text=True, env={**os.environ, **environment}, check=False)
    wall_s = time.perf_counter() - began
    if run.returncode != 0:
        sys.exit(f"{' '.join(command)} failed:\n{run.stdout[-2000:]}\n{run.stderr[-4000:]}")
    lines = run.stdout.strip().splitlines()
    return {"wall_s": wall_s, **(json.loads(lines[-1]) if lines and lines[-1].startswith("{") else {})}


def peer(name: str, *arguments: object) -> dict[str, float]:
    """Run ``benchmarks/peers/<name>.py`` under this Python."""
    return timed([sys.executable, str(PEERS / f"{name}.py"), *map(str, arguments)], TF_CPP_MIN_LOG_LEVEL="3")


def interleave(sides: dict[str, Side], rounds: int) -> dict[str, dict[str, list[float]]]:
    """Run every side once per round; the figures of all rounds, by side and name."""
    measured: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    for number in range(rounds):
        for name in rotated(list(sides), number):
            print(f"round {number + 1} of {rounds}: {name}", file=sys.stderr, flush=True)
            for figure, value in sides[name]().items():
                measured[name][figure].append(value)
    return {name: dict(measured[name]) for name in sides}


def rotated(names: list[str], number: int) -> Iterator[str]:
    place = number % max(1, len(names))
    yield from names[place:] + names[:place]


def summarise(values: list[float]) -> dict[str, float]:
    return {"median": median(values), "min": min(values), "max": max(values), "n": len(values)}


OWN_FACTS = {"date", "machine", "cores", "memory_bytes", "python", "versions", "sides"}
"""Of a result, what :func:`write` says itself."""


def write(name: str, facts: dict[str, Any], measured: dict[str, dict[str, list[float]]], output: Path | None) -> None:
    """Write ``results/<name>.json``."""
    versions = {}
    for package in PACKAGES:
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            continue
    machine = {key: value for key, value in provenance().items() if key not in ("command", "versions")}
    sides = {side: {figure: summarise(values) for figure, values in row.items()} for side, row in measured.items()}
    content = {"date": f"{datetime.now(UTC):%Y-%m-%d}", **machine, "versions": versions, **facts, "sides": sides}
    path = output or RESULTS / f"{name}.json"
    write_atomic(path, json.dumps(content, indent=2) + "\n")
    print(path)


def options(description: str, rounds: int) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=description.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=rounds, metavar="N", help=f"rounds (default: {rounds})")
    parser.add_argument("--photos", type=int, default=FLOWERS, help="how many photos to prepare or read")
    parser.add_argument("--only", nargs="*", metavar="SIDE", help="run these sides alone, to try something")
    parser.add_argument("--output", type=Path, help="file for the result, instead of the committed one")
    chosen = parser.parse_args()
    if chosen.rounds < 1:
        parser.error("--rounds must be at least 1")
    return chosen


def chosen_sides(sides: dict[str, Side], only: list[str] | None) -> dict[str, Side]:
    unknown = set(only or []) - set(sides)
    if unknown:
        sys.exit(f"unknown sides {sorted(unknown)}; there are {', '.join(sides)}")
    return {name: side for name, side in sides.items() if not only or name in only}
