"""Random changes of training images that leave their class as it is."""

from __future__ import annotations

import torch

__all__ = ["augment"]

_SHIFT_SHARE = 16
"""Images are shifted by up to one in so many of their pixels: 2 of 32."""


def augment(images: torch.Tensor, records: torch.Tensor, *, epoch: int, seed: int) -> torch.Tensor:
    """Mirror and shift images; a record gets the same change in an epoch whatever batch or worker it is in.

    A record is mirrored in every second epoch, half of them in the odd ones (Jordan 2024, arXiv:2404.00498), and
    shifted by up to a sixteenth of its size in each direction, at least one pixel; what comes in at the edge is the
    image's own reflection (He et al. 2015, arXiv:1512.03385, pad with black).

    Args:
        images: Shape (n, channels, height, width), of any type; fastest with channels last.
        records: Record numbers, shape (n,).

    Returns:
        New images of the same shape and type, with channels last.
    """
    num_images, channels, height, width = images.shape
    records = records.to(images.device)
    is_mirrored = (_mix(records, seed, 0) + epoch) % 2 == 1
    rows = _shifted(height, _mix(records, seed, 2 * epoch + 1))
    columns = _shifted(width, _mix(records, seed, 2 * epoch + 2))
    columns = torch.where(is_mirrored[:, None], width - 1 - columns, columns)
    # One copy of whole pixels does it all.
    first = torch.arange(num_images, device=images.device)[:, None, None] * height
    source = (first + rows[:, :, None]) * width + columns[:, None, :]  # (n, height, width)
    pixels = images.permute(0, 2, 3, 1).reshape(-1, channels)
    changed = pixels.index_select(0, source.flatten())
    return changed.view(num_images, height, width, channels).permute(0, 3, 1, 2)


def _shifted(side: int, random: torch.Tensor) -> torch.Tensor:
    """Where the rows (or columns) of each image come from, shape (n, side), all in 0 to ``side`` - 1."""
    most = max(1, side // _SHIFT_SHARE)
    places = torch.arange(side, device=random.device) + (random % (2 * most + 1) - most)[:, None]
    last = side - 1
    return last - (last - places.abs()).abs()


def _mix(records: torch.Tensor, seed: int, salt: int) -> torch.Tensor:
    """Whole numbers of at least 0 that look random, one for each record (a finaliser of 31-bit words as in SplitMix).

    Computed, not drawn, so that no worker has to know which numbers the others drew.
    """
    key = (seed * 0x85EBCA6B + salt * 0xC2B2AE35) & 0x7FFFFFFF
    word = (records * 0x9E3779B1 + key) & 0x7FFFFFFF
    word = ((word ^ (word >> 15)) * 0x2C1B3C6D) & 0x7FFFFFFF
    word = ((word ^ (word >> 12)) * 0x297A2D39) & 0x7FFFFFFF
    return word ^ (word >> 15)
