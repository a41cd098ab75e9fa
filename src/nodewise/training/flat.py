"""Tensors as one vector, and the vector as what goes over the network."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from nodewise.specs.job import Compression

__all__ = ["flatten", "float_tensors", "pack", "packed_bytes", "packed_type", "unflatten", "unpack"]


def float_tensors(model: torch.nn.Module) -> list[torch.Tensor]:
    """The model's own state, without its whole numbers, which have no mean worth taking."""
    return [tensor for tensor in model.state_dict().values() if tensor.is_floating_point()]


@torch.no_grad()
def flatten(tensors: Iterable[torch.Tensor]) -> torch.Tensor:
    """All values one after another: float32 in the processor's memory, shape (num_values,)."""
    parts = [tensor.detach().to("cpu", torch.float32).reshape(-1) for tensor in tensors]
    return torch.cat(parts) if parts else torch.empty(0)


@torch.no_grad()
def unflatten(flat: torch.Tensor, tensors: Sequence[torch.Tensor]) -> None:
    """Put the values of :func:`flatten` back into tensors."""
    for values, tensor in zip(torch.split(flat, [tensor.numel() for tensor in tensors]), tensors, strict=True):
        tensor.copy_(values.view(tensor.shape))


def pack(flat: torch.Tensor, compression: Compression) -> NDArray[Any]:
    """A vector as it is sent: float32, or the bits of bfloat16 as uint16."""
    if compression == "bf16":
        return flat.to(torch.bfloat16).view(torch.int16).numpy().view(np.uint16)
    return flat.numpy()


def unpack(sent: NDArray[Any]) -> torch.Tensor:
    """The vector that :func:`pack` was given, as exactly as its bits tell; with memory of its own."""
    if sent.dtype == np.uint16:
        return torch.tensor(sent.view(np.int16)).view(torch.bfloat16).float()
    return torch.tensor(sent)


def packed_type(compression: Compression) -> type[np.generic]:
    """Of the values of :func:`pack`."""
    return np.uint16 if compression == "bf16" else np.float32


def packed_bytes(num_values: int, compression: Compression) -> int:
    """Length of what :func:`pack` makes of so many values."""
    return num_values * np.dtype(packed_type(compression)).itemsize
