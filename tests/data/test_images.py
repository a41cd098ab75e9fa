"""Decoding, resizing and encoding."""

import io
import struct
import zlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from nodewise.data import images
from nodewise.data.images import (
    ImageError,
    decode_image,
    encode_jpeg,
    encode_png,
    image_size,
    prepare_image,
    resize_to_fill,
)

RED, GREEN, BLUE, WHITE = (255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 255)


def encoded(image, file_format="PNG", **settings):
    stream = io.BytesIO()
    image.save(stream, file_format, **settings)
    return stream.getvalue()


def noise(height, width, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def smooth(height, width):
    rows, columns = np.mgrid[0:height, 0:width]
    return np.stack([rows * 2, columns * 2, rows + columns], axis=-1).astype(np.uint8)


def png_of_size(width, height):
    """A PNG that says how large it is and holds nothing."""

    def chunk(kind, content):
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")


def test_png_comes_back_pixel_by_pixel():
    image = noise(5, 9)
    assert np.array_equal(decode_image(encode_png(image)), image)


def test_jpeg_comes_back_nearly():
    image = smooth(40, 30)
    found = decode_image(encode_jpeg(image, 95))
    assert found.shape == (40, 30, 3)
    assert found.dtype == np.uint8
    assert np.abs(found.astype(int) - image).max() <= 6


def test_jpeg_has_no_chroma_subsampling():
    image = Image.open(io.BytesIO(encode_jpeg(noise(16, 16), 90)))
    assert [layer[1:3] for layer in image.layer] == [(1, 1)] * 3


@pytest.mark.parametrize(
    ("image", "colour"),
    [
        pytest.param(Image.new("L", (3, 2), 77), (77, 77, 77), id="grey"),
        pytest.param(Image.new("1", (3, 2), 1), WHITE, id="black and white"),
        pytest.param(Image.new("RGB", (3, 2), GREEN).quantize(4), GREEN, id="palette"),
        pytest.param(Image.new("RGBA", (3, 2), (255, 0, 0, 255)), RED, id="opaque alpha"),
        pytest.param(Image.new("RGBA", (3, 2), (255, 0, 0, 0)), WHITE, id="transparent"),
        pytest.param(Image.new("RGBA", (3, 2), (0, 0, 0, 51)), (204, 204, 204), id="a fifth of black"),
        pytest.param(Image.new("LA", (3, 2), (0, 0)), WHITE, id="transparent grey"),
        pytest.param(Image.fromarray(np.full((2, 3), 65535, np.uint16)), WHITE, id="16-bit white"),
        pytest.param(Image.fromarray(np.full((2, 3), 257 * 100, np.uint16)), (100, 100, 100), id="16-bit grey"),
    ],
)
def test_png_modes_become_rgb(image, colour):
    found = decode_image(encoded(image))
    assert found.shape == (2, 3, 3)
    assert (found == colour).all()


def test_transparent_palette_colour_becomes_white():
    image = Image.new("P", (2, 1))
    image.putpalette([255, 0, 0, 0, 0, 255])
    image.putpixel((1, 0), 1)
    assert decode_image(encoded(image, transparency=0)).tolist() == [[list(WHITE), list(BLUE)]]


def test_grey_and_cmyk_jpeg_become_rgb():
    assert (decode_image(encoded(Image.new("L", (8, 8), 128), "JPEG")) == 128).all()
    red = decode_image(encoded(Image.new("CMYK", (8, 8), (0, 255, 255, 0)), "JPEG", quality=100))
    assert np.abs(red.astype(int) - RED).max() <= 3


def test_exif_orientation_is_not_applied():
    exif = Image.Exif()
    exif[0x0112] = 6  # turn by 90 degrees
    assert decode_image(encoded(Image.new("RGB", (8, 4)), "JPEG", exif=exif)).shape == (4, 8, 3)


@pytest.mark.parametrize(
    "data",
    [b"", b"hello", b"\xff\xd8", b"\xff\xd8\xff\xe0 nothing", b"\x89PNG\r\n\x1a\n", b"GIF89a" + b"\0" * 40],
    ids=["empty", "text", "start of JPEG", "JPEG marker", "PNG signature", "GIF"],
)
def test_data_that_is_no_image_is_an_image_error(data):
    with pytest.raises(ImageError):
        decode_image(data)


@pytest.mark.parametrize("share", [0.01, 0.3, 0.6, 0.95])
@pytest.mark.parametrize("encode", [encode_png, lambda image: encode_jpeg(image, 90)], ids=["png", "jpeg"])
def test_cut_image_is_an_image_error(encode, share):
    data = encode(noise(60, 60))
    with pytest.raises(ImageError):
        decode_image(data[: int(len(data) * share)])


def test_jpeg_without_its_last_byte_is_an_image_error():
    with pytest.raises(ImageError):
        decode_image(encode_jpeg(noise(16, 16), 90)[:-1])


def test_jpeg_with_bytes_that_decoders_pass_over_is_read():
    data = encode_jpeg(smooth(16, 16), 95)
    start_of_frame = data.index(b"\xff\xc0")
    odd = data[:start_of_frame] + b"\0\0\0" + data[start_of_frame:]
    assert np.abs(decode_image(odd).astype(int) - smooth(16, 16)).max() <= 8


@given(st.binary(max_size=80), st.integers(0, 400))
def test_damage_ends_in_pixels_or_an_image_error(junk, position):
    for data in (encode_png(smooth(8, 8)), encode_jpeg(smooth(8, 8), 90)):
        try:
            decode_image(data[:position] + junk + data[position + len(junk) :])
        except ImageError:
            continue


@pytest.mark.parametrize("side", [20_000, 2**30])
def test_images_of_too_many_pixels_are_refused_before_decoding(side):
    with pytest.raises(ImageError, match="more than 100000000 pixels"):
        decode_image(png_of_size(side, side))
    jpeg = bytearray(encode_jpeg(noise(8, 8), 90))
    frame = jpeg.index(b"\xff\xc0")
    jpeg[frame + 5 : frame + 9] = struct.pack(">HH", 20_000, 20_000)
    with pytest.raises(ImageError, match="more than 100000000 pixels"):
        decode_image(bytes(jpeg))


def test_image_size_reads_the_header_alone(tmp_path):
    path = tmp_path / "a.png"
    path.write_bytes(encode_png(noise(50, 70))[:100])
    assert image_size(path) == (50, 70)
    path.write_bytes(b"?")
    with pytest.raises(ImageError, match="not a JPEG or PNG"):
        image_size(path)
    with pytest.raises(ImageError, match="No such file"):
        image_size(tmp_path / "none.png")


@given(height=st.integers(1, 90), width=st.integers(1, 90), size=st.integers(1, 50))
def test_resized_image_always_fills_the_square(height, width, size):
    image = np.full((height, width, 3), 200, np.uint8)
    found = resize_to_fill(image, size)
    assert found.shape == (size, size, 3)
    assert (found == 200).all()


def test_right_size_is_returned_unchanged():
    image = noise(12, 12)
    assert resize_to_fill(image, 12) is image


@pytest.mark.parametrize("axis", [0, 1])
def test_centre_is_cut_out_of_the_longer_side(axis):
    # Blue - red - blue, a third each: scaled to 6 x 18, the middle six are red.
    image = np.full((12, 36, 3), BLUE, np.uint8)
    image[:, 12:24] = RED
    if axis == 0:
        image = image.transpose(1, 0, 2).copy()
    assert (resize_to_fill(image, 6) == RED).all()


def test_halving_takes_the_mean_of_four():
    image = np.array([[[0] * 3, [10] * 3], [[20] * 3, [50] * 3]], np.uint8)
    assert resize_to_fill(image, 1).tolist() == [[[20, 20, 20]]]


def test_image_that_would_grow_beyond_bounds_is_refused():
    with pytest.raises(ImageError, match="too elongated to fill a square: 60000 x 1 pixels"):
        resize_to_fill(np.zeros((1, 60_000, 3), np.uint8), 192)


def test_without_size_colour_files_keep_their_bytes():
    for data in (encode_png(noise(5, 6)), encode_jpeg(noise(5, 6), 90)):
        assert prepare_image(data, size=None, quality=95) is data


@pytest.mark.parametrize("mode", ["L", "P", "RGBA", "1"])
def test_without_size_other_modes_become_lossless_rgb_png(mode):
    data = encoded(Image.fromarray(noise(5, 6)).convert(mode))
    found = prepare_image(data, size=None, quality=95)
    assert Image.open(io.BytesIO(found)).mode == "RGB"
    assert np.array_equal(decode_image(found), decode_image(data))


def test_without_size_grey_jpeg_becomes_png():
    found = prepare_image(encoded(Image.new("L", (8, 8), 9), "JPEG"), size=None, quality=95)
    assert found.startswith(b"\x89PNG")
    assert (decode_image(found) == 9).all()


def test_without_size_pixels_become_lossless_png():
    image = noise(32, 32)
    image.setflags(write=False)
    assert np.array_equal(decode_image(prepare_image(image, size=None, quality=95)), image)


def test_without_size_damage_is_found_all_the_same():
    data = encode_png(noise(40, 40))
    with pytest.raises(ImageError):
        prepare_image(data[: len(data) // 2], size=None, quality=95)


def test_with_size_everything_becomes_a_jpeg_of_that_size():
    read_only = noise(20, 30)
    read_only.setflags(write=False)
    for data in (read_only, encode_png(noise(20, 30)), encode_jpeg(noise(20, 30), 90), encode_png(noise(16, 16))):
        image = Image.open(io.BytesIO(prepare_image(data, size=16, quality=90)))
        assert (image.format, image.size) == ("JPEG", (16, 16))


def test_with_size_a_jpeg_of_that_size_keeps_its_bytes():
    data = encode_jpeg(noise(16, 16), 50)
    assert prepare_image(data, size=16, quality=95) is data


def test_quality_changes_the_length():
    lengths = [len(prepare_image(noise(64, 64), size=32, quality=quality)) for quality in (10, 50, 95)]
    assert lengths == sorted(lengths)
    assert lengths[0] < lengths[2] / 3


@pytest.mark.parametrize(
    "pixels",
    [np.zeros((4, 4), np.uint8), np.zeros((4, 4, 4), np.uint8), np.zeros((4, 4, 3)), np.zeros((0, 4, 3), np.uint8)],
)
def test_pixels_of_another_shape_or_type_are_refused(pixels):
    with pytest.raises(ImageError, match="expected pixels"):
        prepare_image(pixels, size=None, quality=95)


def test_one_thread_per_process():
    assert images.cv2.getNumThreads() == 1
