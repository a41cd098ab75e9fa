"""How fast does `nodewise score` go from shards to predictions, against the network alone with images in memory?

Shards in the page cache: photos of 192 x 192 as JPEG, as many as the Flowers set has and four times as many, over
which what is done once is spread; CIFAR-10 (32 x 32) as JPEG and as plain pixels, since to decode so small a JPEG takes
an eighth of the network's time. Each with the network ``cnn``. One task slot per core, a thread per slot. The other
side is the same network in as many processes of one thread, on input that is in memory already; see
``peers/forward.py``. A rate of nodewise is that of its stage: what comes after the start of the cluster, loading the
network and finding its batch size included. Ratios are by round. Writes ``results/score.json``.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from functools import partial
from pathlib import Path

from harness import FLOWERS, Side, chosen_sides, interleave, options, peer, photos, summarise, test_data, timed, write

CIFAR = "cifar10-jpg.tar.gz"
MORE = 4
"""Times the photos."""


def main() -> None:
    chosen = options(__doc__ or "", rounds=5)
    with tempfile.TemporaryDirectory(prefix="nodewise-bench-") as name:
        folder = Path(name)
        few, many = (photos(folder / f"jpg{times}", times * chosen.photos) for times in (1, MORE))
        small = ["--sample", str(min(1.0, chosen.photos / FLOWERS))]
        kinds = {
            "photos": (few, ["--size", "192"]),
            "more photos": (many, ["--size", "192"]),
            "cifar": (test_data() / CIFAR, small),
            "cifar raw": (test_data() / CIFAR, [*small, "--encoding", "raw"]),
        }
        sides: dict[str, Side] = {}
        for kind, (source, settings) in kinds.items():
            shards = prepared(folder, kind, source, settings)
            sides |= all_sides(folder, kind, shards, untrained(folder / f"{kind}.safetensors", shards))
        measured = interleave(chosen_sides(sides, chosen.only), chosen.rounds)
    ratios = {}
    for kind in kinds:
        if {f"score {kind}", f"network alone {kind}"} <= measured.keys():
            own, alone = (measured[f"{side} {kind}"]["records_per_s"] for side in ("score", "network alone"))
            ratios[kind] = summarise([rate / limit for rate, limit in zip(own, alone, strict=True)])
    write(
        "score",
        {"photos": chosen.photos, "more_photos": MORE * chosen.photos, "ratio": ratios},
        measured,
        chosen.output,
    )


def prepared(folder: Path, kind: str, source: Path, settings: list[str]) -> Path:
    """Shards of the source."""
    command = [sys.executable, "-m", "nodewise", "prepare", str(source), str(folder / kind), *settings]
    more = ["--shard-records", "1000", "--workspace", str(folder / "workspace")]
    subprocess.run([*command, *more], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return folder / kind


def untrained(path: Path, shards: Path) -> Path:
    """A model file: what a network has learnt does not change how long it takes."""
    from nodewise.shards.manifest import read_manifest
    from nodewise.training.model_file import ModelInfo, save_model
    from nodewise.training.models import build_model
    from nodewise.training.records import image_shape_of

    manifest = read_manifest(shards)
    shape = image_shape_of(manifest, shards)
    network = build_model("cnn", num_classes=len(manifest.classes), image_shape=shape)
    save_model(path, network, ModelInfo(model="cnn", classes=manifest.classes, image_shape=shape, transform={}))
    return path


def all_sides(folder: Path, kind: str, shards: Path, model: Path) -> dict[str, Side]:
    return {
        f"score {kind}": partial(score, folder, shards, model),
        f"network alone {kind}": lambda: peer("forward", model, shards),
    }


def score(folder: Path, shards: Path, model: Path) -> dict[str, float]:
    output = folder / "result.json"
    command = [sys.executable, "-m", "nodewise", "score", str(shards), "--model", str(model), "--split", "all"]
    wall = timed([*command, "--json", str(output), "--workspace", str(folder / "workspace")])
    result = json.loads(output.read_text())["result"]
    names = ("records_per_s", "forward_records_per_s", "batch_size", "seconds", "start_up_seconds")
    return {**wall, **{name: result[name] for name in names}}


if __name__ == "__main__":
    main()
