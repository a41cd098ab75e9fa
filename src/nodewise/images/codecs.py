"""Decode and encode images: pure functions on arrays of shape (height, width, 3), uint8, RGB."""

from __future__ import annotations

import io
import struct
import warnings
from pathlib import Path
from typing import IO, NamedTuple

import cv2
import numpy as np
import simplejpeg  # type: ignore[import-untyped]
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

__all__ = [
    "FORMATS",
    "MAX_PIXELS",
    "Decoded",
    "ImageError",
    "decode",
    "decode_image",
    "encode_jpeg",
    "encode_png",
    "encode_webp",
    "image_size",
    "orientation",
]

FORMATS = {"JPEG": "jpeg", "PNG": "png", "WEBP": "webp"}
"""What is read, by Pillow's name, as nodewise calls it."""

MAX_PIXELS = 100_000_000
"""Images of more pixels are refused, before they are decoded or while they are resized, unless a caller says less."""

_JPEG_MAGIC = b"\xff\xd8"
_SUBSAMPLING = {
    "444": cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444,
    "422": cv2.IMWRITE_JPEG_SAMPLING_FACTOR_422,
    "420": cv2.IMWRITE_JPEG_SAMPLING_FACTOR_420,
}

# A task's slot is one core; OpenCV would start a thread for each core of the machine.
cv2.setNumThreads(1)


class ImageError(ValueError):
    """Data that is no readable image; the message is the reason, short enough for a list."""


class Decoded(NamedTuple):
    """Pixels, upright, and what they were decoded from."""

    pixels: NDArray[np.uint8]
    encoding: str
    """``jpeg``, ``png`` or ``webp``."""
    is_plain: bool
    """Three colour channels of 8 bits, upright, nothing else: the bytes say the same as the pixels."""


class Scratch:
    """Memory that JPEGs are decoded into, one after the other: fresh pages cost a fifth of the decoding time."""

    _KEPT_BYTES = 48 * 2**20

    def __init__(self) -> None:
        self._buffer = np.empty(0, np.uint8)

    def of(self, size: int) -> NDArray[np.uint8]:
        """At least ``size`` bytes, valid until the next call."""
        if size > self._KEPT_BYTES:
            return np.empty(size, np.uint8)
        if size > len(self._buffer):
            self._buffer = np.empty(size, np.uint8)
        return self._buffer


def decode_image(data: bytes, *, max_pixels: int = MAX_PIXELS) -> NDArray[np.uint8]:
    """Decode a JPEG, PNG or WebP file to RGB, shape (height, width, 3).

    Grey, palette and CMYK images become RGB, transparent ones are laid on white, 16-bit channels are scaled to 8 bits,
    of an animation the first picture is taken. The image is turned as its EXIF orientation says. Colour profiles (ICC)
    are ignored: the numbers are taken as they are stored.

    Raises:
        ImageError: Not a JPEG, PNG or WebP, cut short, damaged, or of more than ``max_pixels`` pixels.
    """
    return decode(data, max_pixels=max_pixels).pixels


def decode(
    data: bytes, *, max_pixels: int = MAX_PIXELS, bgr: bool = False, fast: bool = False, scratch: Scratch | None = None
) -> Decoded:
    """Decode like :func:`decode_image`, and tell what the data was.

    Args:
        bgr: Channels in the order blue, green, red, as OpenCV has them.
        fast: libjpeg's ``ifast`` transform, tf.data's default, for JPEGs.
        scratch: Where the pixels of a JPEG may lie; they are then valid until its next use.
    """
    turn = orientation(data)
    decoded = None
    if data.startswith(_JPEG_MAGIC):
        decoded = _decode_jpeg(data, max_pixels, "BGR" if bgr else "RGB", fast, scratch)
    if decoded is None:
        decoded = _decode_any(data, max_pixels)
        if bgr:
            decoded = decoded._replace(pixels=cv2.cvtColor(decoded.pixels, cv2.COLOR_RGB2BGR))
    if turn == 1:
        return decoded
    return decoded._replace(pixels=_upright(decoded.pixels, turn), is_plain=False)


