"""Optimisers by name, and the learning rate of every step."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import nn

from nodewise.specs.job import TrainSpec
from nodewise.training.recipe import recipe_of

__all__ = ["REFERENCE_BATCH", "Muon", "build_optimizer", "learning_rates", "orthogonalize", "restore_optimizer"]

REFERENCE_BATCH = 128
"""Records; learning rates are said for batches of this size."""

_DEFAULT_RATES = {"muon": 0.02, "adam": 3e-3, "sgd": 0.1}
_START = 1 / 25  # of the highest rate, as in PyTorch's OneCycleLR
_NEWTON_SCHULZ = (3.4445, -4.7750, 2.0315)


def build_optimizer(spec: TrainSpec, model: nn.Module) -> torch.optim.Optimizer:
    """The optimiser of a model that is on its device; the learning rate is set at every step."""
    if spec.optimizer == "sgd":
        return torch.optim.SGD(model.parameters(), lr=0.0)
    if spec.optimizer == "adam":
        return torch.optim.Adam(model.parameters(), lr=0.0, fused=True)
    return Muon(model)


def restore_optimizer(optimizer: torch.optim.Optimizer, state: dict[str, Any]) -> None:
    """Give an optimiser the state that another one's ``state_dict()`` had, as a file keeps it.

    Tensors are laid out in memory as their parameters are, which a file does not keep: fused optimisers go through both
    as they lie there.
    """
    optimizer.load_state_dict(state)
    for parameter, values in optimizer.state.items():
        for name, value in values.items():
            if isinstance(value, torch.Tensor) and value.shape == parameter.shape:
                values[name] = torch.empty_like(parameter).copy_(value)


def learning_rates(spec: TrainSpec, num_steps: int) -> Callable[[int], float]:
    """The learning rate of step 0, 1, ... ``num_steps`` - 1.

    The highest rate is the one for batches of :data:`REFERENCE_BATCH`, scaled to this batch size: linear (Goyal et al.
    2017, arXiv:1706.02677, for SGD), by the square root (Malladi et al. 2022, arXiv:2205.10287, for adaptive
    optimisers), or not at all. One cycle (Smith and Topin 2017, arXiv:1708.07120): linear up during the warm-up, down
    to zero along half a cosine.
    """
    own_rate = _DEFAULT_RATES[spec.optimizer] * recipe_of(spec).rate_factor
    rate = own_rate if spec.learning_rate is None else spec.learning_rate
    ratio = spec.batch_size / REFERENCE_BATCH
    highest = rate * {"linear": ratio, "sqrt": math.sqrt(ratio), "none": 1.0}[spec.scale_lr]
    warmup = spec.warmup * num_steps

    def rate_of(step: int) -> float:
        if step < warmup:
            return highest * (_START + (1 - _START) * step / warmup)
        if spec.schedule == "constant":
            return highest
        return highest * 0.5 * (1 + math.cos(math.pi * (step - warmup) / (num_steps - warmup)))

    return rate_of


class Muon(torch.optim.Optimizer):
    """Momentum whose update is orthogonalised, for weights that are matrices; Adam for all other parameters.

    Jordan et al. 2024, https://kellerjordan.github.io/posts/muon/: the momentum (Nesterov) of each matrix is replaced
    by the nearest matrix whose singular values are all about 1. Convolutions count as matrices of (out, in x height x
    width). Vectors, embeddings and the last layer get Adam at a fraction of the learning rate. PyTorch's own
    ``torch.optim.Muon`` takes matrices only.

    Args:
        model: Its last module with weights is the output layer.
    """

    MOMENTUM = 0.9
    ADAM_SHARE = 0.15
    ADAM_BETAS = (0.9, 0.999)

    # Without PyTorch's wrappers, which load its compiler to hide them from it; that takes as long as loading torch.
    add_param_group = inspect.unwrap(torch.optim.Optimizer.add_param_group)
    load_state_dict = inspect.unwrap(torch.optim.Optimizer.load_state_dict)
    state_dict = inspect.unwrap(torch.optim.Optimizer.state_dict)
    zero_grad = inspect.unwrap(torch.optim.Optimizer.zero_grad)

    def __init__(self, model: nn.Module) -> None:
        matrices = list(_hidden_matrices(model))
        known = set(map(id, matrices))
        others = [parameter for parameter in model.parameters() if id(parameter) not in known]
        groups = [{"params": matrices, "is_matrix": True}, {"params": others, "is_matrix": False}]
        super().__init__([group for group in groups if group["params"]], {"lr": 0.0})

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        """One update from the gradients."""
        if closure is not None:
            raise ValueError("a closure is not supported")
        for group in self.param_groups:
            update = self._update_matrix if group["is_matrix"] else self._update_other
            for parameter in group["params"]:
                if parameter.grad is not None:
                    update(parameter, self.state[parameter], group["lr"])

    def _update_matrix(self, parameter: nn.Parameter, state: dict[str, Any], rate: float) -> None:
        gradient = parameter.grad
        assert gradient is not None  # noqa: S101
        if not state:
            state["momentum"] = torch.zeros_like(gradient)
        momentum = state["momentum"].mul_(self.MOMENTUM).add_(gradient)
        update = orthogonalize(gradient.add(momentum, alpha=self.MOMENTUM).flatten(1))
        rows, columns = update.shape
        parameter.add_(update.view_as(parameter), alpha=-rate * math.sqrt(max(1.0, rows / columns)))

    def _update_other(self, parameter: nn.Parameter, state: dict[str, Any], rate: float) -> None:
        gradient = parameter.grad
        assert gradient is not None  # noqa: S101
        if not state:
            state |= {"step": 0, "mean": torch.zeros_like(gradient), "square": torch.zeros_like(gradient)}
        first, second = self.ADAM_BETAS
        state["step"] += 1
        mean = state["mean"].lerp_(gradient, 1 - first)
        square = state["square"].mul_(second).addcmul_(gradient, gradient, value=1 - second)
        scale = math.sqrt(1 - second ** state["step"]) / (1 - first ** state["step"])
        parameter.addcdiv_(mean, square.sqrt().add_(1e-8), value=-rate * self.ADAM_SHARE * scale)


def orthogonalize(matrix: torch.Tensor) -> torch.Tensor:
    """A matrix with the same singular vectors and singular values of about 1 (0.7 to 1.2), shape (rows, columns).

    Five Newton-Schulz steps with the coefficients of Jordan et al. 2024. A step multiplies X by a polynomial of X X^T,
    so all of them together are one factor: it is made from the square X X^T of the shorter side alone, and the long
    matrix is multiplied twice instead of ten times.
    """
    first, third, fifth = _NEWTON_SCHULZ
    is_tall = matrix.shape[0] > matrix.shape[1]
    x: torch.Tensor = matrix.T if is_tall else matrix
    x = x / (x.norm() + 1e-7)
    square = x @ x.T
    factor = torch.eye(len(square), dtype=square.dtype, device=square.device)
    for _ in range(5):
        step = torch.addmm(square, square, square, beta=third, alpha=fifth)
        step.diagonal().add_(first)
        factor, square = step @ factor, step @ square @ step
    result = factor @ x
    return result.T if is_tall else result


def _hidden_matrices(model: nn.Module) -> Iterable[nn.Parameter]:
    with_weights = [module for module in model.modules() if list(module.parameters(recurse=False))]
    for module in with_weights[:-1]:
        if not isinstance(module, nn.Embedding | nn.EmbeddingBag):
            yield from (parameter for parameter in module.parameters(recurse=False) if parameter.ndim > 1)
