"""What ``prepare`` does to one image: decode, bring to size, encode."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from nodewise.images.codecs import (
    MAX_PIXELS,
    Decoded,
    ImageError,
    Scratch,
    decode,
    encode_jpeg,
    encode_png,
    encode_webp,
)
from nodewise.specs.job import Encoding, Fit, PrepareSpec, Resample, Subsampling

__all__ = ["Stored", "Transform", "resize"]


class Stored(NamedTuple):
    """What a record holds of an image: encoded, or its pixels."""

    image: bytes
    shape: tuple[int, int, int]
    """Height, width and channels."""
    is_raw: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Transform:
    """The settings of :class:`~nodewise.specs.job.PrepareSpec` that concern one image; callable, and picklable.

    Attributes:
        size: Side of the square, or None to leave images as large as they are.
        encoding: None: JPEG where images are resized; else they stay as they are, as PNG where they must change.
    """

    size: int | None
    fit: Fit = "cover"
    resample: Resample = "bilinear"
    encoding: Encoding | None = None
    quality: int = 95
    subsampling: Subsampling = "444"
    optimize: bool = False
    max_pixels: int = MAX_PIXELS

    @classmethod
    def from_spec(cls, spec: PrepareSpec, default_size: int | None) -> Transform:
        """The transform that the settings ask for, with the source's own size where they name none."""
        return cls(
            size=spec.size or default_size,
            fit=spec.fit,
            resample=spec.resample,
            encoding=spec.encoding,
            quality=spec.quality,
            subsampling=spec.subsampling,
            optimize=spec.optimize,
            max_pixels=spec.max_pixels,
        )

    @property
    def stored_encoding(self) -> str:
        """What images are stored as; ``unchanged``: as each was."""
        return self.encoding or ("jpeg" if self.size else "unchanged")

    def __call__(self, data: bytes | NDArray[np.uint8]) -> Stored:
        """Carry out the whole transform of one image: what is stored in its record.

        An image that has the right size keeps its bytes if they are of the encoding asked for and say the same as the
        pixels. It is decoded all the same, so that damage is found.

        Args:
            data: An encoded image, or pixels of shape (height, width, 3), RGB.

        Raises:
            ImageError: As :func:`~nodewise.images.codecs.decode_image` and :func:`resize` do.
        """
        bgr = self.encoding != "raw"
        decoded = self._decode(data, bgr)
        pixels = decoded.pixels
        wanted = (self.size, self.size) if self.size else pixels.shape[:2]
        if pixels.shape[:2] == wanted and isinstance(data, bytes) and self._keeps(decoded):
            return Stored(data, _shape(pixels), is_raw=False)
        if self.size is not None:
            pixels = resize(pixels, self.size, fit=self.fit, resample=self.resample, scratch=_local.resized)
        match self.encoding or ("jpeg" if self.size else "png"):
            case "raw":
                return Stored(pixels.tobytes(), _shape(pixels), is_raw=True)
            case "png":
                image = encode_png(pixels, bgr=bgr)
            case "webp":
                image = encode_webp(pixels, self.quality, bgr=bgr)
            case _:
                image = encode_jpeg(pixels, self.quality, subsampling=self.subsampling, optimize=self.optimize, bgr=bgr)
        return Stored(image, _shape(pixels), is_raw=False)

    def _decode(self, data: bytes | NDArray[np.uint8], bgr: bool) -> Decoded:
        if isinstance(data, bytes):
            # The pixels of an image that is not resized are stored, or were already: they are decoded exactly.
            fast = self.size is not None
            return decode(data, max_pixels=self.max_pixels, bgr=bgr, fast=fast, scratch=_local.scratch)
        if data.dtype != np.uint8 or data.ndim != 3 or data.shape[2] != 3 or 0 in data.shape:
            raise ImageError(f"expected pixels of shape (height, width, 3), uint8; got {data.shape}, {data.dtype}")
        return Decoded(cv2.cvtColor(data, cv2.COLOR_RGB2BGR) if bgr else data, "raw", is_plain=True)

    def _keeps(self, decoded: Decoded) -> bool:
        if self.encoding is None and self.size is None:
            return decoded.is_plain
        return decoded.is_plain and decoded.encoding == (self.encoding or "jpeg")


class _Local(threading.local):
    def __init__(self) -> None:
        self.scratch = Scratch()
        self.resized = Scratch()


_local = _Local()


def _shape(pixels: NDArray[np.uint8]) -> tuple[int, int, int]:
    height, width, channels = pixels.shape
    return height, width, channels


def resize(
    image: NDArray[np.uint8],
    size: int,
    *,
    fit: Fit = "cover",
    resample: Resample = "bilinear",
    scratch: Scratch | None = None,
) -> NDArray[np.uint8]:
    """Bring an image to a square of ``size`` pixels: shape (size, size, 3).

    ``cover`` scales until the square is just filled and cuts out the centre, ``contain`` until the image just fits and
    centres it on black, ``stretch`` scales both sides on their own. Where one side follows from the other, it is
    rounded to the nearest pixel. An image of the right size is returned as it is, and the centre as a view.

    Args:
        resample: ``bilinear`` between pixel centres, without antialiasing: ``tf.image.resize``'s default.
            ``antialias``: the triangle filter widened by the factor of shrinking, Pillow's ``BILINEAR`` and
            ``tf.image.resize(antialias=True)``.
        scratch: Where the result may lie; it is then valid until its next use.

    Raises:
        ImageError: The image is so long and thin that scaled it would have more pixels than
            :data:`~nodewise.images.codecs.MAX_PIXELS`.
    """
    height, width = image.shape[:2]
    if height == width == size:
        return image
    if fit == "stretch":
        return _scale(image, size, size, resample, scratch)
    shorter, longer = sorted((height, width))
    if fit == "contain":
        scaled = max(1, _nearest(shorter * size, longer))
        new_height, new_width = (scaled, size) if height <= width else (size, scaled)
        top, left = (size - new_height) // 2, (size - new_width) // 2
        square = np.zeros((size, size, 3), np.uint8)
        square[top : top + new_height, left : left + new_width] = _scale(
            image, new_height, new_width, resample, scratch
        )
        return square
    scaled = _nearest(longer * size, shorter)  # never below size, as longer >= shorter
    if scaled * size > MAX_PIXELS:
        raise ImageError(f"too elongated to fill a square: {width} x {height} pixels")
    new_height, new_width = (size, scaled) if height <= width else (scaled, size)
    resized = _scale(image, new_height, new_width, resample, scratch)
    top, left = (new_height - size) // 2, (new_width - size) // 2
    return resized[top : top + size, left : left + size]


def _scale(
    image: NDArray[np.uint8], height: int, width: int, resample: Resample, scratch: Scratch | None
) -> NDArray[np.uint8]:
    if resample == "antialias":
        # OpenCV has no such filter: its INTER_AREA is a box, and plain bilinear where an image grows.
        small = Image.fromarray(np.ascontiguousarray(image)).resize((width, height), Image.Resampling.BILINEAR)
        return np.asarray(small)
    target = (scratch or Scratch()).of(height * width * 3)[: height * width * 3].reshape(height, width, 3)
    cv2.resize(image, (width, height), dst=target, interpolation=cv2.INTER_LINEAR)
    return target


def _nearest(numerator: int, denominator: int) -> int:
    """The quotient, half rounded up, in integers."""
    return (2 * numerator + denominator) // (2 * denominator)
