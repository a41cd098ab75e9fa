"""Listing images and choosing among them."""

import os
import pickle

import numpy as np
import pytest

from nodewise.core.errors import CorruptFileError, SourceError, SpecError
from nodewise.data.image_list import ImageList, ImageRef
from nodewise.data.sources import CIFAR10_CLASSES, ChangedFileError, ImageSource, open_source, read_image, select
from nodewise.images.codecs import ImageError, encode_jpeg, encode_png


def picture(side=40):
    return np.full((side, side, 3), 100, np.uint8)


def put(path, data=None):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(encode_jpeg(picture(), 90) if data is None else data)


def put_batch(path, labels):
    path.parent.mkdir(parents=True, exist_ok=True)
    data = np.arange(len(labels), dtype=np.uint8)[:, None] * np.ones(3072, np.uint8)
    path.write_bytes(pickle.dumps({b"data": data, b"labels": labels}, 2))


def two_classes(root):
    put(root / "rose" / "b.jpg")
    put(root / "rose" / "a.jpeg")
    put(root / "daisy" / "x.png", encode_png(picture()))
    return root


def refs(count_by_label):
    return [ImageRef(f"{label}/{i:04d}.png", label) for label, count in count_by_label.items() for i in range(count)]


def folder_source(tmp_path, train, test=None):
    splits = {"train": ImageList.of(refs(train))} | ({} if test is None else {"test": ImageList.of(refs(test))})
    return ImageSource(tmp_path, "folder", ("a", "b"), splits, None)


def test_classes_and_images_are_listed_in_order(tmp_path):
    source = open_source(two_classes(tmp_path))
    assert (source.kind, source.root, source.classes) == ("folder", tmp_path, ("daisy", "rose"))
    assert source.splits == {
        "train": [ImageRef("daisy/x.png", 0), ImageRef("rose/a.jpeg", 1), ImageRef("rose/b.jpg", 1)]
    }


def test_other_and_hidden_files_are_passed_over(tmp_path):
    two_classes(tmp_path)
    for name in (
        "README.md",
        "stray.jpg",
        ".DS_Store",
        "rose/notes.txt",
        "rose/.c.jpg",
        ".git/x.jpg",
        "__MACOSX/y.jpg",
    ):
        put(tmp_path / name)
    (tmp_path / "rose" / "folder.jpg").mkdir()
    assert len(open_source(tmp_path).splits["train"]) == 3


def test_upper_case_suffixes_and_unusual_class_names(tmp_path):
    put(tmp_path / "großer Löwenzahn" / "IMG 1.JPG")
    put(tmp_path / "バラ" / "b.Jpeg")
    put(tmp_path / "a-b.c" / "é.PNG", encode_png(picture()))
    source = open_source(tmp_path)
    assert source.classes == ("a-b.c", "großer Löwenzahn", "バラ")
    assert [ref.path for ref in source.splits["train"]] == ["a-b.c/é.PNG", "großer Löwenzahn/IMG 1.JPG", "バラ/b.Jpeg"]
    assert all(read_image(tmp_path, ref) for ref in source.splits["train"])


def test_train_and_test_folders_are_splits(tmp_path):
    two_classes(tmp_path / "train")
    two_classes(tmp_path / "test")
    source = open_source(tmp_path)
    assert source.classes == ("daisy", "rose")
    assert [ref.path for ref in source.splits["train"]] == [
        "train/daisy/x.png",
        "train/rose/a.jpeg",
        "train/rose/b.jpg",
    ]
    assert source.splits["test"][0] == ImageRef("test/daisy/x.png", 0)


def test_classes_named_train_and_test_are_classes(tmp_path):
    put(tmp_path / "train" / "1.jpg")
    put(tmp_path / "test" / "2.jpg")
    assert open_source(tmp_path).classes == ("test", "train")


