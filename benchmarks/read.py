"""How fast are shards read into batches, by nodewise and by its peers, against decoding alone?

3,670 photos are prepared once (192 x 192, JPEG quality 95, 4:4:4, 230 to a shard) as TFRecord, as tar and as raw
pixels; then every side reads them from the page cache, each in a process of its own that does nothing else.
``floor.py`` measures in the same rounds what decoding alone allows. See ``peers/read.py`` for what is timed. Writes
``results/read.json``.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

from harness import PEERS, Side, chosen_sides, interleave, options, peer, photos, timed, write

SLOW = ("ray data",)


def main() -> None:
    chosen = options(__doc__ or "", rounds=5)
    with tempfile.TemporaryDirectory(prefix="nodewise-bench-") as name:
        folder = Path(name)
        source = photos(folder, chosen.photos)
        for kind, settings in {
            "tfrecord": [],
            "tar": ["--format", "webdataset"],
            "raw": ["--encoding", "raw"],
        }.items():
            command = [sys.executable, "-m", "nodewise", "prepare", str(source), str(folder / kind)]
            more = ["--test-fraction", "0", "--workspace", str(folder / "workspace")]
            subprocess.run([*command, *settings, *more], check=True, stdout=subprocess.DEVNULL)
        sides = chosen_sides(all_sides(folder, source), chosen.only)
        measured = interleave({name: side for name, side in sides.items() if name not in SLOW}, chosen.rounds)
        measured |= interleave({name: side for name, side in sides.items() if name in SLOW}, (chosen.rounds + 1) // 2)
    write("read", {"photos": chosen.photos, "batch_size": 32}, measured, chosen.output)


def all_sides(folder: Path, source: Path) -> dict[str, Side]:
    tfrecord, tar, raw = folder / "tfrecord", folder / "tar", folder / "raw"
    return {
        "nodewise": lambda: peer("read", "nodewise", tfrecord),
        "tf.data autotune": lambda: peer("read", "tfdata", tfrecord),
        "floor": lambda: timed([sys.executable, str(PEERS.parent / "floor.py"), str(source), "--passes", "1"]),
        "nodewise shuffled": lambda: peer("read", "nodewise_shuffled", tfrecord),
        "tf.data sequential": lambda: peer("read", "tfdata_sequential", tfrecord),
        "nodewise tar": lambda: peer("read", "nodewise", tar),
        "webdataset": lambda: peer("read", "webdataset", tar),
        "nodewise raw": lambda: peer("read", "nodewise", raw),
        "nodewise torch": lambda: peer("read", "nodewise_torch", tfrecord),
        "ray data": lambda: peer("read", "ray_data", tfrecord),
    }


if __name__ == "__main__":
    main()
