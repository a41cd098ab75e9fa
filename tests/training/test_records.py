"""What a network is given of images."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from nodewise.core.errors import SpecError
from nodewise.shards.manifest import read_manifest
from nodewise.training.records import image_shape_of, to_input


def test_pixels_become_shares_of_one_with_the_channels_first() -> None:
    image = torch.tensor([[[0, 51, 255], [255, 0, 0]]], dtype=torch.uint8)  # (1, 2, 3): one row of two pixels
    converted = to_input(image[None])
    assert converted.shape == (1, 3, 1, 2)
    assert converted[0, :, 0, 0].tolist() == pytest.approx([0, 0.2, 1])


def test_images_of_differing_sizes_make_no_batch(small_shards: Path) -> None:
    manifest = read_manifest(small_shards)
    assert image_shape_of(manifest, small_shards) == (3, 32, 32)
    with pytest.raises(SpecError, match="differ in size"):
        image_shape_of(replace(manifest, image=None), small_shards)