@pytest.mark.parametrize("only_in", ["train", "test"])
def test_train_and_test_must_have_the_same_classes(tmp_path, only_in):
    two_classes(tmp_path / "train")
    two_classes(tmp_path / "test")
    put(tmp_path / only_in / "tulip" / "1.jpg")
    with pytest.raises(SourceError, match="class 'tulip' is in only one of"):
        open_source(tmp_path)


def test_wrapping_folder_is_stepped_into(tmp_path):
    two_classes(tmp_path / "flower_photos")
    put(tmp_path / "LICENSE.txt")
    source = open_source(tmp_path)
    assert source.root == tmp_path / "flower_photos"
    assert source.classes == ("daisy", "rose")


def test_single_class_is_no_wrapping_folder(tmp_path):
    put(tmp_path / "rose" / "a.jpg")
    put(tmp_path / "rose" / "details" / "b.jpg")
    source = open_source(tmp_path)
    assert (source.root, source.classes) == (tmp_path, ("rose",))


def test_class_folder_without_images_is_named(tmp_path):
    two_classes(tmp_path)
    put(tmp_path / "empty one" / "notes.txt")
    with pytest.raises(SourceError, match="class folder 'empty one' holds no images") as caught:
        open_source(tmp_path)
    assert "remove the folder" in caught.value.hint


def test_missing_path_file_and_empty_folder_are_input_errors(tmp_path):
    with pytest.raises(SourceError, match="none: no such folder"):
        open_source(tmp_path / "none")
    put(tmp_path / "file.jpg")
    with pytest.raises(SourceError, match="not a folder"):
        open_source(tmp_path / "file.jpg")
    with pytest.raises(SourceError, match="no images found") as caught:
        open_source(tmp_path)  # an image, but in no class folder
    assert "sub-folder per class" in caught.value.hint


@pytest.mark.parametrize(("side", "expected"), [(8, None), (32, None), (33, 192)])
def test_default_size_follows_the_first_image(tmp_path, side, expected):
    put(tmp_path / "a" / "1.png", encode_png(picture(side)))
    put(tmp_path / "b" / "2.jpg")
    assert open_source(tmp_path).default_size == expected


def test_default_size_passes_over_unreadable_images(tmp_path):
    put(tmp_path / "a" / "1.png", b"broken")
    put(tmp_path / "a" / "2.png", encode_png(picture(8)))
    source = open_source(tmp_path)
    assert source.default_size is None
    assert len(source.splits["train"]) == 2  # listed; it is for the job to report it
    put(tmp_path / "a" / "2.png", b"broken too")
    assert open_source(tmp_path).default_size == 192


@pytest.mark.parametrize("wrapping", ["", "cifar-10-batches-py"])
def test_cifar_batches_are_rows(tmp_path, wrapping):
    folder = tmp_path / wrapping
    put_batch(folder / "data_batch_2", [7])
    put_batch(folder / "data_batch_1", [3, 9])
    put_batch(folder / "test_batch", [0])
    put(folder / "readme.html", b"<html>")
    source = open_source(tmp_path)
    assert (source.kind, source.root, source.classes, source.default_size) == ("cifar10", folder, CIFAR10_CLASSES, None)
    assert source.splits == {
        "train": [ImageRef("data_batch_1", 3, 0), ImageRef("data_batch_1", 9, 1), ImageRef("data_batch_2", 7, 0)],
        "test": [ImageRef("test_batch", 0, 0)],
    }
    second = read_image(source.root, source.splits["train"][1])
    assert second.shape == (32, 32, 3)
    assert (second == 1).all()


def test_cifar_class_names_come_from_their_file(tmp_path):
    put_batch(tmp_path / "data_batch_1", [3])
    names = [f"name {i}" for i in range(10)]
    (tmp_path / "batches.meta").write_bytes(pickle.dumps({b"label_names": [name.encode() for name in names]}, 2))
    source = open_source(tmp_path)
    assert source.classes == tuple(names)
    assert set(source.splits) == {"train"}


