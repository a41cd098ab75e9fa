"""Images to pixels with Pillow: what most programs that use PyTorch or Ray Data do."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from nodewise.readers.base import ReadSource

__all__ = ["decode_fitted", "decode_stored"]


def decode_fitted(file: Path | io.BytesIO, size: int) -> NDArray[np.uint8]:
    """An image file, scaled to fill a square and cut: shape (size, size, 3)."""
    with Image.open(file) as image:
        fitted = ImageOps.fit(image.convert("RGB"), (size, size), Image.Resampling.BILINEAR)
    return np.array(fitted)


def decode_stored(data: bytes, source: ReadSource) -> NDArray[np.uint8]:
    """The image of a record, of the shape that the source says."""
    if source.encoding == "raw":
        return np.frombuffer(data, np.uint8).reshape(source.shape)
    with Image.open(io.BytesIO(data)) as image:
        return np.array(image.convert("RGB"))
