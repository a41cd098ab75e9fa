"""Decode, resize and encode images: pure functions on arrays of shape (height, width, 3), uint8, RGB."""

from __future__ import annotations

import io
import warnings
from pathlib import Path
from typing import IO, NamedTuple

import cv2
import numpy as np
import simplejpeg  # type: ignore[import-untyped]
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

__all__ = [
    "MAX_PIXELS",
    "ImageError",
    "decode_image",
    "encode_jpeg",
    "encode_png",
    "image_size",
    "prepare_image",
    "resize_to_fill",
]

MAX_PIXELS = 100_000_000
"""Images of more pixels are refused, before they are decoded or while they are resized."""

_JPEG_MAGIC = b"\xff\xd8"

# A task's slot is one core; OpenCV would start a thread for each core of the machine.
cv2.setNumThreads(1)


class ImageError(ValueError):
    """Data that is no readable image; the message is the reason, short enough for a list."""


class _Decoded(NamedTuple):
    pixels: NDArray[np.uint8]
    is_jpeg: bool
    is_colour: bool
    """The file holds three colour channels and nothing else, so that its bytes say the same as the pixels."""


def decode_image(data: bytes) -> NDArray[np.uint8]:
    """Decode a JPEG or PNG file to RGB, shape (height, width, 3).

    Grey, palette and CMYK images become RGB, transparent ones are laid on white, 16-bit grey is scaled to 8 bits. The
    EXIF orientation is not applied: the pixels come as they are stored.

    Raises:
        ImageError: Not a JPEG or PNG, cut short, damaged, or of more than :data:`MAX_PIXELS` pixels.
    """
    return _decode(data).pixels


def image_size(source: Path | bytes) -> tuple[int, int]:
    """Height and width of an image file, or of its content, from the header alone.

    Raises:
        ImageError: The file cannot be read or is no JPEG or PNG.
    """
    try:
        with io.BytesIO(source) if isinstance(source, bytes) else source.open("rb") as stream:
            image = _open(stream)
            return image.height, image.width
    except OSError as error:
        raise ImageError(f"cannot be read: {error.strerror}") from error


def resize_to_fill(image: NDArray[np.uint8], size: int) -> NDArray[np.uint8]:
    """Scale so that the image just covers a square of ``size`` pixels, and cut out the centre: (size, size, 3).

    Bilinear between pixel centres, without antialiasing: ``tf.image.resize``'s default. The longer side is rounded to
    the nearest pixel, the shorter one is exact. An image of the right size is returned as it is.

    Raises:
        ImageError: The image is so long and thin that it would have more than :data:`MAX_PIXELS` pixels when scaled.
    """
    height, width = image.shape[:2]
    if height == width == size:
        return image
    shorter, longer = sorted((height, width))
    # Rounding half up in integers; never below size, as longer >= shorter.
    scaled = (2 * longer * size + shorter) // (2 * shorter)
    if scaled * size > MAX_PIXELS:
        raise ImageError(f"too elongated to fill a square: {width} x {height} pixels")
    new_height, new_width = (size, scaled) if height <= width else (scaled, size)
    resized = cv2.resize(image, (new_width, new_height), interpolation=cv2.INTER_LINEAR)
    top, left = (new_height - size) // 2, (new_width - size) // 2
    square: NDArray[np.uint8] = np.ascontiguousarray(resized[top : top + size, left : left + size])
    return square


def encode_jpeg(image: NDArray[np.uint8], quality: int) -> bytes:
    """Encode as a baseline JPEG without chroma subsampling; ``quality`` is 1 to 100."""
    encoded: bytes = simplejpeg.encode_jpeg(
        np.ascontiguousarray(image), quality=quality, colorspace="RGB", colorsubsampling="444"
    )
    return encoded