def test_batch_that_changed_is_read_again(tmp_path):
    put_batch(tmp_path / "data_batch_1", [1, 2, 3])
    assert (read_image(tmp_path, ImageRef("data_batch_1", 3, 2)) == 2).all()
    put_batch(tmp_path / "data_batch_1", [1])
    with pytest.raises(ImageError, match="only 1 images"):
        read_image(tmp_path, ImageRef("data_batch_1", 3, 2))


def test_damaged_batch_is_an_error_of_its_file(tmp_path):
    put(tmp_path / "data_batch_1", b"junk")
    with pytest.raises(CorruptFileError, match="data_batch_1"):
        open_source(tmp_path)


def test_image_that_cannot_be_read_is_an_image_error(tmp_path):
    with pytest.raises(ImageError, match="No such file"):
        read_image(tmp_path, ImageRef("a/gone.jpg", 0))
    with pytest.raises(ImageError, match="No such file"):
        read_image(tmp_path, ImageRef("data_batch_1", 0, 0))


def test_without_sample_every_image_is_in_one_split(tmp_path):
    source = folder_source(tmp_path, {0: 10, 1: 5})
    chosen = select(source, sample=1.0, test_fraction=0.2, seed=0)
    assert (len(chosen["train"]), len(chosen["test"])) == (12, 3)
    assert sorted([*chosen["train"], *chosen["test"]], key=str) == sorted(refs({0: 10, 1: 5}), key=str)
    # A fifth of each class: two of ten, one of five.
    assert sorted(ref.label for ref in chosen["test"]) == [0, 0, 1]


def test_selection_of_a_seed_never_changes(tmp_path):
    # Fixed for good: a data set prepared again, elsewhere or later, must have the same records.
    chosen = select(folder_source(tmp_path, {0: 4, 1: 4}), sample=0.75, test_fraction=0.34, seed=7)
    assert [ref.path for ref in chosen["train"]] == ["1/0000.png", "1/0003.png", "0/0003.png", "0/0002.png"]
    assert [ref.path for ref in chosen["test"]] == ["0/0000.png", "1/0002.png"]


def test_selection_does_not_depend_on_the_order_of_the_list(tmp_path):
    source = folder_source(tmp_path, {0: 20, 1: 20})
    backwards = ImageSource(
        tmp_path, "folder", ("a", "b"), {"train": ImageList.of(reversed(source.splits["train"]))}, None
    )
    settings = {"sample": 0.5, "test_fraction": 0.3, "seed": 3}
    assert select(source, **settings) == select(backwards, **settings)


def test_other_seed_other_selection(tmp_path):
    source = folder_source(tmp_path, {0: 50, 1: 50})
    first, second = (select(source, sample=0.5, test_fraction=0.2, seed=seed) for seed in (0, 1))
    assert {ref.path for ref in first["train"]} != {ref.path for ref in second["train"]}


def test_records_are_shuffled(tmp_path):
    train = select(folder_source(tmp_path, {0: 50, 1: 50}), sample=1.0, test_fraction=0.0, seed=0)["train"]
    labels = [ref.label for ref in train]
    assert labels != sorted(labels)
    assert 10 < sum(labels[:50]) < 40


@pytest.mark.parametrize(("sample", "taken"), [(0.02, 2), (0.024, 2), (0.025, 3), (1.0, 100), (0.005, 1)])
def test_sample_is_rounded_to_the_nearest(tmp_path, sample, taken):
    chosen = select(folder_source(tmp_path, {0: 100}), sample=sample, test_fraction=0.0, seed=0)
    assert (len(chosen["train"]), chosen["test"]) == (taken, [])


def test_test_split_of_the_source_is_kept_and_sampled(tmp_path):
    source = folder_source(tmp_path, {0: 40}, {0: 20, 1: 20})
    chosen = select(source, sample=0.1, test_fraction=0.5, seed=0)
    assert (len(chosen["train"]), len(chosen["test"])) == (4, 4)
    assert set(chosen["test"]) <= set(refs({0: 20, 1: 20}))


