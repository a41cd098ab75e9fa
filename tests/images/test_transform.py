"""What happens to one image on its way into a shard."""

import io
import pickle

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from tests.images.pictures import encoded, noise, smooth

from nodewise.images.codecs import ImageError, decode_image, encode_jpeg, encode_png, encode_webp
from nodewise.images.transform import Transform, resize
from nodewise.specs.job import PrepareSpec

RED, BLUE = (255, 0, 0), (0, 0, 255)


@given(height=st.integers(1, 90), width=st.integers(1, 90), size=st.integers(1, 50))
def test_resized_image_always_fills_the_square(height, width, size):
    image = np.full((height, width, 3), 200, np.uint8)
    found = resize(image, size)
    assert found.shape == (size, size, 3)
    assert (found == 200).all()


def test_right_size_is_returned_unchanged():
    image = noise(12, 12)
    assert resize(image, 12) is image


@pytest.mark.parametrize("axis", [0, 1])
def test_centre_is_cut_out_of_the_longer_side(axis):
    # Blue - red - blue, a third each: scaled to 6 x 18, the middle six are red.
    image = np.full((12, 36, 3), BLUE, np.uint8)
    image[:, 12:24] = RED
    if axis == 0:
        image = image.transpose(1, 0, 2).copy()
    assert (resize(image, 6) == RED).all()


def test_halving_takes_the_mean_of_four():
    image = np.array([[[0] * 3, [10] * 3], [[20] * 3, [50] * 3]], np.uint8)
    assert resize(image, 1).tolist() == [[[20, 20, 20]]]


def test_image_that_would_grow_beyond_bounds_is_refused():
    with pytest.raises(ImageError, match="too elongated to fill a square: 60000 x 1 pixels"):
        resize(np.zeros((1, 60_000, 3), np.uint8), 192)


def test_without_size_colour_files_keep_their_bytes():
    for data in (encode_png(noise(5, 6)), encode_jpeg(noise(5, 6), 90)):
        assert Transform(size=None, quality=95)(data).image is data


@pytest.mark.parametrize("mode", ["L", "P", "RGBA", "1"])
def test_without_size_other_modes_become_lossless_rgb_png(mode):
    data = encoded(Image.fromarray(noise(5, 6)).convert(mode))
    found = Transform(size=None, quality=95)(data).image
    assert Image.open(io.BytesIO(found)).mode == "RGB"
    assert np.array_equal(decode_image(found), decode_image(data))


def test_without_size_grey_jpeg_becomes_png():
    found = Transform(size=None)(encoded(Image.new("L", (8, 8), 9), "JPEG")).image
    assert found.startswith(b"\x89PNG")
    assert (decode_image(found) == 9).all()


def test_without_size_pixels_become_lossless_png():
    image = noise(32, 32)
    image.setflags(write=False)
    assert np.array_equal(decode_image(Transform(size=None, quality=95)(image).image), image)


