"""What a network is given of images."""

from __future__ import annotations

from pathlib import Path

import torch

from nodewise.core.errors import SpecError
from nodewise.shards.manifest import Manifest
from nodewise.training.models import ImageShape

__all__ = ["image_shape_of", "to_input"]


def to_input(images: torch.Tensor) -> torch.Tensor:
    """uint8 (n, height, width, channels) -> float32 in [0, 1], (n, channels, height, width)."""
    return images.permute(0, 3, 1, 2).float().div_(255.0)


def image_shape_of(manifest: Manifest, folder: Path) -> ImageShape:
    """Channels, height and width of every image of the shards.

    Raises:
        SpecError: The images differ in size, so that they make no batch.
    """
    if manifest.image is None:
        raise SpecError(f"{folder}: the images differ in size", hint="prepare them with --size, such as --size 192")
    return manifest.image["channels"], manifest.image["height"], manifest.image["width"]
