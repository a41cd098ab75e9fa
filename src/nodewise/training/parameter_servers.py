"""Strategy ``parameter-server``, the driver's side: it starts the servers and the coordinator, and ends them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch

from nodewise.core.errors import JobFailedError
from nodewise.shards.order import NUM_LANES
from nodewise.training.checkpoint import newest_checkpoint_bytes, parse_checkpoint
from nodewise.training.coordinator import Coordinator, Report
from nodewise.training.epoch_log import begin_epoch_log
from nodewise.training.flat import flatten, unflatten
from nodewise.training.network import initial_network, save_trained
from nodewise.training.parameter_parts import ServerPayload, split_sizes
from nodewise.training.parameter_server import float_buffers, join_states
from nodewise.training.parameter_store import ParameterStore
from nodewise.training.plan import TrainOutcome, TrainPlan

__all__ = ["ParameterServers"]


class ParameterServers:
    """Ray actors that are there as long as the block; Ray places them, and they take no core from a worker.

    Args:
        world_size: Number of workers.
    """

    def __init__(self, plan: TrainPlan, world_size: int) -> None:
        if world_size > NUM_LANES:
            raise JobFailedError(f"{world_size} workers are more than training supports ({NUM_LANES})")
        self._plan, self._world_size = plan, world_size
        self._network = initial_network(plan)
        self._resumed_at_step: int | None = None
        self._actors: list[Any] = []

    def __enter__(self) -> ServerPayload:
        """Start them, and wait until they are there."""
        import ray

        plan, spec = self._plan, self._plan.spec
        parameters = list(self._network.named_parameters())
        parts = tuple(
            tuple(parameters[place][0] for place in part)
            for part in split_sizes([weights.numel() for _, weights in parameters], spec.servers)
        )
        data = newest_checkpoint_bytes(plan.checkpoint_dir, plan.fingerprint()) if plan.checkpoint_dir else None
        progress: dict[str, Any] = {}
        if data is not None:
            checkpoint = parse_checkpoint(data, "the checkpoint")
            self._resumed_at_step = checkpoint.step
            self._network.load_state_dict(checkpoint.model)
            buffers = flatten(float_buffers(self._network)).numpy()
            progress = {"step": checkpoint.step, "epochs": checkpoint.epochs, "buffers": buffers}
        begin_epoch_log(plan.epoch_log, progress.get("epochs", ()))
        kept, given = ray.put(plan), ray.put(data)
        try:
            store, coordinator = (ray.remote(num_cpus=0)(kind) for kind in (ParameterStore, Coordinator))
            servers = []
            for part in parts:
                servers.append(store.remote(kept, part, self._world_size, given))
                self._actors.append(servers[-1])
            self._actors.append(
                coordinator.remote(
                    self._world_size, num_epochs=spec.epochs, max_staleness=spec.max_staleness, **progress
                )
            )
            ray.get([server.ping.remote() for server in servers])
        except BaseException:
            self.__exit__()
            raise
        return ServerPayload(plan=plan, servers=tuple(servers), parts=parts, coordinator=self._actors[-1])

    def __exit__(self, *exc: object) -> None:
        import ray

        for actor in self._actors:
            ray.kill(actor)
        self._actors.clear()

    def complete(self, outcomes: Sequence[TrainOutcome]) -> list[TrainOutcome]:
        """Write the model; returns what all workers returned, with what the coordinator knows.

        To be called within the block.
        """
        import ray

        *servers, coordinator = self._actors
        report: Report = ray.get(coordinator.report.remote())
        weights, _ = join_states(ray.get([server.state.remote() for server in servers]))
        self._network.load_state_dict(weights, strict=False)
        if report.buffers is not None:
            unflatten(torch.tensor(report.buffers), float_buffers(self._network))
        save_trained(self._plan, self._network)
        return [
            replace(
                outcome,
                epochs=report.epochs,
                lost=report.lost,
                resumed_at_step=self._resumed_at_step,
                mean_staleness=report.mean_staleness,
                max_staleness=report.max_staleness,
            )
            for outcome in outcomes
        ]
