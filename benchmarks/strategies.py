"""Which strategy for how many nodes: all of them on 1, 2 and 4 emulated nodes, with and without compression.

The assignment's CNN learns a part of CIFAR-10 on nodes of a quarter of a CPU each, on Ray and on the local engine.
Every training is a process and a cluster of its own. Timed is training alone: the slowest worker of each epoch, all
epochs added up, without evaluation, start-up and reading. ``sent_bytes_per_step`` is what all workers together hand to
the exchange, per step of the training. Speedup is over ``single`` on the same engine in the same round. Writes
``results/strategies.json``.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from collections import defaultdict
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from statistics import mean

from harness import Side, chosen_sides, interleave, test_data, timed, write
from nodewise.isolation.tiers import detect_tier
from nodewise.specs.cluster import EngineName
from nodewise.specs.job import Compression, Strategy
from nodewise.specs.results import TrainResult

CPUS_PER_NODE, NODES = 0.25, (1, 2, 4)
SAMPLE, EPOCHS, AVERAGE_EVERY, SERVERS = 0.04, 3, 4, 1


@dataclass(frozen=True, kw_only=True)
class Setup:
    """One training; parameter servers are ``is_async`` or not."""

    engine: EngineName
    strategy: Strategy
    nodes: int
    compression: Compression = "none"
    is_async: bool = False

    @property
    def name(self) -> str:
        kind = f"{self.strategy}{' async' * self.is_async}{' bf16' * (self.compression == 'bf16')}"
        return f"{self.engine} {kind} x{self.nodes}"


def setups() -> list[Setup]:
    """Compression only where something travels between nodes; one worker alone is never ahead of others."""
    found = []
    engines: tuple[EngineName, ...] = ("local", "ray")
    for engine in engines:
        strategies: tuple[Strategy, ...] = ("all-reduce", "average")
        if engine == "ray":
            strategies += ("parameter-server",)
        for nodes in NODES:
            if nodes == 1:
                found.append(Setup(engine=engine, strategy="single", nodes=nodes))
            compressions: tuple[Compression, ...] = ("none", "bf16") if nodes > 1 else ("none",)
            found += [
                Setup(engine=engine, strategy=strategy, nodes=nodes, compression=compression)
                for strategy in strategies
                for compression in compressions
            ]
            if engine == "ray" and nodes > 1:
                found.append(Setup(engine=engine, strategy="parameter-server", nodes=nodes, is_async=True))
    return found


def main() -> None:
    """Interleave the trainings and write what was measured."""
    chosen = options()
    with tempfile.TemporaryDirectory(prefix="nodewise-bench-") as name:
        folder = Path(name)
        command = [sys.executable, "-m", "nodewise", "prepare", str(test_data() / "cifar10-jpg.tar.gz")]
        command += [str(folder / "shards"), "--sample", str(chosen.sample), "--workspace", str(folder / "workspace")]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        by_name = {setup.name: setup for setup in setups()}
        sides: dict[str, Side] = {
            name: partial(in_own_process, folder, setup, chosen.epochs) for name, setup in by_name.items()
        }
        measured = interleave(chosen_sides(sides, chosen.only), chosen.rounds)
    for name, figures in measured.items():
        base = measured.get(Setup(engine=by_name[name].engine, strategy="single", nodes=1).name)
        if base:
            pairs = zip(base["train_s"], figures["train_s"], strict=True)
            figures["speedup"] = [alone / together for alone, together in pairs]
    facts = {
        "records": next(iter(measured.values()))["records"][0],
        "epochs": chosen.epochs,
        "average_every": AVERAGE_EVERY,
        "servers": SERVERS,
        "cpus_per_node": CPUS_PER_NODE,
        "emulation_tier": detect_tier().tier.value,
        "setups": {name: asdict(by_name[name]) for name in measured},
    }
    write("strategies", facts, measured, chosen.output)


def options() -> argparse.Namespace:
    """What to run; all but the defaults is for trying something."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=1, metavar="N", help="rounds (default: 1)")
    parser.add_argument("--epochs", type=int, default=EPOCHS, metavar="N", help=f"default: {EPOCHS}")
    parser.add_argument(
        "--sample", type=float, default=SAMPLE, metavar="SHARE", help=f"of CIFAR-10 (default: {SAMPLE})"
    )
    parser.add_argument("--only", nargs="*", metavar="SIDE", help="run these alone, such as 'ray all-reduce x2'")
    parser.add_argument("--output", type=Path, help="file for the result, instead of the committed one")
    chosen = parser.parse_args()
    if chosen.rounds < 1 or chosen.epochs < 1:
        parser.error("--rounds and --epochs must be at least 1")
    return chosen


def in_own_process(folder: Path, setup: Setup, epochs: int) -> dict[str, float]:
    return timed([sys.executable, __file__, "--one", str(folder), json.dumps({**asdict(setup), "epochs": epochs})])


def measure(folder: Path, *, engine: EngineName, nodes: int, **settings: object) -> dict[str, float]:
    """Train once."""
    import nodewise

    result = nodewise.train(
        folder / "shards",
        engine=engine,
        nodes=nodes,
        cores_per_node=1,
        cpus_per_node=CPUS_PER_NODE,
        average_every=AVERAGE_EVERY,
        servers=SERVERS,
        workspace=folder / "workspace",
        **settings,  # type: ignore[arg-type]
    )
    if result.accuracy is None:
        sys.exit("no images were held out")
    return {
        "train_s": training_seconds(result),
        "sent_bytes_per_step": sum(worker.sent_bytes for worker in result.workers) / result.steps,
        "accuracy": result.accuracy,
        "records": result.records,
        "start_up_s": result.start_up_seconds,
        "communicate_share": mean(share_of_communication(result)),
    }


def training_seconds(result: TrainResult) -> float:
    slowest: dict[int, float] = defaultdict(float)
    for worker in result.workers:
        slowest[worker.epoch] = max(slowest[worker.epoch], worker.seconds - worker.evaluate_s)
    return sum(slowest.values())


def share_of_communication(result: TrainResult) -> list[float]:
    """Of each worker's training in each epoch: moving gradients or weights, and waiting for others."""
    return [
        (worker.communicate_s + worker.wait_s) / (worker.seconds - worker.evaluate_s)
        for worker in result.workers
        if worker.seconds > worker.evaluate_s
    ]


if __name__ == "__main__":
    if sys.argv[1:2] == ["--one"]:
        print(json.dumps(measure(Path(sys.argv[2]), **json.loads(sys.argv[3]))))
    else:
        main()
