"""Trainings by a crew on a started engine, calm or with a worker that is killed."""

from __future__ import annotations

import os
import signal
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.engines.tasks import wait_until

from nodewise.engines.base import Engine
from nodewise.metering.meter import TaskMeter
from nodewise.specs.crew import CrewContext
from nodewise.training.averager import Averager
from nodewise.training.parameter_servers import ParameterServers
from nodewise.training.plan import TrainOutcome, TrainPlan


@dataclass(frozen=True)
class Tells:
    """The function of a training job whose members write down which processes they are, and of which one may die.

    ``dies`` is killed when so many epochs are in the log, and in the middle of the next one.
    """

    function: Any
    folder: Path
    epoch_log: Path
    dies: int | None = None
    after_epochs: int = 1

    def __call__(self, payload: Any, meter: TaskMeter, member: CrewContext) -> Any:
        with (self.folder / f"member-{member.rank}").open("a") as stream:
            stream.write(f"{os.getpid()}\n")
        if member.rank == self.dies and member.attempt == 0:
            threading.Thread(target=self._die, daemon=True).start()
        return self.function(payload, meter, member)

    def _die(self) -> None:
        wait_until(lambda: len(self.epoch_log.read_text().splitlines()) >= self.after_epochs)
        os.kill(os.getpid(), signal.SIGKILL)

    def processes(self, rank: int) -> list[int]:
        return list(map(int, (self.folder / f"member-{rank}").read_text().split()))


def average(engine: Engine, function: Any, plan: TrainPlan, members: int = 3) -> list[TrainOutcome]:
    """A training with strategy ``average``."""
    with Averager(plan, driver_host(engine), members) as averager:
        results = sorted(engine.crew("train", function, averager.payload), key=lambda result: result.index)
        return averager.complete([result.value for result in results])


def with_servers(engine: Engine, function: Any, plan: TrainPlan, workers_per_node: int = 1) -> list[TrainOutcome]:
    """A training with strategy ``parameter-server`` on three nodes."""
    servers = ParameterServers(plan, 3 * workers_per_node)
    with servers as payload:
        results = list(engine.crew("train", function, payload, workers_per_node))
        return servers.complete([result.value for result in sorted(results, key=lambda result: result.index)])


def driver_host(engine: Any) -> str:
    """The address at which the nodes of a cluster reach this process."""
    access = getattr(engine, "_access", None)
    return "127.0.0.1" if access is None else str(access.driver_host)