def _decode_jpeg(data: bytes, max_pixels: int, space: str, fast: bool, scratch: Scratch | None) -> Decoded | None:
    """The pixels of a JPEG that libjpeg-turbo takes without complaint, else None."""
    try:
        height, width, colour_space, _ = simplejpeg.decode_jpeg_header(data)
        _check_pixels(height, width, max_pixels)
        if colour_space not in ("YCbCr", "RGB", "Gray"):
            return None
        buffer = scratch.of(3 * height * width) if scratch else None
        pixels = simplejpeg.decode_jpeg(data, colorspace=space, fastdct=fast, buffer=buffer)
    except ImageError:
        raise
    except ValueError:
        # libjpeg reports harmless oddities as it does damage. Pillow tells them apart, and says what is wrong.
        return None
    return Decoded(pixels, "jpeg", is_plain=colour_space != "Gray")


def _decode_any(data: bytes, max_pixels: int) -> Decoded:
    image = _open(io.BytesIO(data))
    _check_pixels(image.height, image.width, max_pixels)
    try:
        return Decoded(
            np.array(_to_rgb(image)),
            # Pillow has a name of its own for JPEGs with a second picture behind the first.
            FORMATS.get(image.format or "", "jpeg"),
            is_plain=image.mode == "RGB" and not image.has_transparency_data and not _is_wide_png(data),
        )
    except Exception as error:
        # Damaged files make Pillow raise OSError, SyntaxError, ValueError, struct.error and zlib.error, among others.
        raise ImageError(f"cannot be decoded: {error}") from error


def image_size(source: Path | bytes) -> tuple[int, int]:
    """Height and width of an image file, or of its content, from the header alone; EXIF orientation not applied.

    Raises:
        ImageError: The file cannot be read or is no JPEG, PNG or WebP.
    """
    try:
        with io.BytesIO(source) if isinstance(source, bytes) else source.open("rb") as stream:
            image = _open(stream)
            return image.height, image.width
    except OSError as error:
        raise ImageError(f"cannot be read: {error.strerror}") from error


def orientation(data: bytes) -> int:
    """The EXIF orientation of a JPEG, PNG or WebP file, 1 (upright) to 8; 1 where none is given or it makes no sense.

    EXIF 2.32, section 4.6.4 (tag 0x0112).
    """
    if data.startswith(_JPEG_MAGIC):
        return _orientation_of_jpeg(data)
    if data.startswith(b"\x89PNG"):
        at = data.find(b"eXIf")
        return 1 if at < 0 else _orientation_of_exif(data[at + 4 : at + 4 + (1 << 16)])
    if data[8:12] == b"WEBP":
        at = data.find(b"EXIF")
        if at < 0:
            return 1
        block = data[at + 8 : at + 8 + (1 << 16)]
        return _orientation_of_exif(block.removeprefix(b"Exif\0\0"))
    return 1


def _orientation_of_jpeg(data: bytes) -> int:
    """From the segment APP1 among those before the picture (0xE0 to 0xEF are APP0 to APP15, 0xFE is a comment)."""
    at = 2
    while (
        data[at : at + 1] == b"\xff" and len(data) >= at + 4 and (0xE0 <= data[at + 1] <= 0xEF or data[at + 1] == 0xFE)
    ):
        length = data[at + 2] << 8 | data[at + 3]
        if data[at + 1] == 0xE1 and data.startswith(b"Exif\0\0", at + 4):
            return _orientation_of_exif(data[at + 10 : at + 2 + length])
        at += 2 + length
    return 1


def _orientation_of_exif(block: bytes) -> int:
    """Tag 0x0112 of the first directory of a TIFF structure."""
    order = {b"II*\0": "<", b"MM\0*": ">"}.get(block[:4])
    if order is None:
        return 1
    try:
        (start,) = struct.unpack_from(order + "I", block, 4)
        (entries,) = struct.unpack_from(order + "H", block, start)
        for entry in range(entries):
            tag, kind, count, value = struct.unpack_from(order + "HHIH", block, start + 2 + 12 * entry)
            if (tag, kind, count) == (0x0112, 3, 1):
                return int(value) if 1 <= value <= 8 else 1
    except struct.error:
        pass
    return 1


