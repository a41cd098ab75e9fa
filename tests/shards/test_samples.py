"""Images drawn to look at."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from nodewise.core.errors import CorruptFileError, SourceError
from nodewise.shards.samples import draw_samples
from nodewise.specs.job import Encoding, ShardFormat

from .made_shards import FORMATS, HEIGHT, LABELS, WIDTH, image_file, make_shards


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    for name in ("daisy", "roses"):
        (tmp_path / "photos" / name).mkdir(parents=True)
        for number in range(6):
            (tmp_path / "photos" / name / f"{number}.png").write_bytes(image_file(number))
    return tmp_path / "photos"


@pytest.mark.parametrize("encoding", ["png", "raw"])
@pytest.mark.parametrize("shard_format", FORMATS)
def test_all_records_are_drawn_in_order_with_label_and_place(
    tmp_path: Path, shard_format: ShardFormat, encoding: Encoding
) -> None:
    manifest = make_shards(tmp_path, shard_format=shard_format, encoding=encoding)
    images, num_records = draw_samples(tmp_path, count=100)
    assert num_records == len(images) == 8
    names = [str(tmp_path / shard.path) for shard in manifest.shards]
    assert [(image.path, image.record) for image in images] == [
        *((names[0], number) for number in range(3)),
        *((names[1], number) for number in range(3)),
        *((names[2], number) for number in range(2)),
    ]
    assert [image.label for image in images] == ["cat", "dog", "dog", "dog", "dog", "cat", "owl", "cat"]
    for number, image in enumerate(images):
        assert image.pixels is not None
        assert image.pixels.shape == (image.height, image.width, 3) == (HEIGHT, WIDTH, 3)
        assert image.pixels[0, 0, 0] == (number if encoding == "raw" else number * 20)


def test_files_are_drawn_with_class_folder_and_size(photos: Path) -> None:
    images, num_records = draw_samples(photos, count=12)
    assert num_records == 12
    assert [(image.path, image.label, image.record) for image in images[:7:6]] == [
        (str(photos / "daisy" / "0.png"), "daisy", None),
        (str(photos / "roses" / "0.png"), "roses", None),
    ]
    assert [image.bytes for image in images[:6]] == [len(image_file(number)) for number in range(6)]


def test_the_seed_decides_and_none_is_drawn_twice(photos: Path) -> None:
    def drawn(seed: int) -> list[str]:
        return [image.path for image in draw_samples(photos, count=5, seed=seed).images]

    assert drawn(1) == drawn(1)
    assert len({tuple(drawn(seed)) for seed in range(10)}) > 5
    assert all(len(set(drawn(seed))) == 5 for seed in range(10))


def test_every_image_has_the_same_chance(photos: Path) -> None:
    drawn = [image.path for seed in range(400) for image in draw_samples(photos, count=3, seed=seed).images]
    counts = [drawn.count(path) for path in set(drawn)]
    # 400 draws of 3 from 12: 100 each, standard deviation 8.7.
    assert len(counts) == 12
    assert max(abs(count - 100) for count in counts) < 40


def test_a_split_is_drawn_from_alone(tmp_path: Path) -> None:
    make_shards(tmp_path)
    images, num_records = draw_samples(tmp_path, split="test")
    assert num_records == 2
    assert [image.label for image in images] == ["owl", "cat"]
    (tmp_path / "a").mkdir()
    make_shards(tmp_path / "a", labels={"train": LABELS["train"]})
    with pytest.raises(SourceError, match="no images of the split 'test'"):
        draw_samples(tmp_path / "a", split="test")


def test_a_shard_of_any_name_is_drawn_from(tmp_path: Path) -> None:
    make_shards(tmp_path)
    (tmp_path / "train-00000-3.tfrec").rename(tmp_path / "mine.tfrecord")
    images, num_records = draw_samples(tmp_path / "mine.tfrecord")
    assert (num_records, [image.label for image in images]) == (3, ["0", "1", "1"])


def test_large_images_are_reduced_and_keep_their_proportion(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    Image.new("RGB", (1000, 500), "red").save(tmp_path / "a" / "1.png")
    Image.new("RGB", (3000, 1), "red").save(tmp_path / "a" / "2.png")
    images, _ = draw_samples(tmp_path, max_side=100)
    assert [(image.height, image.width) for image in images] == [(500, 1000), (1, 3000)]
    assert [image.pixels.shape for image in images if image.pixels is not None] == [(50, 100, 3), (1, 100, 3)]
    assert np.array_equal(images[0].pixels[25, 50], (255, 0, 0))


def test_what_cannot_be_decoded_is_drawn_with_its_reason(tmp_path: Path) -> None:
    make_shards(tmp_path / "shards", images={1: b"no image"})
    image = draw_samples(tmp_path / "shards").images[1]
    assert (image.label, image.record, image.pixels, image.height, image.bytes) == ("dog", 1, None, 0, 8)
    assert "not a JPEG, PNG or WebP" in image.reason
    (tmp_path / "photos" / "a").mkdir(parents=True)
    (tmp_path / "photos" / "a" / "1.jpg").write_bytes(b"no image either")
    (image,) = draw_samples(tmp_path / "photos").images
    assert (image.pixels, image.bytes) == (None, 15)
    assert image.reason


def test_a_damaged_shard_or_manifest_is_an_error(tmp_path: Path) -> None:
    make_shards(tmp_path)
    path = tmp_path / "train-00000-3.tfrec"
    content = path.read_bytes()
    path.write_bytes(content[:-1] + b"x")
    with pytest.raises(CorruptFileError, match=r"train-00000-3.tfrec at record 2 .*checksum"):
        draw_samples(tmp_path)
    path.write_bytes(b"")
    with pytest.raises(CorruptFileError, match="fewer than 3 records"):
        draw_samples(tmp_path)
    (tmp_path / "manifest.json").write_bytes(b"{")
    with pytest.raises(CorruptFileError, match=r"manifest.json"):
        draw_samples(tmp_path)


def test_a_path_without_images_is_an_input_error(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="nowhere"):
        draw_samples(tmp_path / "nowhere")
