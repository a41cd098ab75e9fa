"""Lists of images as arrays."""

import pickle

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from nodewise.data.image_list import ImageList, ImageRef

names = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), min_size=1, max_size=12)
files = st.lists(st.builds(ImageRef, names, st.integers(0, 2**31 - 1)), max_size=8)
rows = st.lists(st.builds(ImageRef, names, st.integers(0, 9), st.integers(0, 2**31 - 1)), max_size=8)


@given(files | rows)
def test_a_list_holds_what_it_was_made_of(refs):
    images = ImageList.of(refs)
    assert list(images) == refs == images
    assert len(images) == len(refs)
    assert images[1:3] == refs[1:3]
    assert pickle.loads(pickle.dumps(images)) == refs


@given(files | rows)
def test_order_is_that_of_path_and_row(refs):
    assert ImageList.of(refs).in_order() == sorted(refs, key=lambda ref: (ref.path, ref.row or 0))


@given(files, files)
def test_joined_lists_follow_one_another(first, second):
    assert ImageList.join([ImageList.of(first), ImageList.of(second)]) == [*first, *second]


def test_a_part_that_was_taken_does_not_carry_the_whole_along():
    images = ImageList.of(ImageRef(f"folder/{number:06d}.jpg", number) for number in range(10_000))
    part = images.take(np.array([3, 1]))
    assert [ref.label for ref in part] == [3, 1]
    assert len(pickle.dumps(part)) < 1000


def test_a_row_of_a_batch_has_a_name_of_its_own():
    assert ImageRef("batch", 0, 7).name == "batch#7"
    assert ImageRef("a/b.jpg", 0).name == "a/b.jpg"


def test_an_empty_list_is_a_list():
    assert ImageList.join([]) == [] == ImageList.of([])
