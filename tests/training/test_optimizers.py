"""Optimisers: Muon's update by its definition, and the learning rate of every step by hand."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from nodewise.specs.job import TrainSpec
from nodewise.training.optimizers import Muon, build_optimizer, learning_rates, orthogonalize, restore_optimizer


@pytest.mark.parametrize("shape", [(8, 8), (4, 20), (20, 4), (64, 576)])
def test_singular_values_come_near_one_and_vectors_stay(shape: tuple[int, int]) -> None:
    torch.manual_seed(0)
    matrix = torch.randn(shape) * 100
    found = orthogonalize(matrix)
    left, _, right = torch.linalg.svd(matrix, full_matrices=False)
    inner = left.T @ found @ right.T
    values = inner.diagonal()
    assert found.shape == shape
    assert float(values.min()) > 0.4
    assert float(values.max()) < 1.3
    assert float((inner - values.diag()).abs().max()) < 0.01


def test_the_first_step_of_a_matrix_is_its_orthogonal_gradient() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 6, bias=False), nn.Linear(6, 2))
    before = model[0].weight.detach().clone()
    optimizer = Muon(model)
    for group in optimizer.param_groups:
        group["lr"] = 0.1
    model(torch.randn(5, 4)).square().sum().backward()
    gradient = model[0].weight.grad
    assert gradient is not None
    expected = before - 0.1 * math.sqrt(6 / 4) * orthogonalize(1.9 * gradient)
    optimizer.step()
    torch.testing.assert_close(model[0].weight.detach(), expected)


def test_biases_and_the_last_layer_take_adams_steps() -> None:
    torch.manual_seed(0)
    first = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Flatten(), nn.Linear(16, 2))
    second = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Flatten(), nn.Linear(16, 2))
    second.load_state_dict(first.state_dict())
    muon, adam = Muon(first), torch.optim.Adam(second.parameters(), lr=0.1 * Muon.ADAM_SHARE)
    others = ["0.bias", "2.weight", "2.bias"]
    for _ in range(3):
        inputs = torch.randn(5, 3, 4, 4)
        for model, optimizer in ((first, muon), (second, adam)):
            optimizer.zero_grad()
            model(inputs).square().sum().backward()
        for name, parameter in second.named_parameters():
            # Both see the same gradients, so that only the rule differs.
            first.get_parameter(name).grad = parameter.grad.clone() if parameter.grad is not None else None
        for group in muon.param_groups:
            group["lr"] = 0.1
        muon.step()
        adam.step()
    for name in others:
        torch.testing.assert_close(first.get_parameter(name), second.get_parameter(name))
    assert not torch.allclose(first[0].weight, second[0].weight)


def test_what_has_no_gradient_stays() -> None:
    model = nn.Sequential(nn.Linear(4, 6), nn.Linear(6, 2))
    before = {name: value.clone() for name, value in model.state_dict().items()}
    Muon(model).step()
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())


@pytest.mark.parametrize("name", ["muon", "adam", "sgd"])
def test_every_optimiser_learns(name: str) -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 16), nn.ReLU(), nn.Linear(16, 1))
    inputs = torch.randn(64, 4)
    target = inputs.sum(1, keepdim=True)
    optimizer = build_optimizer(TrainSpec(optimizer=name), model)  # type: ignore[arg-type]
    losses = []
    for _ in range(60):
        for group in optimizer.param_groups:
            group["lr"] = 0.05
        optimizer.zero_grad()
        loss = (model(inputs) - target).square().mean()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < losses[0] / 4


def test_one_cycle_rises_and_falls() -> None:
    rate = learning_rates(TrainSpec(optimizer="sgd", learning_rate=1.0, warmup=0.2), 10)
    # Warm-up over 2 of 10 steps from a 25th; then half a cosine over 8.
    assert [rate(0), rate(1), rate(2)] == pytest.approx([0.04, 0.52, 1.0])
    assert rate(6) == pytest.approx(0.5)
    assert rate(9) == pytest.approx(0.5 * (1 + math.cos(math.pi * 7 / 8)))


def test_a_constant_rate_may_rise_first() -> None:
    rate = learning_rates(TrainSpec(optimizer="sgd", learning_rate=1.0, warmup=0.5, schedule="constant"), 4)
    assert [rate(step) for step in range(4)] == pytest.approx([0.04, 0.52, 1.0, 1.0])
    at_once = learning_rates(TrainSpec(optimizer="sgd", learning_rate=1.0, warmup=0.0, schedule="constant"), 4)
    assert [at_once(step) for step in range(4)] == [1.0] * 4


@pytest.mark.parametrize(("rule", "factor"), [("linear", 4.0), ("sqrt", 2.0), ("none", 1.0)])
def test_the_rate_follows_the_batch_by_the_rule(rule: str, factor: float) -> None:
    spec = TrainSpec(
        optimizer="sgd",
        learning_rate=0.5,
        warmup=0.0,
        schedule="constant",
        batch_size=512,
        scale_lr=rule,  # type: ignore[arg-type]
    )
    assert learning_rates(spec, 3)(0) == pytest.approx(0.5 * factor)


@pytest.mark.parametrize(("name", "rate"), [("muon", 0.02), ("adam", 0.003), ("sgd", 0.1)])
def test_the_default_rate_is_the_optimisers(name: str, rate: float) -> None:
    spec = TrainSpec(optimizer=name, warmup=0.0)  # type: ignore[arg-type]
    assert learning_rates(spec, 5)(0) == pytest.approx(rate)


@pytest.mark.parametrize("name", ["muon", "adam", "sgd"])
def test_an_optimiser_goes_on_from_a_state_whose_tensors_lie_otherwise_in_memory(name: str) -> None:
    def trained(is_interrupted: bool) -> torch.Tensor:
        torch.manual_seed(0)
        model = nn.Sequential(nn.Conv2d(4, 8, 3), nn.Flatten(), nn.Linear(8, 2)).to(memory_format=torch.channels_last)
        optimizer = build_optimizer(TrainSpec(optimizer=name), model)  # type: ignore[arg-type]
        for step in range(4):
            if step == 2 and is_interrupted:
                # As a file gives it back.
                state = optimizer.state_dict()
                for values in state["state"].values():
                    values |= {key: one.contiguous() for key, one in values.items() if isinstance(one, torch.Tensor)}
                optimizer = build_optimizer(TrainSpec(optimizer=name), model)  # type: ignore[arg-type]
                restore_optimizer(optimizer, state)
            for group in optimizer.param_groups:
                group["lr"] = 0.01
            for parameter in model.parameters():
                parameter.grad = torch.empty_like(parameter).copy_(torch.randn(parameter.shape))
            optimizer.step()
        return torch.cat([parameter.detach().reshape(-1) for parameter in model.parameters()])

    assert torch.equal(trained(False), trained(True))
