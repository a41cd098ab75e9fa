"""How fast does `nodewise prepare` turn photos into shards, against its peers and against the codecs alone?

Every side prepares the same 3,670 photos (the Flowers set's number) as 192 x 192 JPEGs of quality 95, 4:4:4, into
TFRecord files, with as many workers as this machine has cores; each run is a new process and a new folder. ``wall_s``
is the whole command, ``work_s`` without start: imports, engine, JVM. In the same rounds, ``floor.py`` measures what the
codecs alone allow. Then one process compares pictures and lengths with tf.data's. Writes ``results/prepare.json``.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from harness import PEERS, Side, chosen_sides, interleave, options, peer, photos, timed, write

CORES = len(os.sched_getaffinity(0))
SLOW = ("spark + tensorflow", "ray data")
"""Peers that take half a minute each: they run in every second round."""


def main() -> None:
    chosen = options(__doc__ or "", rounds=5)
    with tempfile.TemporaryDirectory(prefix="nodewise-bench-") as name:
        folder = Path(name)
        source = photos(folder, chosen.photos)
        sides = chosen_sides(all_sides(folder, source), chosen.only)
        fast = {name: side for name, side in sides.items() if name not in SLOW}
        slow = {name: side for name, side in sides.items() if name in SLOW}
        measured = interleave(fast, chosen.rounds) | interleave(slow, (chosen.rounds + 1) // 2)
        quality = compare_pictures(source)
    write("prepare", {"photos": chosen.photos, "quality": quality}, measured, chosen.output)


def all_sides(folder: Path, source: Path) -> dict[str, Side]:
    return {
        "nodewise": lambda: nodewise(folder, source),
        "tf.data autotune": lambda: in_new_folder(folder, "tfdata_prepare", source, "auto"),
        "nodewise --optimize": lambda: nodewise(folder, source, "--optimize"),
        "nodewise --resample antialias": lambda: nodewise(folder, source, "--resample", "antialias"),
        "floor": lambda: timed([sys.executable, str(PEERS.parent / "floor.py"), str(source), "--passes", "1"]),
        "tf.data sequential": lambda: in_new_folder(folder, "tfdata_prepare", source, "sequential"),
        "nodewise on spark": lambda: nodewise(folder, source, "--engine", "spark"),
        "nodewise on ray": lambda: nodewise(folder, source, "--engine", "ray"),
        "spark + tensorflow": lambda: in_new_folder(folder, "spark_tensorflow_prepare", source, CORES),
        "ray data": lambda: in_new_folder(folder, "ray_data_prepare", source, CORES),
    }


def nodewise(folder: Path, source: Path, *settings: str) -> dict[str, float]:
    dest, result = folder / "shards", folder / "result.json"
    command = [sys.executable, "-m", "nodewise", "prepare", str(source), str(dest), "--test-fraction", "0"]
    figures = timed([*command, *settings, "--workspace", str(folder / "workspace"), "--json", str(result)])
    prepared = json.loads(result.read_text())["result"]
    shutil.rmtree(dest)
    return {**figures, "records": prepared["records"], "work_s": prepared["seconds"]}


def in_new_folder(folder: Path, script: str, source: Path, *arguments: object) -> dict[str, float]:
    dest = folder / "peer"
    figures = peer(script, source, dest, *arguments)
    shutil.rmtree(dest)
    return figures


def compare_pictures(source: Path) -> dict[str, dict[str, float]]:
    """Mean bytes and median PSNR against tf.data's output, by variant, over the different photos."""
    command = [sys.executable, str(PEERS / "pictures.py"), str(source)]
    environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"}
    done = subprocess.run(command, check=True, capture_output=True, text=True, env=environment)
    found: dict[str, dict[str, float]] = json.loads(done.stdout.strip().splitlines()[-1])
    return found


if __name__ == "__main__":
    main()