def test_without_size_damage_is_found_all_the_same():
    data = encode_png(noise(40, 40))
    with pytest.raises(ImageError):
        Transform(size=None, quality=95)(data[: len(data) // 2])


def test_with_size_everything_becomes_a_jpeg_of_that_size():
    read_only = noise(20, 30)
    read_only.setflags(write=False)
    for data in (read_only, encode_png(noise(20, 30)), encode_jpeg(noise(20, 30), 90), encode_png(noise(16, 16))):
        image = Image.open(io.BytesIO(Transform(size=16, quality=90)(data).image))
        assert (image.format, image.size) == ("JPEG", (16, 16))


def test_with_size_a_jpeg_of_that_size_keeps_its_bytes():
    data = encode_jpeg(noise(16, 16), 50)
    assert Transform(size=16, quality=95)(data).image is data


def test_quality_changes_the_length():
    lengths = [len(Transform(size=32, quality=quality)(noise(64, 64)).image) for quality in (10, 50, 95)]
    assert lengths == sorted(lengths)
    assert lengths[0] < lengths[2] / 3


@pytest.mark.parametrize(
    "pixels",
    [np.zeros((4, 4), np.uint8), np.zeros((4, 4, 4), np.uint8), np.zeros((4, 4, 3)), np.zeros((0, 4, 3), np.uint8)],
)
def test_pixels_of_another_shape_or_type_are_refused(pixels):
    with pytest.raises(ImageError, match="expected pixels"):
        Transform(size=None)(pixels)


@given(
    height=st.integers(1, 90),
    width=st.integers(1, 90),
    size=st.integers(1, 50),
    resample=st.sampled_from(["bilinear", "antialias"]),
)
def test_contained_image_is_whole_and_centred_on_black(height, width, size, resample):
    found = resize(np.full((height, width, 3), 200, np.uint8), size, fit="contain", resample=resample)
    assert found.shape == (size, size, 3)
    lit = found[..., 0] == 200
    assert ((found == 200) | (found == 0)).all()
    rows, columns = np.flatnonzero(lit.any(axis=1)), np.flatnonzero(lit.any(axis=0))
    assert lit[np.ix_(rows, columns)].all()
    longer, shorter = max(len(rows), len(columns)), min(len(rows), len(columns))
    assert longer == size
    assert shorter == max(1, round(size * min(height, width) / max(height, width) + 1e-9)) or height == width == size
    for places in (rows, columns):
        assert abs(places[0] - (size - 1 - places[-1])) <= 1


@pytest.mark.parametrize("resample", ["bilinear", "antialias"])
def test_stretched_image_keeps_its_corners(resample):
    image = np.full((10, 40, 3), BLUE, np.uint8)
    image[:, :20] = RED
    found = resize(image, 20, fit="stretch", resample=resample)
    assert (found[:, :9] == RED).all()
    assert (found[:, 11:] == BLUE).all()


def test_antialiasing_averages_where_bilinear_picks():
    # Single white columns, eight apart: bilinear between two pixel centres sees them or not.
    image = np.zeros((64, 64, 3), np.uint8)
    image[:, ::8] = 255
    assert resize(image, 8).max() == 0
    assert abs(int(resize(image, 8, resample="antialias").mean()) - 255 // 8) <= 2


@pytest.mark.parametrize("fit", ["cover", "contain", "stretch"])
@pytest.mark.parametrize("encoding", ["jpeg", "png", "webp", "raw"])
def test_every_fit_is_stored_in_every_encoding(fit, encoding):
    stored = Transform(size=24, fit=fit, encoding=encoding)(encode_png(smooth(30, 50)))
    assert stored.shape == (24, 24, 3)
    assert stored.is_raw == (encoding == "raw")
    expected = resize(smooth(30, 50), 24, fit=fit)
    if stored.is_raw:
        found = np.frombuffer(stored.image, np.uint8).reshape(stored.shape)
    else:
        assert Image.open(io.BytesIO(stored.image)).format == encoding.upper()
        found = decode_image(stored.image)
    lossless = encoding in ("raw", "png")
    assert np.abs(found.astype(int) - expected).max() <= (0 if lossless else 40)
    assert np.abs(found.astype(int) - expected).mean() <= (0 if lossless else 6)


def test_bytes_are_kept_only_if_they_are_of_the_encoding_asked_for():
    jpeg, png, webp = encode_jpeg(smooth(16, 16), 90), encode_png(smooth(16, 16)), encode_webp(smooth(16, 16), 90)
    for size in (None, 16):
        assert Transform(size=size, encoding="png")(png).image is png
        assert Transform(size=size, encoding="webp")(webp).image is webp
        assert Transform(size=size, encoding="jpeg")(jpeg).image is jpeg
        assert Transform(size=size, encoding="png")(jpeg).image.startswith(b"\x89PNG")
        assert Transform(size=size, encoding="raw")(png).image == smooth(16, 16).tobytes()


@pytest.mark.parametrize("size", [None, 16])
def test_an_image_that_lies_on_its_side_never_keeps_its_bytes(size):
    exif = Image.Exif()
    exif[0x0112] = 3
    data = encoded(Image.fromarray(smooth(16, 16)), "JPEG", exif=exif, quality=100, subsampling=0)
    found = decode_image(Transform(size=size, quality=100)(data).image)
    assert np.abs(found.astype(int) - smooth(16, 16)[::-1, ::-1]).max() <= 6


def test_the_bound_of_pixels_holds_for_the_transform_too():
    with pytest.raises(ImageError, match="more than 100 pixels"):
        Transform(size=8, max_pixels=100)(encode_jpeg(noise(20, 20), 90))


def test_the_fast_path_is_as_good_as_the_exact_one():
    # libjpeg's quick transform, and scratch memory that is used again from one image to the next.
    transform = Transform(size=32, encoding="raw")
    for seed in range(5):
        data = encode_jpeg(noise(40 + seed, 60 - seed, seed), 90)
        found = np.frombuffer(transform(data).image, np.uint8).reshape(32, 32, 3)
        assert np.abs(found.astype(int) - resize(decode_image(data), 32)).max() <= 6


def test_the_settings_of_a_job_become_a_transform_that_pickles():
    spec = PrepareSpec(fit="contain", encoding="webp", quality=50, resample="antialias", max_pixels=5000)
    transform = Transform.from_spec(spec, 192)
    assert transform == Transform(
        size=192, fit="contain", encoding="webp", quality=50, resample="antialias", max_pixels=5000
    )
    assert pickle.loads(pickle.dumps(transform)) == transform
    assert Transform.from_spec(PrepareSpec(size=8), 192).size == 8
    assert [Transform(size=size).stored_encoding for size in (8, None)] == ["jpeg", "unchanged"]
