"""Tensors as one vector, and as what is sent."""

from __future__ import annotations

import numpy as np
import torch

from nodewise.training.flat import flatten, float_tensors, pack, packed_bytes, unflatten, unpack


def test_what_is_flattened_comes_back_whatever_its_place_in_memory() -> None:
    source = [torch.arange(24.0).view(1, 2, 3, 4).contiguous(memory_format=torch.channels_last), torch.tensor(7.0)]
    flat = flatten(source)
    assert flat.tolist() == [*range(24), 7]
    target = [torch.zeros(1, 2, 3, 4), torch.zeros((), dtype=torch.float64)]
    unflatten(flat, target)
    assert torch.equal(target[0], source[0])
    assert target[1] == 7
    assert flatten([]).tolist() == []


def test_whole_numbers_of_a_model_are_left_out() -> None:
    tensors = float_tensors(torch.nn.BatchNorm1d(5))
    assert [tensor.numel() for tensor in tensors] == [5, 5, 5, 5]


def test_values_put_into_a_model_are_its_own() -> None:
    model = torch.nn.Linear(2, 1)
    unflatten(torch.tensor([1.0, 2.0, 3.0]), float_tensors(model))
    assert model.weight.tolist() == [[1, 2]]
    assert model.bias.tolist() == [3]


def test_what_is_sent_whole_is_exact_and_shortened_it_is_half_as_long() -> None:
    flat = torch.tensor([1 / 3, -1e-20, 3e38])
    whole, shortened = pack(flat, "none"), pack(flat, "bf16")
    assert torch.equal(unpack(whole), flat)
    assert (whole.nbytes, shortened.nbytes) == (packed_bytes(3, "none"), packed_bytes(3, "bf16")) == (12, 6)
    # Eight bits of the significand.
    assert torch.allclose(unpack(shortened), flat, rtol=2**-8, atol=0)


def test_what_is_unpacked_is_not_the_senders_memory() -> None:
    sent = np.ones(2, np.float32)
    sent.flags.writeable = False
    values = unpack(sent)
    values += 1
    assert sent.tolist() == [1, 1]
