"""Decoding and encoding."""

import io
import struct
import zlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from tests.images.pictures import encoded, noise, smooth

from nodewise.images import codecs
from nodewise.images.codecs import (
    ImageError,
    Scratch,
    decode,
    decode_image,
    encode_jpeg,
    encode_png,
    encode_webp,
    image_size,
    orientation,
)

RED, GREEN, BLUE, WHITE = (255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 255)


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


# Rows of the letters in a picture of 2 x 3, as each orientation stores the upright "abc / def".
STORED = {
    1: "abc def",
    2: "cba fed",
    3: "fed cba",
    4: "def abc",
    5: "ad be cf",
    6: "cf be ad",
    7: "fc eb da",
    8: "da eb fc",
}


def letters(text):
    """A grey value for each letter, as an image whose letters are 16 x 16 pixels, so that JPEG keeps them apart."""
    rows = [[(ord(letter) - ord("a")) * 40 for letter in row] for row in text.split()]
    return np.kron(np.array(rows, np.uint8), np.ones((16, 16), np.uint8))


@pytest.mark.parametrize("file_format", ["JPEG", "PNG", "WEBP"])
@pytest.mark.parametrize("turn", STORED)
def test_images_are_turned_as_their_exif_orientation_says(turn, file_format):
    exif = Image.Exif()
    exif[0x010F] = "a maker"
    exif[0x0112] = turn
    settings = {"lossless": True} if file_format == "WEBP" else {}
    data = encoded(Image.fromarray(letters(STORED[turn])).convert("RGB"), file_format, exif=exif, **settings)
    assert orientation(data) == turn
    found = decode(data)
    assert found.is_plain == (turn == 1)
    expected = letters("abc def")
    assert found.pixels.shape == (*expected.shape, 3)
    assert np.abs(found.pixels.astype(int) - expected[..., None]).max() <= 2


@pytest.mark.parametrize(
    "block",
    [b"", b"II*\0", b"II*\0\xff\xff\xff\xff", b"II*\0\x08\0\0\0\xff\xff", b"XX*\0" + b"\0" * 40],
    ids=["empty", "cut", "directory beyond the end", "more entries than bytes", "no TIFF"],
)
def test_senseless_exif_is_passed_over(block):
    image = encode_jpeg(smooth(16, 16), 90)
    segment = b"\xff\xe1" + struct.pack(">H", len(block) + 8) + b"Exif\0\0" + block
    data = image[:2] + segment + image[2:]
    assert orientation(data) == 1
    assert decode_image(data).shape == (16, 16, 3)


@pytest.mark.parametrize("value", [0, 9, 65535])
def test_an_orientation_that_does_not_exist_is_passed_over(value):
    exif = Image.Exif()
    exif[0x0112] = value
    assert orientation(encoded(Image.new("RGB", (8, 8)), "JPEG", exif=exif)) == 1


def test_progressive_and_subsampled_jpeg_are_read():
    image = smooth(40, 30)
    for settings in ({"progressive": True}, {"subsampling": 2}, {"subsampling": 1}, {"keep_rgb": True}):
        found = decode_image(encoded(Image.fromarray(image), "JPEG", quality=95, **settings))
        assert np.abs(found.astype(int) - image).max() <= 12, settings


def test_a_colour_profile_changes_nothing():
    image = Image.fromarray(smooth(16, 16))
    with_profile = encoded(image, "JPEG", quality=95, icc_profile=b"a profile that would swap the colours")
    assert np.array_equal(decode_image(with_profile), decode_image(encoded(image, "JPEG", quality=95)))


def test_sixteen_bits_of_colour_become_eight():
    # Pillow writes no such PNG, OpenCV does.
    wide = np.full((4, 4, 3), (257 * 10, 257 * 20, 257 * 30), np.uint16)
    data = codecs.cv2.imencode(".png", wide)[1].tobytes()
    found = decode(data)
    assert (found.pixels == (30, 20, 10)).all()
    assert not found.is_plain