def encode_png(image: NDArray[np.uint8]) -> bytes:
    """Encode as a PNG, which keeps every pixel: shape (height, width, 3), or (height, width) for grey."""
    stream = io.BytesIO()
    Image.fromarray(image).save(stream, "PNG")
    return stream.getvalue()


def prepare_image(data: bytes | NDArray[np.uint8], *, size: int | None, quality: int) -> bytes:
    """Carry out the whole transform of one image: what is stored in its record.

    Args:
        data: An encoded image, or pixels of shape (height, width, 3).
        size: Side of the square to fill, at least 1; the result is a JPEG. A colour JPEG of that very size keeps its
            bytes. None: the image stays as it is; a colour JPEG or PNG keeps its bytes (it is decoded all the same, so
            that damage is found), anything else becomes a lossless PNG.
        quality: Of a JPEG that is made, 1 to 100.

    Raises:
        ImageError: As :func:`decode_image` and :func:`resize_to_fill` do.
    """
    if isinstance(data, np.ndarray):
        if data.dtype != np.uint8 or data.ndim != 3 or data.shape[2] != 3 or 0 in data.shape:
            raise ImageError(f"expected pixels of shape (height, width, 3), uint8; got {data.shape}, {data.dtype}")
        return encode_png(data) if size is None else encode_jpeg(resize_to_fill(data, size), quality)
    pixels, is_jpeg, is_colour = _decode(data)
    if size is None:
        return data if is_colour else encode_png(pixels)
    if is_jpeg and is_colour and pixels.shape == (size, size, 3):
        return data
    return encode_jpeg(resize_to_fill(pixels, size), quality)


def _decode(data: bytes) -> _Decoded:
    if data.startswith(_JPEG_MAGIC):
        try:
            height, width, colour_space, _ = simplejpeg.decode_jpeg_header(data)
            _check_pixels(height, width)
            if colour_space in ("YCbCr", "RGB", "Gray"):
                pixels = simplejpeg.decode_jpeg(data, colorspace="RGB")
                return _Decoded(pixels, is_jpeg=True, is_colour=colour_space != "Gray")
        except ImageError:
            raise
        except ValueError:
            # libjpeg reports harmless oddities as it does damage. Pillow tells them apart, and says what is wrong.
            pass
    image = _open(io.BytesIO(data))
    _check_pixels(image.height, image.width)
    try:
        return _Decoded(
            np.array(_to_rgb(image)),
            is_jpeg=image.format != "PNG",
            is_colour=image.mode == "RGB" and not image.has_transparency_data,
        )
    except Exception as error:
        # Damaged files make Pillow raise OSError, SyntaxError, ValueError, struct.error and zlib.error, among others.
        raise ImageError(f"cannot be decoded: {error}") from error


def _open(stream: IO[bytes]) -> Image.Image:
    """Read the header of a JPEG or PNG."""
    with warnings.catch_warnings():
        # Pillow warns of many pixels, where our bound is an error, and of harmless oddities.
        warnings.simplefilter("ignore")
        try:
            return Image.open(stream, formats=["JPEG", "PNG"])
        except UnidentifiedImageError as error:
            raise ImageError("not a JPEG or PNG image") from error
        except Image.DecompressionBombError as error:
            raise ImageError(f"more than {MAX_PIXELS} pixels") from error
        except Exception as error:
            raise ImageError(f"cannot be decoded: {error}") from error


def _check_pixels(height: int, width: int) -> None:
    if height * width > MAX_PIXELS:
        raise ImageError(f"more than {MAX_PIXELS} pixels: {width} x {height}")


def _to_rgb(image: Image.Image) -> Image.Image:
    image.load()
    if image.mode.startswith("I"):  # 16-bit grey; Pillow would clip it at 255
        wide = np.array(image).astype(np.uint32)
        return Image.fromarray(((wide * 255 + 32767) // 65535).astype(np.uint8)).convert("RGB")
    if image.has_transparency_data:
        layer = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", layer.size, "white"), layer).convert("RGB")
    return image.convert("RGB")
