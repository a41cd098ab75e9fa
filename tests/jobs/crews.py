"""Trainings by a crew on a started engine, calm or with a worker that is killed."""

from __future__ import annotations

import os
import signal
import socket
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

import safetensors.torch
from tests.engines.tasks import wait_until

from nodewise.engines.base import Engine
from nodewise.jobs.train import TrainJob
from nodewise.metering.meter import TaskMeter
from nodewise.shards.manifest import read_manifest
from nodewise.specs.cluster import ClusterSpec
from nodewise.specs.crew import CrewContext
from nodewise.specs.job import TrainSpec
from nodewise.training.averager import Averager
from nodewise.training.parameter_servers import ParameterServers
from nodewise.training.plan import TrainOutcome, TrainPlan
from nodewise.training.synchronous import train_together

NODES = 3


def carry_by_value() -> None:
    """Have every engine send :class:`Tells` itself, since its workers cannot import this module."""
    for name in ("cloudpickle", "pyspark.cloudpickle", "ray.cloudpickle"):
        import_module(name).register_pickle_by_value(sys.modules[__name__])


@dataclass(frozen=True)
class Tells:
    """The function of a training job whose members write down which processes they are, and of which one may die.

    ``dies`` is killed once, after the first epoch is in the log.
    """

    function: Any
    folder: Path
    epoch_log: Path
    dies: int | None = None

    def __call__(self, payload: Any, meter: TaskMeter, member: CrewContext) -> Any:
        with (self.folder / f"member-{member.rank}").open("a") as stream:
            stream.write(f"{os.getpid()}\n")
        if member.rank == self.dies and member.attempt == 0:
            threading.Thread(target=self._die, daemon=True).start()
        return self.function(payload, meter, member)

    def _die(self) -> None:
        wait_until(self.epoch_log.read_text)
        os.kill(os.getpid(), signal.SIGKILL)

    def processes(self) -> list[int]:
        """How many processes each member has had."""
        return [len((self.folder / f"member-{rank}").read_text().split()) for rank in range(NODES)]


def planned(engine: str, shards: Path, spec: TrainSpec, folder: Path) -> tuple[TrainJob, TrainPlan]:
    """A training of three nodes that writes into the folder."""
    job = TrainJob(shards, read_manifest(shards), spec, ClusterSpec(engine=engine, nodes=NODES))  # type: ignore[arg-type]
    folder.mkdir(exist_ok=True)
    return job, job.plan(folder / "model.safetensors", folder / "epochs.jsonl", folder / "checkpoints")


def average(engine: Engine, function: Any, plan: TrainPlan) -> list[TrainOutcome]:
    """A training with strategy ``average``."""
    with Averager(plan, driver_host(engine), NODES) as averager:
        results = sorted(engine.crew("train", function, averager.payload), key=lambda result: result.index)
        return averager.complete([result.value for result in results])


def with_servers(
    engine: Engine, function: Any, plan: TrainPlan, workers_per_node: int = 1, meanwhile: Callable[[Any], None] = id
) -> list[TrainOutcome]:
    """A training with strategy ``parameter-server``; ``meanwhile`` is given what the workers are given."""
    servers = ParameterServers(plan, NODES * workers_per_node)
    with servers as payload:
        meanwhile(payload)
        results = list(engine.crew("train", function, payload, workers_per_node))
        return servers.complete([result.value for result in sorted(results, key=lambda result: result.index)])


def driver_host(engine: Any) -> str:
    """The address at which the nodes of a cluster reach this process."""
    if engine.name != "local":
        return str(engine._access.driver_host)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as way:
        # Nothing is sent.
        way.connect((engine._places[0].host, 1))
        return str(way.getsockname()[0])


class _Alone:
    rank, world_size, threads, host = 0, 1, 1, "127.0.0.1"

    def all_gather(self, message: str) -> list[str]:
        return [message]


def train_alone(plan: TrainPlan) -> TrainOutcome:
    """The same training by a single worker, in this process."""
    with TaskMeter() as meter:
        return train_together(plan, meter, _Alone())


def largest_difference(first: Path, second: Path) -> float:
    """Between the weights of two model files."""
    one, other = (safetensors.torch.load_file(path) for path in (first, second))
    assert one.keys() == other.keys()
    return max(float((one[name] - other[name]).abs().max()) for name in one)
