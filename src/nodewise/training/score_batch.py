"""How many records a network should take at a time, found by trying."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from nodewise.training.models import ImageShape
from nodewise.training.records import to_input

__all__ = ["BatchChoice", "choose_batch_size"]

SIZES = (4, 8, 16, 32, 64, 128, 256)
MOST_BYTES = 64 * 2**20
"""What the largest layer may take in and give out for a batch."""
WORTH = 1.03
"""A larger batch has to be faster by this factor: less is noise, and costs memory."""
PASS_S, SEARCH_S = 0.005, 0.2
"""CPU seconds for which a size is measured, and that trying all sizes may take together."""

Forward = Callable[[NDArray[np.uint8]], Any]
"""Images, uint8 of shape (n, height, width, 3), through the network."""


class BatchChoice(NamedTuple):
    """The size that was chosen.

    Attributes:
        records_per_cpu_s: Images that are in memory already, per second of one core.
    """

    batch_size: int
    records_per_cpu_s: float


def choose_batch_size(
    network: nn.Module, forward: Forward, image_shape: ImageShape, asked: int | None = None
) -> BatchChoice:
    """Try sizes from the smallest up on made-up images, and take the fastest; of equal ones the smallest.

    Sizes whose largest layer would need more than 64 MiB are not tried. It is over as soon as two sizes running bring
    nothing, or when the next one would take longer than what is left of a fifth of a second. Measured is the CPU time
    of this thread, which other processes do not change; the network must compute in this thread alone.

    Args:
        asked: A size that is wanted: then it is taken, and only the rate is measured.
    """
    channels, height, width = image_shape
    limit = max(1, MOST_BYTES // _bytes_per_image(network, image_shape))
    most = min(limit, SIZES[-1])
    sizes = [min(asked, most)] if asked else [size for size in SIZES if size <= most] or [most]
    images = np.random.default_rng(0).integers(0, 256, (sizes[-1], height, width, channels), np.uint8)
    began = time.thread_time()
    best, misses = BatchChoice(sizes[0], 0.0), 0
    for size in sizes:
        rate = _records_per_cpu_s(forward, images[:size])
        if rate > WORTH * best.records_per_cpu_s:
            best, misses = BatchChoice(size, rate), 0
        else:
            misses += 1
        # Twice as many records, in two passes.
        next_s = 4 * size / best.records_per_cpu_s
        if misses == 2 or time.thread_time() - began + next_s > SEARCH_S:
            break
    return best._replace(batch_size=asked) if asked else best


def _records_per_cpu_s(forward: Forward, images: NDArray[np.uint8]) -> float:
    """The best of several passes, after one that does not count."""
    forward(images)
    fastest_s, spent_s = float("inf"), 0.0
    while spent_s < PASS_S:
        began = time.thread_time()
        forward(images)
        seconds = time.thread_time() - began
        fastest_s, spent_s = min(fastest_s, seconds), spent_s + max(seconds, 1e-6)
    return len(images) / max(fastest_s, 1e-6)


def _bytes_per_image(network: nn.Module, image_shape: ImageShape) -> int:
    """What the module that moves most takes in and gives out for one image."""
    channels, height, width = image_shape
    with torch.inference_mode(), _watched(network) as sizes:
        network(to_input(torch.zeros(1, height, width, channels, dtype=torch.uint8)))
    return max(sizes, default=4 * channels * height * width)


@contextmanager
def _watched(network: nn.Module) -> Iterator[list[int]]:
    """A list that gets the bytes that each module moves."""
    sizes: list[int] = []

    def note(_module: nn.Module, taken: tuple[Any, ...], given: Any) -> None:
        sizes.append(sum(one.nbytes for one in (*taken, given) if isinstance(one, torch.Tensor)))

    hooks = [module.register_forward_hook(note) for module in network.modules()]
    try:
        yield sizes
    finally:
        for hook in hooks:
            hook.remove()