def test_at_least_one_image_of_a_class_stays_in_train(tmp_path):
    chosen = select(folder_source(tmp_path, {0: 1, 1: 2}), sample=1.0, test_fraction=0.99, seed=0)
    assert sorted(ref.label for ref in chosen["train"]) == [0, 1]
    assert [ref.label for ref in chosen["test"]] == [1]


def test_sample_that_takes_nothing_says_what_would(tmp_path):
    source = folder_source(tmp_path, {0: 1500, 1: 297})
    with pytest.raises(SourceError, match=r"a sample of 0\.0001 of its 1,797 images takes none") as caught:
        select(source, sample=0.0001, test_fraction=0.2, seed=0)
    assert caught.value.hint == "a sample of 0.00056 takes one"
    chosen = select(source, sample=0.00056, test_fraction=0.2, seed=0)
    assert (len(chosen["train"]), len(chosen["test"])) == (1, 0)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"sample": 0.0}, "sample is 0.0"),
        ({"sample": 1.01}, "sample is 1.01"),
        ({"sample": float("nan")}, "sample is nan"),
        ({"test_fraction": 1.0}, "test_fraction is 1.0"),
        ({"test_fraction": -0.1}, "test_fraction is -0.1"),
        ({"seed": -1}, "seed is -1"),
    ],
)
def test_settings_out_of_range_are_refused(tmp_path, changes, message):
    settings = {"sample": 1.0, "test_fraction": 0.2, "seed": 0} | changes
    with pytest.raises(SpecError, match=message):
        select(folder_source(tmp_path, {0: 3}), **settings)


def test_ten_thousand_names_come_in_order_without_an_object_for_each(tmp_path, monkeypatch):
    monkeypatch.setattr("nodewise.data.sources._NAMES_AT_ONCE", 7)
    names = [f"{i * 7919 % 100:03d}{'x' * (i % 5)}.jpg" for i in range(100)]
    for name in names:
        put(tmp_path / "a" / name, b"")
    source = open_source(tmp_path)
    assert [ref.path for ref in source.splits["train"]] == sorted(f"a/{name}" for name in names)


def test_names_that_are_no_unicode_are_listed_and_read(tmp_path):
    name = os.fsdecode(b"\xff\xfe.jpg")
    put(tmp_path / "a" / name)
    (ref,) = open_source(tmp_path).splits["train"]
    assert ref.path == f"a/{name}"
    assert isinstance(read_image(tmp_path, ref), bytes)


@pytest.mark.parametrize("change", ["grows", "shrinks", "is written over"])
def test_a_file_that_changes_while_it_is_read_is_noticed(tmp_path, monkeypatch, change):
    path = tmp_path / "a" / "1.jpg"
    put(path, b"0123456789" * 100)
    real = os.read

    def read(descriptor, length):
        data = real(descriptor, length)
        if change == "grows":
            os.truncate(path, 2000)
        elif change == "shrinks":
            os.truncate(path, 10)
        else:
            path.write_bytes(b"9876543210" * 100)
            os.utime(path, ns=(1, 1))
        return data

    monkeypatch.setattr(os, "read", read)
    with pytest.raises(ChangedFileError, match="changed while it was read"):
        read_image(tmp_path, ImageRef("a/1.jpg", 0))


def test_a_file_is_read_whole_however_little_comes_at_once(tmp_path, monkeypatch):
    put(tmp_path / "a" / "1.jpg", bytes(range(256)) * 4)
    real = os.read
    monkeypatch.setattr(os, "read", lambda descriptor, length: real(descriptor, min(length, 100)))
    assert read_image(tmp_path, ImageRef("a/1.jpg", 0)) == bytes(range(256)) * 4


def test_what_is_no_file_is_not_waited_for(tmp_path):
    (tmp_path / "a").mkdir()
    with pytest.raises(ImageError, match=r"cannot be read"):
        read_image(tmp_path, ImageRef("a", 0))
