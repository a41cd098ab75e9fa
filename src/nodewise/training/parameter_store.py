"""Strategy ``parameter-server``: what one server holds and does (Li et al. 2014, OSDI)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from nodewise.training.checkpoint import parse_checkpoint
from nodewise.training.flat import flatten, pack, unflatten, unpack
from nodewise.training.network import initial_network
from nodewise.training.optimizers import build_optimizer, learning_rates, restore_optimizer
from nodewise.training.plan import TrainPlan
from nodewise.training.precision import prepare_process

__all__ = ["ParameterStore", "StoreState"]


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreState:
    """What a server holds after a step: its parameters by name, and the optimiser's state of these."""

    step: int
    weights: dict[str, torch.Tensor]
    optimizer: dict[str, Any]


@dataclass(frozen=True, slots=True)
class _Gradient:
    step: int
    values: torch.Tensor
    records: int
    batch_records: int


class ParameterStore:
    """Some whole parameters of the model and their optimiser, as a Ray actor: one call at a time.

    Vectors are the parameters' values in the model's order, as :func:`~nodewise.training.flat.pack` makes them. The
    part is of whole parameters since some optimisers need whole matrices.

    Where workers do not wait for each other, every update is of ``batch_size / world_size`` records, and has the
    learning rate of such a batch.

    Args:
        part: Names of the parameters.
        checkpoint: Bytes of one to go on from.
    """

    def __init__(self, plan: TrainPlan, part: Sequence[str], world_size: int, checkpoint: bytes | None) -> None:
        prepare_process(threads=1)
        spec = plan.spec
        if spec.is_async:
            spec = replace(spec, batch_size=max(1, spec.batch_size // world_size))
        self._compression = spec.compression
        self._rate_of = learning_rates(spec, plan.num_steps)
        network = initial_network(plan)
        # That of all parameters, which alone tells what each one is; those without a gradient are left alone.
        self._optimizer = build_optimizer(spec, network)
        self._parameters = {name: weights for name, weights in network.named_parameters() if name in part}
        self._step = 0
        if checkpoint is not None:
            self._restore(network, checkpoint)
        for name, weights in network.named_parameters():
            if name not in self._parameters:
                weights.data = weights.data.new_empty(0)
        self._gradients: dict[int, _Gradient] = {}

    def _restore(self, network: torch.nn.Module, data: bytes) -> None:
        checkpoint = parse_checkpoint(data, "the checkpoint")
        network.load_state_dict(checkpoint.model)
        # The optimiser numbers parameters in an order of its own.
        numbered = [weights for group in self._optimizer.param_groups for weights in group["params"]]
        own = set(map(id, self._parameters.values()))
        state = {
            number: values for number, values in checkpoint.optimizer["state"].items() if id(numbered[number]) in own
        }
        restore_optimizer(self._optimizer, {**checkpoint.optimizer, "state": state})
        self._step = checkpoint.step

    def ping(self) -> None:
        """Answer when the server is there."""

    def push(self, rank: int, step: int, gradient: NDArray[Any], records: int, batch_records: int) -> None:
        """Keep a worker's gradient for a step, counted from 1, until the step is taken.

        Args:
            gradient: Of the sum of the losses of ``records`` records, divided by ``batch_records``.
        """
        self._gradients[rank] = _Gradient(step, unpack(gradient), records, batch_records)

    def pull(self, step: int, ranks: Sequence[int]) -> NDArray[Any]:
        """The weights after a step, which is taken now if it was not: with the gradients of these workers, averaged.

        If the others' gradients are missing, that of the batch is estimated from these records.
        """
        if step == self._step + 1:
            there = [self._gradients[rank] for rank in sorted(ranks) if rank in self._gradients]
            there = [gradient for gradient in there if gradient.step == step]
            if there:
                total = torch.stack([gradient.values for gradient in there]).sum(0)
                scale = there[0].batch_records / sum(gradient.records for gradient in there)
                self._take_step(total if scale == 1 else total * scale, step - 1)
            self._gradients.clear()
            self._step = step
        return self.weights()

    def apply(self, gradient: NDArray[Any], step: int) -> NDArray[Any]:
        """Take a step at once, with the learning rate of the worker's step, counted from 0; returns the weights."""
        self._take_step(unpack(gradient), step)
        return self.weights()

    def weights(self) -> NDArray[Any]:
        """As they are now."""
        return np.array(pack(flatten(self._parameters.values()), self._compression))

    def state(self) -> StoreState:
        """All of it."""
        return StoreState(
            step=self._step,
            weights={name: weights.detach() for name, weights in self._parameters.items()},
            optimizer=self._optimizer.state_dict(),
        )

    def _take_step(self, gradient: torch.Tensor, step: int) -> None:
        for weights in self._parameters.values():
            weights.grad = torch.empty_like(weights)
        unflatten(gradient, [weights.grad for weights in self._parameters.values() if weights.grad is not None])
        for group in self._optimizer.param_groups:
            group["lr"] = self._rate_of(step)
        self._optimizer.step()
