"""Do emulated nodes scale like a cluster? 64 equal tasks of CPU time on 1, 2 and 4 nodes of 0.25 CPUs, Spark and Ray.

Timed is the stage alone, on a cluster that is up; start-up stands beside it. Every measurement is a process and a
cluster of its own. Writes medians and ranges, with the tier that kept the nodes apart, to ``results/emulation.json``.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from functools import partial
from pathlib import Path

import cloudpickle

import harness
from nodewise.core.progress import SILENT
from nodewise.isolation.tiers import detect_tier
from nodewise.metering.meter import TaskMeter
from nodewise.runs.session import open_session
from nodewise.specs.cluster import ClusterSpec, EngineName
from nodewise.specs.place import NodeLimits
from nodewise.workspace import Workspace

TASKS, TASK_CPU_S, CPUS_PER_NODE = 64, 0.1, 0.25
ENGINES: tuple[EngineName, ...] = ("spark", "ray")
NODES = (1, 2, 4)


def main() -> None:
    """Interleave the clusters and write what was measured."""
    options = harness.options(__doc__ or "", rounds=3)
    sides = {f"{engine} x{nodes}": partial(in_own_process, engine, nodes) for engine in ENGINES for nodes in NODES}
    measured = harness.interleave(harness.chosen_sides(sides, options.only), options.rounds)
    for engine in ENGINES:
        for nodes in NODES[1:]:
            side, base = measured.get(f"{engine} x{nodes}"), measured.get(f"{engine} x1")
            if side and base:
                # Of the same round, so that what the machine did meanwhile weighs on both.
                pairs = zip(base["stage_s"], side["stage_s"], strict=True)
                side["speedup"] = [one / several for one, several in pairs]
    facts = {
        "tasks": TASKS,
        "task_cpu_s": TASK_CPU_S,
        "cpus_per_node": CPUS_PER_NODE,
        "emulation_tier": detect_tier().tier.value,
    }
    harness.write("emulation", facts, measured, options.output)


def in_own_process(engine: EngineName, nodes: int) -> dict[str, float]:
    return harness.timed([sys.executable, __file__, "--one", engine, str(nodes)])


def burn(cpu_s: float, _meter: TaskMeter) -> None:
    """Use so much CPU time."""
    until = time.process_time() + cpu_s
    while time.process_time() < until:
        pass


def measure(engine: EngineName, nodes: int) -> dict[str, float]:
    """One cluster, one stage: its seconds, those of the start, and the CPUs that a node had in the midst of it."""
    cluster = ClusterSpec(engine=engine, nodes=nodes, limits=NodeLimits(cpus=CPUS_PER_NODE))
    with tempfile.TemporaryDirectory() as folder:
        workspace = Workspace(Path(folder))
        with open_session(workspace, "benchmark", cluster, SILENT) as session, session.stage("burn") as stage:
            stage.map(burn, [TASK_CPU_S] * TASKS)
        samples = workspace.read_usage(session.run.run_id)
    began, ended = session.last_stage.started_at, session.last_stage.started_at + session.last_stage.wall_s
    # The first and the last second are shared with what was before and after.
    inside = [
        sample.cpu_cores
        for sample in samples
        if sample.node.startswith("node-") and sample.at - sample.interval_s > began and sample.at < ended - 1
    ]
    return {
        "stage_s": session.last_stage.wall_s,
        "start_up_s": session.start_up_s,
        "cpus_of_a_node": sum(inside) / max(1, len(inside)),
    }


if __name__ == "__main__":
    if sys.argv[1:2] == ["--one"]:
        cloudpickle.register_pickle_by_value(sys.modules["__main__"])
        name = sys.argv[2]
        print(json.dumps(measure("ray" if name == "ray" else "spark", int(sys.argv[3]))))
    else:
        main()
