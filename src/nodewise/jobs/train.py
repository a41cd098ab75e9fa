"""Job ``train``: shards -> a model. What the workers do is in :mod:`nodewise.training`, which needs PyTorch."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nodewise.core.errors import InputError, SourceError, SpecError
from nodewise.metering.meter import TaskMeter
from nodewise.shards.manifest import Manifest, fingerprint_of, split_shards
from nodewise.specs.cluster import ClusterSpec
from nodewise.specs.crew import CrewContext
from nodewise.specs.gang import GangContext
from nodewise.specs.job import Strategy, TrainSpec
from nodewise.training.plan import TrainOutcome, TrainPlan

if TYPE_CHECKING:
    from nodewise.training.average_rounds import AveragePayload
    from nodewise.training.parameter_parts import ServerPayload

__all__ = ["TrainJob", "choose_strategy"]


def choose_strategy(spec: TrainSpec, cluster: ClusterSpec) -> Strategy:
    """The strategy that is asked for, or the one for so many nodes.

    Raises:
        SpecError: It does not run on such a cluster.
    """
    strategy = spec.strategy or ("all-reduce" if cluster.nodes > 1 else "single")
    if strategy == "single" and cluster.nodes > 1:
        raise SpecError(
            f"strategy 'single' uses one node, and there are {cluster.nodes}",
            hint="leave --strategy out, or give --nodes 1",
        )
    if strategy == "parameter-server" and cluster.engine != "ray":
        raise SpecError(
            f"strategy 'parameter-server' runs on engine 'ray', not on {cluster.engine!r}",
            hint="give --engine ray, or --strategy average",
        )
    return strategy


class TrainJob:
    """One worker per node, or several with parameter servers.

    Raises:
        SourceError: There is nothing to train on.
        SpecError: The images are of no common size, or too small for the model; or the strategy is not for the cluster.
        MissingDependencyError, InputError, JobFailedError: The user's model cannot be built.
    """

    name = "train"

    def __init__(self, folder: Path, manifest: Manifest, spec: TrainSpec, cluster: ClusterSpec) -> None:
        from nodewise.training.models import build_model
        from nodewise.training.recipe import recipe_of
        from nodewise.training.records import image_shape_of

        if not split_shards(manifest, "train"):
            raise SourceError(f"{folder} has no records to train on", hint="prepare it with a smaller test fraction")
        self.strategy = choose_strategy(spec, cluster)
        # Built here once, only to find out before a cluster is started whether it can be.
        build_model(
            recipe_of(spec).model,
            num_classes=len(manifest.classes),
            image_shape=image_shape_of(manifest, folder),
            search_path=os.getcwd(),
        )
        self._folder, self._manifest, self.spec, self._cluster = folder, manifest, spec, cluster

    def describe(self) -> dict[str, Any]:
        """Its settings and its data, for the run's record."""
        return {
            **asdict(self.spec),
            "strategy": self.strategy,
            "data": str(self._folder),
            "data_fingerprint": fingerprint_of(self._manifest),
        }

    def plan(self, model_path: Path, epoch_log: Path, checkpoint_dir: Path | None = None) -> TrainPlan:
        """What to give to the workers."""
        per_node, memory_bytes = self.spec.workers_per_node, self._cluster.limits.memory_bytes
        if self.strategy != "parameter-server":
            per_node = 1
        return TrainPlan(
            folder=self._folder,
            manifest=self._manifest,
            spec=self.spec,
            model_path=model_path,
            epoch_log=epoch_log,
            checkpoint_dir=checkpoint_dir,
            search_path=os.getcwd(),
            memory_bytes=None if memory_bytes is None else memory_bytes // per_node,
            workers_here=per_node * (self._cluster.nodes if self._cluster.emulated else 1),
        )

    def check_resumable(self, checkpoint_dir: Path | None) -> None:
        """Look at what an earlier run left, before a cluster is started.

        Raises:
            InputError: There is no checkpoint, or it is of another training.
        """
        from nodewise.training.checkpoint import newest_checkpoint_bytes

        if checkpoint_dir is None:
            raise InputError("it is not said what to resume", hint="name the model with --output, as the first time")
        fingerprint = self.plan(Path(), Path()).fingerprint()
        if newest_checkpoint_bytes(checkpoint_dir, fingerprint) is None:
            raise InputError(
                f"{checkpoint_dir} has no checkpoint to resume from", hint="train without --resume, from the start"
            )

    @property
    def is_gang(self) -> bool:
        """Whether the workers need each other at every step."""
        return self.strategy in ("single", "all-reduce")

    @property
    def function(self) -> Callable[[TrainPlan, TaskMeter, GangContext], TrainOutcome]:
        """Of the members of a gang: strategies ``single`` and ``all-reduce``."""
        return train_in_gang

    @property
    def crew_function(self) -> Callable[[Any, TaskMeter, CrewContext], TrainOutcome]:
        """Of the members of a crew: the other strategies."""
        return train_averaging if self.strategy == "average" else train_with_servers


def train_in_gang(plan: TrainPlan, meter: TaskMeter, gang: GangContext) -> TrainOutcome:
    """See :func:`nodewise.training.synchronous.train_together`."""
    from nodewise.training.synchronous import train_together

    return train_together(plan, meter, gang)


def train_averaging(payload: AveragePayload, meter: TaskMeter, member: CrewContext) -> TrainOutcome:
    """See :func:`nodewise.training.average.train_and_average`."""
    from nodewise.training.average import train_and_average

    return train_and_average(payload, meter, member)


def train_with_servers(payload: ServerPayload, meter: TaskMeter, member: CrewContext) -> TrainOutcome:
    """See :func:`nodewise.training.parameter_server.train_with_servers`."""
    from nodewise.training import parameter_server

    return parameter_server.train_with_servers(payload, meter, member)
