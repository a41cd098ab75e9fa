"""How long does training CIFAR-10 take, by nodewise and by the assignment's Keras code, and how good is what comes out?

Both sides train the same network on the same pixels (the JPEG copy of CIFAR-10) with two threads, each run in a process
of its own; round by round with another seed. Keras gets the images decoded, in memory; nodewise reads shards. Of every
epoch, training and evaluation on the 10,000 test images are timed apart: ``train_s`` is all of an epoch but its
evaluation (of nodewise with writing its checkpoint, of Keras with building its graph in the first one), ``wall_s`` the
whole command, imports, reading and evaluations included. ``reached_s`` is ``train_s`` added up to the end of the first
epoch whose test accuracy is at least what Keras has at its end, in the mean over its runs. In the same rounds, the
recipe ``fast`` with several numbers of epochs, and the seconds until its test accuracy first is 70, 80, 90 and 94 %.
The processor is used alone; where PyTorch sees a GPU, ``fast`` runs on it as well. Writes ``results/train.json``.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Iterable
from functools import partial
from itertools import accumulate
from pathlib import Path
from statistics import mean, median
from typing import Any, Literal

import numpy as np
import torch

from harness import Side, chosen_sides, peer, rotated, test_data, timed, write
from nodewise.shards.reader import ShardReader

THREADS = 2
KERAS = "Keras"
EPOCHS = (2, 10)
"""Of the recipe ``standard``: the fewest after which it is well above Keras, and as many as Keras."""
FAST_EPOCHS = (1, 2, 8, 16)
MARKS = (0.70, 0.80, 0.90, 0.94)
ON_CPU = {"CUDA_VISIBLE_DEVICES": ""}

Run = dict[str, Any]
"""``wall_s``, and ``epochs``: of each ``train_s``, ``evaluate_s`` and ``accuracy`` after it."""


def main() -> None:
    """Interleave the sides and write what was measured."""
    chosen = options()
    with tempfile.TemporaryDirectory(prefix="nodewise-bench-") as name:
        folder = Path(name)
        prepare(folder, chosen.sample)
        runs: dict[str, list[Run]] = {}
        for seed in range(chosen.seeds):
            sides = chosen_sides(all_sides(folder, chosen.keras_epochs, seed), chosen.only)
            runs = runs or {side: [] for side in sides}
            for side in rotated(list(sides), seed):
                print(f"seed {seed + 1} of {chosen.seeds}: {side}", file=sys.stderr, flush=True)
                runs[side].append(sides[side]())
    facts = {
        "threads": THREADS,
        "keras_epochs": chosen.keras_epochs,
        "sample": chosen.sample,
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        "mean_accuracy": {side: mean(run["epochs"][-1]["accuracy"] for run in done) for side, done in runs.items()},
    }
    write("train", facts, figures_of(runs), chosen.output)


def options() -> argparse.Namespace:
    """What to run; all but the defaults is for trying something."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--seeds", type=int, default=3, metavar="N", help="runs of each side (default: 3)")
    parser.add_argument("--keras-epochs", type=int, default=10, metavar="N", help="as the assignment: 10")
    parser.add_argument("--sample", type=float, default=1.0, metavar="SHARE", help="of the images (default: all)")
    parser.add_argument("--only", nargs="*", metavar="SIDE", help="run these sides alone")
    parser.add_argument("--output", type=Path, help="file for the result, instead of the committed one")
    chosen = parser.parse_args()
    if chosen.seeds < 1 or chosen.keras_epochs < 1:
        parser.error("--seeds and --keras-epochs must be at least 1")
    return chosen


def prepare(folder: Path, sample: float) -> None:
    """Shards for nodewise, and the same pixels as arrays for Keras."""
    source, shards = test_data() / "cifar10-jpg.tar.gz", folder / "shards"
    command = [sys.executable, "-m", "nodewise", "prepare", str(source), str(shards), "--sample", str(sample)]
    subprocess.run([*command, "--workspace", str(folder / "workspace")], check=True, stdout=subprocess.DEVNULL)
    arrays = {}
    splits: tuple[Literal["train", "test"], ...] = ("train", "test")
    for split in splits:
        with ShardReader(shards, split=split, batch_size=1000, shuffle=False) as reader:
            batches = list(reader)
        arrays[f"{split}_images"] = np.concatenate([batch.images for batch in batches])
        arrays[f"{split}_labels"] = np.concatenate([batch.labels for batch in batches])
    np.savez(folder / "data.npz", **arrays)  # type: ignore[arg-type]


