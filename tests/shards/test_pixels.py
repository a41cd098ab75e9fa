"""The pixels of a record."""

import numpy as np
import pytest

from nodewise.images.codecs import ImageError, encode_png
from nodewise.shards.examples import Example
from nodewise.shards.pixels import example_pixels

PIXELS = np.arange(5 * 4 * 3, dtype=np.uint8).reshape(5, 4, 3)


@pytest.mark.parametrize("example", [Example(PIXELS.tobytes(), 0, (5, 4, 3)), Example(encode_png(PIXELS), 0)])
def test_raw_and_encoded_images_give_their_pixels(example):
    found = example_pixels(example, max_pixels=20)
    assert found.dtype == np.uint8
    assert (found == PIXELS).all()
    with pytest.raises(ImageError, match="more than 19 pixels: 4 x 5"):
        example_pixels(example, max_pixels=19)


def test_what_is_no_image_is_an_error():
    with pytest.raises(ImageError, match="not a JPEG"):
        example_pixels(Example(b"no image", 0))
