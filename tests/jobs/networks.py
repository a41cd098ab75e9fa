"""Networks that tests train."""

from __future__ import annotations

from torch import nn


def dropping(num_classes: int, image_shape: tuple[int, int, int]) -> nn.Module:
    """One that uses random numbers at every step, and counts in its batch norm."""
    channels, height, width = image_shape
    return nn.Sequential(
        nn.Conv2d(channels, 4, 3),
        nn.BatchNorm2d(4),
        nn.ReLU(),
        nn.Dropout(0.3),
        nn.Flatten(),
        nn.Linear(4 * (height - 2) * (width - 2), num_classes),
    )