def all_sides(folder: Path, keras_epochs: int, seed: int) -> dict[str, Side]:
    """Every side by its name, on the GPU too where there is one."""
    sides: dict[str, Side] = {KERAS: lambda: peer("keras_train", folder / "data.npz", keras_epochs, seed, THREADS)}
    for epochs in EPOCHS:
        sides[f"nodewise, {epochs} epochs"] = partial(nodewise, folder, seed, epochs, **ON_CPU)
    for epochs in FAST_EPOCHS:
        name = f"fast, {epochs} epoch{'s' * (epochs > 1)}"
        sides[name] = partial(nodewise, folder, seed, epochs, "--recipe", "fast", **ON_CPU)
        if torch.cuda.is_available():
            sides[f"{name}, GPU"] = partial(nodewise, folder, seed, epochs, "--recipe", "fast")
    return sides


def nodewise(folder: Path, seed: int, epochs: int, *settings: str, **environment: str) -> Run:
    result = folder / "result.json"
    command = [sys.executable, "-m", "nodewise", "train", str(folder / "shards"), *settings]
    command += ["--epochs", str(epochs), "--seed", str(seed)]
    command += ["--cores-per-node", str(THREADS), "--workspace", str(folder / "workspace"), "--json", str(result)]
    run: Run = timed(command, **environment)
    trained = json.loads(result.read_text())["result"]
    timed_epochs = [
        {
            "train_s": worker["seconds"] - worker["evaluate_s"],
            "evaluate_s": worker["evaluate_s"],
            "accuracy": epoch["test_accuracy"],
        }
        for worker, epoch in zip(trained["workers"], trained["epochs"], strict=True)
    ]
    return {**run, "epochs": timed_epochs}


def figures_of(runs: dict[str, list[Run]]) -> dict[str, dict[str, list[float]]]:
    """What to keep of each side's runs; Keras's figures are those that others are held against."""
    measured = {side: own_figures(done) for side, done in runs.items()}
    if KERAS not in runs:
        return measured
    baseline = measured[KERAS]
    target = mean(baseline["accuracy"])
    for side in (name for name in measured if name.startswith("nodewise")):
        # Of the same round, so that what the machine did meanwhile weighs on both.
        for figure in ("epoch_s", "total_s", "wall_s"):
            pairs = zip(measured[side][figure], baseline[figure], strict=True)
            measured[side][f"{figure}_ratio"] = [own / other for own, other in pairs]
        reached = times_to(target, runs[side])
        if reached:
            measured[side]["reached_s"] = reached
            pairs = zip(reached, baseline["total_s"], strict=True)
            measured[side]["reached_s_ratio"] = [own / other for own, other in pairs]
    return measured


def own_figures(runs: list[Run]) -> dict[str, list[float]]:
    epochs = [[epoch["train_s"] for epoch in run["epochs"]] for run in runs]
    figures = {
        "epoch_s": list(map(median, epochs)),
        "total_s": list(map(sum, epochs)),
        "wall_s": [run["wall_s"] for run in runs],
        "accuracy": [run["epochs"][-1]["accuracy"] for run in runs],
    }
    for mark in MARKS:
        reached = times_to(mark, runs)
        if reached:
            figures[f"to_{mark * 100:.0f}_s"] = reached
    return figures


def times_to(accuracy: float, runs: Iterable[Run]) -> list[float]:
    """Training seconds of each run until its test accuracy was so high; nothing unless all of them came so far."""
    found = []
    for run in runs:
        trained = accumulate(epoch["train_s"] for epoch in run["epochs"])
        so_far = (at for at, epoch in zip(trained, run["epochs"], strict=True) if epoch["accuracy"] >= accuracy)
        first = next(so_far, None)
        if first is None:
            return []
        found.append(first)
    return found


if __name__ == "__main__":
    main()