def test_jpeg_of_twelve_bits_or_of_a_rare_kind_is_refused_in_one_line():
    data = bytearray(encode_jpeg(noise(16, 16), 90))
    frame = data.index(b"\xff\xc0")
    for marker, precision in ((0xC1, 12), (0xC5, 8), (0xC7, 8)):  # 12 bits; hierarchical; hierarchical lossless
        data[frame + 1], data[frame + 4] = marker, precision
        with pytest.raises(ImageError) as caught:
            decode_image(bytes(data))
        assert "\n" not in str(caught.value)


def test_the_first_picture_of_an_animation_is_taken():
    frames = [Image.new("RGB", (8, 8), colour) for colour in ("red", "blue")]
    data = encoded(frames[0], "WEBP", save_all=True, append_images=frames[1:], lossless=True)
    assert (decode_image(data) == RED).all()


def test_of_a_jpeg_with_two_pictures_the_first_is_taken():
    frames = [Image.new("CMYK", (16, 16), colour) for colour in ((0, 255, 255, 0), (255, 0, 0, 0))]
    data = encoded(frames[0], "MPO", save_all=True, append_images=frames[1:], quality=100)
    found = decode(data)
    assert found.encoding == "jpeg"
    assert np.abs(found.pixels.astype(int) - RED).max() <= 3


def test_webp_comes_back_nearly():
    image = smooth(40, 30)
    assert np.abs(decode_image(encode_webp(image, 100)).astype(int) - image).max() <= 12
    assert len(encode_webp(noise(64, 64), 10)) < len(encode_webp(noise(64, 64), 90)) / 2


def test_webp_has_no_sides_longer_than_its_format_allows():
    with pytest.raises(ImageError, match="too large for WebP: 16384 x 1"):
        encode_webp(np.zeros((1, 16384, 3), np.uint8), 90)


@pytest.mark.parametrize("encode", [encode_png, lambda image, **order: encode_jpeg(image, 95, **order)])
def test_channels_may_come_in_the_order_of_opencv(encode):
    image = smooth(24, 16)
    data = encode(image[..., ::-1].copy(), bgr=True)
    assert data == encode(image)
    assert np.array_equal(decode(data, bgr=True).pixels, decode(data).pixels[..., ::-1])


def test_jpeg_subsampling_is_what_was_asked_for():
    for name, factors in (("444", (1, 1)), ("422", (2, 1)), ("420", (2, 2))):
        image = Image.open(io.BytesIO(encode_jpeg(noise(16, 16), 90, subsampling=name)))
        assert image.layer[0][1:3] == factors


def test_optimised_jpeg_is_shorter_and_has_the_same_pixels():
    image = smooth(64, 64)
    plain, optimised = encode_jpeg(image, 95), encode_jpeg(image, 95, optimize=True)
    assert len(optimised) < len(plain)
    assert np.array_equal(decode_image(plain), decode_image(optimised))


def test_scratch_memory_is_used_again():
    scratch = Scratch()
    first, second = (encode_jpeg(smooth(side, side), 95) for side in (32, 16))
    one = decode(first, scratch=scratch).pixels
    assert np.array_equal(one, decode_image(first))
    other = decode(second, scratch=scratch).pixels
    assert np.shares_memory(one, other)
    assert np.array_equal(other, decode_image(second))


def test_a_smaller_bound_of_pixels_can_be_set():
    for data in (encode_jpeg(noise(8, 9), 90), encode_png(noise(8, 9))):
        assert decode_image(data, max_pixels=72).shape == (8, 9, 3)
        with pytest.raises(ImageError, match="more than 71 pixels: 9 x 8"):
            decode_image(data, max_pixels=71)


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
    with pytest.raises(ImageError, match="not a JPEG, PNG or WebP"):
        image_size(path)
    with pytest.raises(ImageError, match="No such file"):
        image_size(tmp_path / "none.png")


def test_one_thread_per_process():
    assert codecs.cv2.getNumThreads() == 1