def _upright(pixels: NDArray[np.uint8], turn: int) -> NDArray[np.uint8]:
    """Pixels as they are seen: 2 to 4 mirror or turn by 180 degrees, 5 to 8 also exchange rows and columns."""
    if turn >= 5:
        pixels = pixels.transpose(1, 0, 2)
    flip_rows, flip_columns = {
        2: (False, True),
        3: (True, True),
        4: (True, False),
        5: (False, False),
        6: (False, True),
        7: (True, True),
        8: (True, False),
    }[turn]
    return np.ascontiguousarray(pixels[:: -1 if flip_rows else 1, :: -1 if flip_columns else 1])


def encode_jpeg(
    image: NDArray[np.uint8], quality: int, *, subsampling: str = "444", optimize: bool = False, bgr: bool = False
) -> bytes:
    """Encode as a baseline JPEG.

    Args:
        image: Shape (height, width, 3).
        quality: 1 to 100.
        subsampling: ``444`` keeps the colour of every pixel, ``422`` and ``420`` of every second and fourth.
        optimize: Huffman tables made for this image, instead of those of the standard.
        bgr: The channels' order.
    """
    # OpenCV's encoder, because it can optimise; its bytes and its speed are otherwise those of simplejpeg.
    settings = [cv2.IMWRITE_JPEG_QUALITY, quality, cv2.IMWRITE_JPEG_OPTIMIZE, int(optimize)]
    return _encode(image, ".jpg", [*settings, cv2.IMWRITE_JPEG_SAMPLING_FACTOR, _SUBSAMPLING[subsampling]], bgr)


def encode_png(image: NDArray[np.uint8], *, bgr: bool = False) -> bytes:
    """Encode as a PNG, which keeps every pixel: shape (height, width, 3), or (height, width) for grey."""
    return _encode(image, ".png", [], bgr)


def encode_webp(image: NDArray[np.uint8], quality: int, *, bgr: bool = False) -> bytes:
    """Encode as a lossy WebP: shape (height, width, 3), sides of at most 16383 pixels; ``quality`` is 1 to 100."""
    if max(image.shape) > 16383:
        raise ImageError(f"too large for WebP: {image.shape[1]} x {image.shape[0]} pixels")
    return _encode(image, ".webp", [cv2.IMWRITE_WEBP_QUALITY, quality], bgr)


def _encode(image: NDArray[np.uint8], suffix: str, settings: list[int], bgr: bool) -> bytes:
    if not bgr and image.ndim == 3:
        image = cv2.cvtColor(image, cv2.COLOR_RGB2BGR)
    encoded: bytes = cv2.imencode(suffix, image, settings)[1].tobytes()
    return encoded


def _open(stream: IO[bytes]) -> Image.Image:
    """Read the header of an image."""
    with warnings.catch_warnings():
        # Pillow warns of many pixels, where our bound is an error, and of harmless oddities.
        warnings.simplefilter("ignore")
        try:
            return Image.open(stream, formats=list(FORMATS))
        except UnidentifiedImageError as error:
            raise ImageError("not a JPEG, PNG or WebP image") from error
        except Image.DecompressionBombError as error:
            raise ImageError(f"more than {MAX_PIXELS} pixels") from error
        except Exception as error:
            raise ImageError(f"cannot be decoded: {error}") from error


def _check_pixels(height: int, width: int, max_pixels: int) -> None:
    if height * width > max_pixels:
        raise ImageError(f"more than {max_pixels} pixels: {width} x {height}")


def _is_wide_png(data: bytes) -> bool:
    """Whether a PNG has 16 bits per channel, which Pillow reads as 8."""
    return data.startswith(b"\x89PNG") and data[24:25] == b"\x10"


def _to_rgb(image: Image.Image) -> Image.Image:
    image.load()
    if image.mode.startswith("I"):  # 16-bit grey; Pillow would clip it at 255
        wide = np.array(image).astype(np.uint32)
        return Image.fromarray(((wide * 255 + 32767) // 65535).astype(np.uint8)).convert("RGB")
    if image.has_transparency_data:
        layer = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", layer.size, "white"), layer).convert("RGB")
    return image.convert("RGB")
