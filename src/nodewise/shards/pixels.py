"""The pixels of a record, however they are stored."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from nodewise.images.codecs import MAX_PIXELS, ImageError, decode_image
from nodewise.shards.examples import Example

__all__ = ["example_pixels"]


def example_pixels(example: Example, *, max_pixels: int = MAX_PIXELS) -> NDArray[np.uint8]:
    """The image of a record in RGB, shape (height, width, 3). Raw pixels are not copied and cannot be written to.

    Raises:
        ImageError: The image cannot be decoded, or has more than ``max_pixels`` pixels.
    """
    if example.shape is None:
        return decode_image(example.image, max_pixels=max_pixels)
    height, width, _ = example.shape
    if height * width > max_pixels:
        raise ImageError(f"more than {max_pixels} pixels: {width} x {height}")
    return np.frombuffer(example.image, np.uint8).reshape(example.shape)
