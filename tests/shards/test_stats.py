"""What is in a data set, counted by hand beside it."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from PIL import Image

from nodewise.core.errors import CorruptFileError, SourceError
from nodewise.shards.files import write_shards
from nodewise.shards.stats import ImageFacts, Spread, collect_stats
from nodewise.specs.job import ShardFormat

from .made_shards import FORMATS, HEIGHT, WIDTH, image_file, make_shards


def put(path: Path, content: bytes) -> int:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return len(content)


@pytest.mark.parametrize("shard_format", FORMATS)
def test_shards_are_counted_by_split_and_class(tmp_path: Path, shard_format: ShardFormat) -> None:
    manifest = make_shards(tmp_path, shard_format=shard_format)
    stats = collect_stats(tmp_path)
    assert (stats.kind, stats.records, stats.shards) == ("shards", 8, 3)
    # A class without images in a split is there too.
    assert stats.classes == {"train": {"cat": 2, "dog": 4, "owl": 0}, "test": {"cat": 1, "dog": 0, "owl": 1}}
    assert list(stats.classes["test"]) == ["cat", "dog", "owl"]
    sizes = [len(image_file(number)) for number in range(8)]
    assert (stats.bytes, stats.min_bytes, stats.max_bytes) == (sum(sizes), min(sizes), max(sizes))
    assert stats.mean_bytes == pytest.approx(sum(sizes) / 8)
    assert stats.file_bytes == sum(shard.bytes for shard in manifest.shards)
    assert stats.height == Spread(min=HEIGHT, median=HEIGHT, max=HEIGHT)
    assert (stats.sizes, stats.common_size) == (1, (HEIGHT, WIDTH, 8))
    assert (stats.formats, stats.modes, stats.suffixes) == ({"png": 8}, {"colour": 8}, {})
    first = Path(manifest.shards[0].path).name
    assert stats.largest == ImageFacts(name=f"{first}:0", height=HEIGHT, width=WIDTH, bytes=sizes[0])


def test_raw_pixels_are_counted_with_their_shape(tmp_path: Path) -> None:
    make_shards(tmp_path, encoding="raw")
    stats = collect_stats(tmp_path)
    assert (stats.formats, stats.bytes) == ({"raw": 8}, 8 * HEIGHT * WIDTH * 3)
    assert stats.common_size == (HEIGHT, WIDTH, 8)


def test_without_a_manifest_classes_have_numbers_in_their_order(tmp_path: Path) -> None:
    make_shards(tmp_path, labels={"train": ((10, 9, 2),)})
    (tmp_path / "manifest.json").unlink()
    assert list(collect_stats(tmp_path).classes["train"].items()) == [("2", 1), ("9", 1), ("10", 1)]


def test_one_shard_is_counted_alone(tmp_path: Path) -> None:
    make_shards(tmp_path)
    stats = collect_stats(tmp_path / "test-00000-2.tfrec")
    assert (stats.records, stats.classes) == (2, {"test": {"cat": 1, "dog": 0, "owl": 1}})


def test_a_folder_of_images_is_counted_by_what_their_headers_say(tmp_path: Path) -> None:
    turned = Image.Exif()
    turned[0x0112] = 6
    stream = io.BytesIO()
    Image.new("RGB", (30, 20)).save(stream, "JPEG", exif=turned)
    lengths = [
        put(tmp_path / "a" / "1.jpg", image_file(1, kind="JPEG", size=(40, 30))),
        put(tmp_path / "a" / "2.JPG", image_file(2, kind="JPEG", size=(40, 30), mode="CMYK")),
        put(tmp_path / "a" / "3.jpeg", stream.getvalue()),
        put(tmp_path / "a" / "4.png", image_file(4, size=(10, 50), mode="L")),
        put(tmp_path / "b" / "5.png", image_file(5, size=(8, 9), mode="RGBA")),
        put(tmp_path / "b" / "6.webp", image_file(6, kind="WEBP", size=(40, 30))),
        put(tmp_path / "b" / "7.jpg", b"no image"),
    ]
    stats = collect_stats(tmp_path)
    assert (stats.kind, stats.records, stats.unreadable, stats.shards) == ("images", 7, 1, 0)
    assert stats.classes == {"train": {"a": 4, "b": 3}}
    assert (stats.bytes, stats.min_bytes, stats.max_bytes) == (sum(lengths), 8, max(lengths))
    assert stats.file_bytes is None
    # Of six: widths 8, 10, 30, 40, 40, 40; heights 9, 20, 30, 30, 30, 50; the lower of the two in the middle.
    assert stats.width == Spread(min=8, median=30, max=40)
    assert stats.height == Spread(min=9, median=30, max=50)
    assert (stats.sizes, stats.common_size) == (4, (30, 40, 3))
    assert stats.formats == {"jpeg": 3, "png": 2, "webp": 1}
    assert stats.suffixes == {".jpg": 3, ".png": 2, ".jpeg": 1, ".webp": 1}
    assert stats.modes == {"colour": 3, "CMYK": 1, "grey": 1, "colour with alpha": 1}
    assert stats.rotated == 1
    assert stats.largest == ImageFacts(name="a/1.jpg", height=30, width=40, bytes=lengths[0])
    assert stats.smallest == ImageFacts(name="b/5.png", height=9, width=8, bytes=lengths[4])


def test_images_of_train_and_test_folders_are_counted_apart(tmp_path: Path) -> None:
    put(tmp_path / "train" / "a" / "1.png", image_file(1))
    put(tmp_path / "test" / "a" / "2.png", image_file(2))
    assert collect_stats(tmp_path).classes == {"train": {"a": 1}, "test": {"a": 1}}


def test_a_data_set_without_any_readable_image_has_no_sizes(tmp_path: Path) -> None:
    put(tmp_path / "a" / "1.png", b"")
    stats = collect_stats(tmp_path)
    assert (stats.records, stats.unreadable, stats.height, stats.common_size, stats.largest) == (1, 1, None, None, None)


def test_an_image_with_more_pixels_than_can_be_is_unreadable_and_not_decoded(tmp_path: Path) -> None:
    header = bytearray(image_file(1))
    header[16:24] = (60_000).to_bytes(4, "big") * 2
    put(tmp_path / "a" / "1.png", bytes(header))
    assert collect_stats(tmp_path).unreadable == 1


def test_real_photos(test_data: Path) -> None:
    stats = collect_stats(test_data / "flowers")
    photos = list((test_data / "flowers").glob("*/*.jpg"))
    assert (stats.records, stats.unreadable, stats.formats) == (len(photos), 0, {"jpeg": len(photos)})
    assert stats.bytes == sum(photo.stat().st_size for photo in photos)


def test_a_damaged_shard_or_manifest_is_an_error(tmp_path: Path) -> None:
    make_shards(tmp_path)
    path = tmp_path / "train-00001-3.tfrec"
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(CorruptFileError, match=r"train-00001-3.tfrec at record 2"):
        collect_stats(tmp_path)
    (tmp_path / "manifest.json").write_bytes(b"{")
    with pytest.raises(CorruptFileError, match=r"manifest.json"):
        collect_stats(tmp_path)


def test_a_path_without_images_is_an_input_error(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="nowhere"):
        collect_stats(tmp_path / "nowhere")
    with pytest.raises(SourceError, match="no images"):
        collect_stats(tmp_path)


def test_an_empty_shard_has_nothing_in_it(tmp_path: Path) -> None:
    assert write_shards(tmp_path, "train", 0, []) == ()
    (tmp_path / "train-00000-0.tfrec").write_bytes(b"")
    stats = collect_stats(tmp_path)
    assert (stats.records, stats.bytes, stats.mean_bytes, stats.min_bytes, stats.classes) == (0, 0, 0, 0, {"train": {}})
