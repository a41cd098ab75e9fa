"""Is a replay fast enough to plan large clusters, and does one node foretell several?

Without arguments: replays made programs of 100,000 tasks on 1,000 nodes and of 1,000,000 tasks on 10,000 nodes, each in
a process of its own, and writes seconds and memory to ``results/whatif.json``. With ``--validate``: prepares photos on
1, 2 and 4 emulated nodes of 0.3 CPUs with Spark and Ray, replays each run on 1 node for 2 and 4, and writes how far off
the predictions were to ``results/whatif_validation.json``.
"""

from __future__ import annotations

import json
import resource
import sys
import tempfile
import time
from functools import partial
from pathlib import Path

import numpy as np

import harness

ENGINES = ("spark", "ray")
NODES = (1, 2, 4)
CPUS_PER_NODE = 0.3
"""So that four nodes leave this machine's two cores some room for the driver and the engine's own processes."""
SHARD_RECORDS = 25
CORES_PER_NODE = 4
STAGES = 10


def main() -> None:
    """Run what was asked for and write what was measured."""
    is_validation = "--validate" in sys.argv
    if is_validation:
        sys.argv.remove("--validate")
    options = harness.options(__doc__ or "", rounds=3)
    if is_validation:
        validate(options.rounds, options.photos, options.output)
        return
    sides = {
        f"{tasks} tasks on {nodes} nodes": partial(
            harness.timed, [sys.executable, __file__, "--scale", str(tasks), str(nodes)]
        )
        for tasks, nodes in ((100_000, 1_000), (1_000_000, 10_000))
    }
    measured = harness.interleave(harness.chosen_sides(sides, options.only), options.rounds)
    harness.write("whatif", {"stages": STAGES, "cores_per_node": CORES_PER_NODE}, measured, options.output)


def scale(num_tasks: int, nodes: int) -> dict[str, float]:
    """Seconds to replay a program of so many tasks on so many nodes and to account for its core-hours; peak memory."""
    from nodewise.whatif.account import account
    from nodewise.whatif.program import Program, ProgramStage, SlotGroup, Tasks
    from nodewise.whatif.shape import Cluster, fit, slots_of
    from nodewise.whatif.simulate import simulate

    generator = np.random.default_rng(0)
    count = num_tasks // STAGES
    stages = []
    for number in range(STAGES):
        zeros, no = np.zeros(count), np.zeros(count, np.bool_)
        tasks = Tasks(
            wait_s=np.full(count, 0.005),
            cpu_s=generator.lognormal(1.0, 0.5, count),
            read_s=zeros,
            fetch_s=generator.exponential(0.2, count),
            write_s=zeros,
            other_s=np.full(count, 0.05),
            read_bytes=zeros,
            fetch_bytes=zeros,
            write_bytes=zeros,
            has_failed=no,
            holds_stage=~no,
        )
        # Two stages at a time wait for the two before them, so that stages share the slots.
        waits_for = tuple(range(number - 2 - number % 2, number - number % 2)) if number > 1 else ()
        stages.append(
            ProgramStage(
                name=f"stage {number}", waits_for=waits_for, gap_s=0.5, closing_s=0.01, priority=number, tasks=tasks
            )
        )
    program = Program(
        name="made",
        stages=tuple(stages),
        tail_s=1.0,
        measured_s=1.0,
        slots=(SlotGroup(count=CORES_PER_NODE, paid_from_s=0.0, ready_s=10.0, until_s=np.inf),),
        nodes=1,
        cores_per_node=CORES_PER_NODE,
        slots_per_node=CORES_PER_NODE,
    )
    began = time.perf_counter()
    cluster = Cluster(nodes=nodes, slots_per_node=CORES_PER_NODE)
    fitted, slots = fit(program, cluster), slots_of(program, cluster)
    schedule = simulate(fitted, slots)
    simulated = time.perf_counter()
    account(fitted, slots, schedule)
    ended = time.perf_counter()
    return {
        "replay_s": simulated - began,
        "account_s": ended - simulated,
        "peak_memory_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024.0,
    }


def validate(rounds: int, num_photos: int, output: Path | None) -> None:
    """Measure every cluster in rounds, and predict several nodes from the one node of the same round."""
    with tempfile.TemporaryDirectory() as folder:
        photos = harness.photos(Path(folder), num_photos)
        sides = {
            f"{engine} x{nodes}": partial(in_own_process, photos, Path(folder), engine, nodes)
            for engine in ENGINES
            for nodes in NODES
        }
        measured = harness.interleave(sides, rounds)
    for engine in ENGINES:
        base = measured[f"{engine} x1"]
        for nodes in NODES[1:]:
            side = measured[f"{engine} x{nodes}"]
            side["predicted_s"] = base.pop(f"predicted_{nodes}_s")
            side["low_s"], side["high_s"] = base.pop(f"low_{nodes}_s"), base.pop(f"high_{nodes}_s")
            side["billed_error"] = errors(side["predicted_s"], side["seconds"])
            # Without starting and stopping: there emulated nodes take the machine's cores from each other.
            side["predicted_work_s"] = [
                predicted - (seconds - work)
                for predicted, seconds, work in zip(side["predicted_s"], base["seconds"], base["work_s"], strict=True)
            ]
            side["error"] = errors(side["predicted_work_s"], side["work_s"])
    facts = {"photos": num_photos, "shard_records": SHARD_RECORDS, "cpus_per_node": CPUS_PER_NODE}
    harness.write("whatif_validation", facts, measured, output)


def errors(predicted: list[float], measured: list[float]) -> list[float]:
    return [abs(one / other - 1) for one, other in zip(predicted, measured, strict=True)]


def in_own_process(photos: Path, folder: Path, engine: str, nodes: int) -> dict[str, float]:
    return harness.timed([sys.executable, __file__, "--one", str(photos), str(folder), engine, str(nodes)])


def measure(photos: Path, folder: Path, engine: str, nodes: int) -> dict[str, float]:
    """One run: its billed seconds, and those of its stages; of one on one node also what its replay predicts."""
    import nodewise
    from nodewise.workspace import Workspace

    with tempfile.TemporaryDirectory(dir=folder) as here:
        workspace = Path(here) / "workspace"
        result = nodewise.prepare(
            photos,
            Path(here) / "shards",
            shard_records=SHARD_RECORDS,
            engine="ray" if engine == "ray" else "spark",
            nodes=nodes,
            cores_per_node=1,
            cpus_per_node=CPUS_PER_NODE,
            workspace=workspace,
        )
        run = Workspace(workspace).get_run(result.run_id)
        work_s = sum(stage.wall_s for stage in run.stages)
        figures = {"seconds": run.cluster_s or 0.0, "start_up_s": run.start_up_s or 0.0, "work_s": work_s}
        if nodes == 1:
            replayed = nodewise.replay(run.run_id, clusters=[f"nodes=1..{max(NODES)}"], workspace=workspace)
            for point in replayed.curve:
                if point.nodes in NODES[1:]:
                    figures[f"predicted_{point.nodes}_s"] = point.predicted_s
                    figures[f"low_{point.nodes}_s"], figures[f"high_{point.nodes}_s"] = point.low_s, point.high_s
    return figures


if __name__ == "__main__":
    if sys.argv[1:2] == ["--scale"]:
        print(json.dumps(scale(int(sys.argv[2]), int(sys.argv[3]))))
    elif sys.argv[1:2] == ["--one"]:
        print(json.dumps(measure(Path(sys.argv[2]), Path(sys.argv[3]), sys.argv[4], int(sys.argv[5]))))
    else:
        main()
