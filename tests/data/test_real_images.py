"""The real photos and CIFAR-10, where they are at hand."""

import os
import pickle
import tarfile
from itertools import islice
from pathlib import Path

import numpy as np
import pytest

from nodewise.data.sources import CIFAR10_CLASSES, open_source, read_image, select
from nodewise.images.codecs import ImageError, decode_image
from nodewise.images.transform import Transform
from nodewise.shards.examples import Example
from nodewise.shards.files import read_shard, write_shards

DATA = Path(os.environ.get("NODEWISE_TEST_DATA", Path(__file__).parents[2] / ".." / "shared" / "data"))


@pytest.fixture
def flowers():
    if not (DATA / "flowers").is_dir():
        pytest.skip("the photos of NODEWISE_TEST_DATA are not at hand")
    return open_source(DATA / "flowers")


@pytest.fixture(scope="module")
def cifar_images():
    """Four images of each class, as (class, pixels)."""
    archive = DATA / "cifar10-jpg.tar.gz"
    if not archive.is_file():
        pytest.skip("the CIFAR-10 images of NODEWISE_TEST_DATA are not at hand")
    found = []
    with tarfile.open(archive, "r|gz") as tar:
        members = (member for member in tar if "/test/" in member.name and member.isfile())
        for member in members:
            name = Path(member.name).parent.name
            if sum(name == other for other, _ in found) < 4:
                found.append((name, decode_image(tar.extractfile(member).read())))
            if len(found) == 40:
                break
    return found


def test_flowers_are_five_classes_of_160(flowers):
    assert flowers.classes == ("daisy", "dandelion", "roses", "sunflowers", "tulips")
    assert len(flowers.splits["train"]) == 800
    assert flowers.default_size == 192


def test_photos_go_through_shards(flowers, tmp_path):
    chosen = select(flowers, sample=0.05, test_fraction=0.2, seed=1)
    assert (len(chosen["train"]), len(chosen["test"])) == (32, 8)
    refs = chosen["train"]
    transform = Transform(size=192)
    examples = (Example(transform(read_image(flowers.root, ref)).image, ref.label) for ref in refs)
    (shard,) = write_shards(tmp_path, "train", 0, examples)
    assert shard.path == "train-00000-32.tfrec"
    found = list(read_shard(tmp_path, shard))
    assert [example.label for example in found] == [ref.label for ref in refs]
    assert all(decode_image(example.image).shape == (192, 192, 3) for example in found)


def test_photo_keeps_its_bytes_without_size(flowers):
    for ref in flowers.splits["train"][::100]:
        data = read_image(flowers.root, ref)
        assert Transform(size=None)(data).image is data


def test_resized_photo_looks_like_its_centre(flowers):
    for ref in flowers.splits["train"][::200]:
        image = decode_image(read_image(flowers.root, ref))
        side = min(image.shape[:2])
        top, left = (image.shape[0] - side) // 2, (image.shape[1] - side) // 2
        centre = image[top : top + side, left : left + side]
        found = decode_image(Transform(size=192)(image).image)
        assert np.abs(found.mean(axis=(0, 1)) - centre.mean(axis=(0, 1))).max() < 3


@pytest.mark.parametrize("protocol", [2, 4])
def test_cifar_batch_of_real_images_is_read(cifar_images, tmp_path, protocol):
    folder = tmp_path / "cifar-10-batches-py"
    folder.mkdir()
    for name, images in (("data_batch_1", cifar_images[:30]), ("test_batch", cifar_images[30:])):
        content = {
            b"data": np.stack([pixels.transpose(2, 0, 1).reshape(3072) for _, pixels in images]),
            b"labels": [CIFAR10_CLASSES.index(label) for label, _ in images],
            b"filenames": [b"x.png"] * len(images),
            b"batch_label": b"part",
        }
        (folder / name).write_bytes(pickle.dumps(content, protocol))
    source = open_source(tmp_path)
    found = [(source.classes[ref.label], read_image(source.root, ref)) for ref in source.splits["train"]]
    assert len(found) == 30
    for (label, pixels), (expected_label, expected) in zip(found, cifar_images, strict=False):
        assert label == expected_label
        assert np.array_equal(pixels, expected)
        assert np.array_equal(decode_image(Transform(size=None)(pixels).image), expected)


def test_cut_photo_is_found_wherever_it_is_cut(flowers):
    for ref in islice(flowers.splits["train"], 0, 800, 160):
        data = read_image(flowers.root, ref)
        for share in (0.02, 0.4, 0.9, 0.999):
            with pytest.raises(ImageError):
                Transform(size=192)(data[: int(len(data) * share)])
