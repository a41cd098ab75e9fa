"""Batches from shards."""

from __future__ import annotations

import gc
import io
import json
import multiprocessing
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from itertools import chain
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from nodewise.core.errors import CorruptFileError, InputError, NodewiseError, SourceError, SpecError
from nodewise.images.codecs import decode_image, encode_jpeg, encode_png
from nodewise.shards.examples import Example
from nodewise.shards.files import read_shard, write_shards
from nodewise.shards.manifest import read_manifest
from nodewise.shards.names import index_path
from nodewise.shards.order import epoch_order
from nodewise.shards.reader import Batch, ShardReader

from .numbered_shards import pixels_of, write_numbered

LENGTHS = [7, 1, 12, 3]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """23 records in four shards of different lengths."""
    write_numbered(tmp_path / "shards", LENGTHS)
    return tmp_path / "shards"


@pytest.fixture(autouse=True)
def no_thread_is_left() -> Iterator[None]:
    yield
    if own_threads():
        gc.collect()
    assert own_threads() == set()


def own_threads() -> set[threading.Thread]:
    return {thread for thread in threading.enumerate() if thread.name.startswith("nodewise-read")}


def records_of(reader: ShardReader) -> list[int]:
    return [record for batch in reader for record in batch.records.tolist()]


def photo(height: int, width: int, seed: int = 0) -> np.ndarray:
    """Something that JPEG keeps well."""
    rows, columns = np.mgrid[0:height, 0:width]
    return np.stack([rows * 200 // height, columns * 200 // width, (rows + columns + 20 * seed) % 200], axis=-1).astype(
        np.uint8
    )


def test_batches_hold_the_records_in_stored_order(folder: Path) -> None:
    with ShardReader(folder, batch_size=10, shuffle=False) as reader:
        batches = list(reader)
        assert len(reader) == 3
    assert [batch.records.tolist() for batch in batches] == [list(range(10)), list(range(10, 20)), [20, 21, 22]]
    for batch in batches:
        assert isinstance(batch, Batch)
        assert batch.images.shape == (len(batch.labels), 2, 3, 3)
        assert (batch.images.dtype, batch.labels.dtype, batch.records.dtype) == (np.uint8, np.int64, np.int64)
        assert batch.labels.tolist() == batch.records.tolist()
        assert all(
            (image == pixels_of(record)).all() for image, record in zip(batch.images, batch.records, strict=True)
        )


def test_keys_are_those_that_the_shards_hold(folder: Path) -> None:
    manifest = read_manifest(folder)
    stored = [example.key for shard in manifest.shards for example in read_shard(folder, shard)]
    with ShardReader(folder, shuffle=False) as reader:
        (batch,) = reader
        assert reader.keys(batch.records) == stored
        assert reader.keys(np.array([22, 7])) == ["train-00003-000002", "train-00001-000000"]


def test_shuffled_order_is_that_of_the_seed_and_the_epoch(folder: Path) -> None:
    with ShardReader(folder, batch_size=5, seed=3) as reader, ShardReader(folder, batch_size=2, seed=4) as other:
        epochs = [records_of(reader) for _ in range(3)]
        assert epochs == [epoch_order(23, seed=3, epoch=epoch).tolist() for epoch in range(3)]
        assert records_of(other) == epoch_order(23, seed=4, epoch=0).tolist()
        reader.set_epoch(1)
        assert [records_of(reader), records_of(reader)] == epochs[1:]


@pytest.mark.parametrize("num_records", [0, 1, 2, 6, 7, 8, 20])
@pytest.mark.parametrize("world_size", range(1, 9))
def test_every_record_comes_once_among_any_number_of_workers(
    tmp_path: Path, num_records: int, world_size: int, repetitions: int
) -> None:
    write_numbered(tmp_path, [num_records // 3, num_records - num_records // 3])
    if num_records == 0:
        with pytest.raises(SourceError, match="has no records in split 'train'"):
            ShardReader(tmp_path)
        return
    for seed in range(2 * repetitions):
        found = [[] for _ in range(world_size)]
        for rank in range(world_size):
            with ShardReader(tmp_path, batch_size=2, seed=seed, rank=rank, world_size=world_size, threads=1) as reader:
                found[rank] = [records_of(reader) for _ in range(2)]
        for epoch in range(2):
            per_worker = [worker[epoch] for worker in found]
            assert sorted(chain(*per_worker)) == list(range(num_records))
            assert max(map(len, per_worker)) - min(map(len, per_worker)) <= 1


@pytest.mark.parametrize("num_records", [999, 1000, 1001])
def test_seven_workers_share_uneven_shards(tmp_path: Path, num_records: int) -> None:
    write_numbered(tmp_path, [1, 500, num_records - 501])
    counts, records = [], []
    for rank in range(7):
        with ShardReader(tmp_path, rank=rank, world_size=7) as reader:
            batches = list(reader)
            assert len(batches) == len(reader)
            counts.append(sum(len(batch.labels) for batch in batches))
            records += [record for batch in batches for record in batch.labels.tolist()]
    assert sorted(counts) == sorted((num_records + k) // 7 for k in range(7))
    assert sorted(records) == list(range(num_records))


@pytest.mark.parametrize(("num_records", "batches"), [(999, 35), (1001, 35), (980, 35), (979, 34), (3, 0)])
def test_without_remainder_all_workers_have_as_many_whole_batches(
    tmp_path: Path, num_records: int, batches: int
) -> None:
    write_numbered(tmp_path, [num_records])
    seen: list[int] = []
    for rank in range(7):
        with ShardReader(tmp_path, batch_size=4, rank=rank, world_size=7, drop_remainder=True) as reader:
            found = list(reader)
            assert [len(batch.labels) for batch in found] == [4] * batches
            assert len(reader) == batches
            assert reader.state_dict()["epoch"] == 1
            seen += [record for batch in found for record in batch.records.tolist()]
    assert len(set(seen)) == len(seen) == 28 * batches


@pytest.mark.parametrize("stop_after", range(6))
@pytest.mark.parametrize("prefetch", [0, 1, 5])
def test_reading_goes_on_exactly_where_the_state_was_taken(folder: Path, stop_after: int, prefetch: int) -> None:
    with ShardReader(folder, batch_size=5, seed=1, prefetch=prefetch) as reader:
        expected = [record for _ in range(4) for record in records_of(reader)]
    with ShardReader(folder, batch_size=5, seed=1, prefetch=prefetch) as reader:
        first = records_of(reader)
        batches = iter(reader)
        for _ in range(stop_after):
            first += next(batches).records.tolist()
        # Through JSON, as it would be kept.
        state = json.loads(json.dumps(reader.state_dict()))
    with ShardReader(folder, batch_size=3, seed=1) as reader:
        reader.load_state_dict(state)
        assert reader.state_dict() == state
        rest = records_of(reader) + records_of(reader)
    # The end of an epoch is the beginning of the next one.
    assert (state["epoch"], state["position"]) == ((1, 5 * stop_after) if stop_after < 5 else (2, 0))
    assert first + rest == expected[: 69 if stop_after < 5 else 92]


@pytest.mark.parametrize(("before", "after"), [(2, 3), (3, 2), (7, 1), (1, 7), (4, 4)])
@pytest.mark.parametrize("steps", [0, 1, 2])
def test_another_number_of_workers_goes_on_with_each_record_once(
    tmp_path: Path, before: int, after: int, steps: int
) -> None:
    write_numbered(tmp_path, [60, 41])
    found = []
    states = []
    for rank in range(before):
        with ShardReader(tmp_path, batch_size=5, seed=2, rank=rank, world_size=before) as reader:
            batches = iter(reader)
            for _ in range(steps):
                found += next(batches).records.tolist()
            states.append(reader.state_dict())
    assert all(state == states[0] for state in states)
    for rank in range(after):
        with ShardReader(tmp_path, batch_size=4, seed=2, rank=rank, world_size=after) as reader:
            reader.load_state_dict(states[0])
            found += records_of(reader)
    assert sorted(found) == list(range(101))


def test_state_of_other_records_or_another_order_is_refused(folder: Path) -> None:
    with ShardReader(folder, seed=1) as reader:
        state = reader.state_dict()
        for change in ({"seed": 2}, {"num_records": 22}, {"shuffle": False}):
            with pytest.raises(InputError, match="the state has"):
                reader.load_state_dict(state | change)


def test_iterations_side_by_side_do_not_disturb_each_other(folder: Path) -> None:
    with ShardReader(folder, batch_size=4, seed=5) as reader:
        found = list(zip(reader, reader, strict=True))
    for epoch in range(2):
        records = [record for pair in found for record in pair[epoch].records.tolist()]
        assert records == epoch_order(23, seed=5, epoch=epoch).tolist()


def test_an_abandoned_iteration_does_not_hold_up_the_next(folder: Path) -> None:
    with ShardReader(folder, batch_size=1, prefetch=20, seed=1) as reader:
        for epoch in range(50):
            assert next(iter(reader)).records.tolist() == epoch_order(23, seed=1, epoch=epoch)[:1].tolist()


def test_pixels_are_those_of_the_decoder(tmp_path: Path) -> None:
    images = [photo(40, 30, seed) for seed in range(5)]
    for encoding in ("raw", "png"):
        write_numbered(tmp_path / encoding, [3, 2], encoding=encoding, images=images)
        with ShardReader(tmp_path / encoding, shuffle=False) as reader:
            (batch,) = reader
        assert (batch.images == np.stack(images)).all()
    for encoding in ("jpeg", "webp"):
        manifest = write_numbered(tmp_path / encoding, [3, 2], encoding=encoding, images=images)
        stored = [
            decode_image(example.image)
            for shard in manifest.shards
            for example in read_shard(tmp_path / encoding, shard)
        ]
        with ShardReader(tmp_path / encoding, shuffle=False) as reader:
            (batch,) = reader
        # The fast transform of JPEG's blocks differs by a few grey levels.
        assert np.abs(batch.images.astype(int) - np.stack(stored)).max() <= (4 if encoding == "jpeg" else 0)


@pytest.mark.parametrize("encoding", ["raw", "png", "jpeg"])
def test_tar_shards_give_the_same_batches(tmp_path: Path, encoding: str) -> None:
    images = [photo(20, 30, seed) for seed in range(5)]
    found = []
    for shard_format in ("tfrecord", "webdataset"):
        write_numbered(tmp_path / shard_format, [3, 2], shard_format=shard_format, encoding=encoding, images=images)
        with ShardReader(tmp_path / shard_format, seed=1) as reader:
            (batch,) = reader
            found.append((batch.images.tolist(), batch.labels.tolist(), reader.keys(batch.records)))
    assert found[0] == found[1]


@pytest.mark.parametrize("encoding", ["raw", "jpeg", "png"])
def test_float_images_are_shares_of_one_or_normalised(tmp_path: Path, encoding: str) -> None:
    images = [photo(300, 250, seed) for seed in range(3)]  # more than a block of values
    write_numbered(tmp_path, [3], encoding=encoding, images=images)
    mean, std = (0.5, 0.25, 0.125), (0.5, 0.25, 2.0)
    with (
        ShardReader(tmp_path, shuffle=False) as plain,
        ShardReader(tmp_path, shuffle=False, dtype="float32") as shares,
        ShardReader(tmp_path, shuffle=False, dtype="float32", mean=mean, std=std) as normalised,
    ):
        (expected,), (found,), (scaled,) = plain, shares, normalised
    assert found.images.dtype == scaled.images.dtype == np.float32
    assert np.allclose(found.images, expected.images / 255, atol=1e-6)
    assert np.allclose(scaled.images, (expected.images / 255 - np.array(mean)) / np.array(std), atol=1e-5)


def test_raw_records_of_one_shard_may_have_headers_of_different_lengths(tmp_path: Path) -> None:
    # From 128 and from 16384 on a label takes one more byte, which moves the pixels.
    write_numbered(tmp_path, [300])
    for verify in (True, False):
        with ShardReader(tmp_path, verify=verify) as reader:
            for batch in reader:
                assert all(
                    (image == pixels_of(label)).all() for image, label in zip(batch.images, batch.labels, strict=True)
                )


def test_kept_batches_keep_their_content(folder: Path) -> None:
    with ShardReader(folder, batch_size=2, seed=1) as reader:
        kept = [batch.images[:1] for _ in range(20) for batch in reader]
        expected = [
            pixels_of(record) for epoch in range(20) for record in epoch_order(23, seed=1, epoch=epoch).tolist()[::2]
        ]
    assert (np.concatenate(kept) == np.stack(expected)).all()


def test_missing_and_wrong_indexes_do_not_matter(folder: Path) -> None:
    shards = read_manifest(folder).shards
    index_path(folder / shards[0].path).unlink()
    index_path(folder / shards[2].path).write_text("0 100\n")
    with ShardReader(folder, shuffle=False) as reader:
        assert records_of(reader) == list(range(23))


@pytest.mark.parametrize("encoding", ["raw", "png"])
@pytest.mark.parametrize("threads", [1, 4])
def test_damage_is_named_after_all_batches_before_it(tmp_path: Path, encoding: str, threads: int) -> None:
    manifest = write_numbered(tmp_path, [10, 10], encoding=encoding)
    path = tmp_path / manifest.shards[1].path
    offset, length = map(int, index_path(path).read_text().splitlines()[6].split())
    whole = path.read_bytes()
    for place in (0, 9, 12, 40, length - 1):
        damaged = bytearray(whole)
        damaged[offset + place] ^= 4
        path.write_bytes(damaged)
        with ShardReader(tmp_path, batch_size=4, shuffle=False, threads=threads) as reader:
            batches = iter(reader)
            assert [next(batches).records.tolist() for _ in range(4)] == [list(range(k, k + 4)) for k in (0, 4, 8, 12)]
            with pytest.raises(CorruptFileError, match="checksum") as caught:
                next(batches)
            assert (caught.value.path, caught.value.record, caught.value.offset) == (str(path), 6, offset)
            assert reader.state_dict()["position"] == 16


def test_the_first_of_several_damaged_records_is_named(tmp_path: Path) -> None:
    manifest = write_numbered(tmp_path, [40])
    path = tmp_path / manifest.shards[0].path
    damaged = bytearray(path.read_bytes())
    for line in index_path(path).read_text().splitlines()[5:]:
        offset, length = map(int, line.split())
        damaged[offset + length - 1] ^= 1
    path.write_bytes(damaged)
    for _ in range(5):
        with ShardReader(tmp_path, batch_size=40, shuffle=False, threads=4) as reader:
            with pytest.raises(CorruptFileError) as caught:
                next(iter(reader))
            assert caught.value.record == 5


def test_without_verification_pixels_are_not_compared_with_their_checksum(tmp_path: Path) -> None:
    manifest = write_numbered(tmp_path, [3])
    path = tmp_path / manifest.shards[0].path
    damaged = bytearray(path.read_bytes())
    damaged[-1] ^= 1
    path.write_bytes(damaged)
    with ShardReader(tmp_path, verify=False, shuffle=False) as reader:
        assert records_of(reader) == [0, 1, 2]


def test_missing_cut_and_wrong_files_are_named(folder: Path) -> None:
    path = folder / read_manifest(folder).shards[2].path
    whole = path.read_bytes()
    lengths = [int(line.split()[1]) for line in index_path(path).read_text().splitlines()]
    cases = {
        "ends within": whole[:-5],
        "it holds 11 records instead of 12": whole[: -lengths[-1]],
        "it holds 13 records instead of 12": whole + whole[: lengths[0]],
        "it holds 0 records instead of 12": b"",
    }
    for reason, content in cases.items():
        path.write_bytes(content)
        with ShardReader(folder) as reader, pytest.raises(CorruptFileError, match=reason):
            list(reader)
    path.unlink()
    with ShardReader(folder) as reader, pytest.raises(CorruptFileError, match="cannot be opened"):
        list(reader)


def test_a_file_that_is_cut_while_it_is_read_is_an_error(tmp_path: Path) -> None:
    manifest = write_numbered(tmp_path, [50])
    with ShardReader(tmp_path, batch_size=1, shuffle=False, prefetch=0) as reader:
        batches = iter(reader)
        next(batches)
        os.truncate(tmp_path / manifest.shards[0].path, 300)
        with pytest.raises(CorruptFileError, match="the file ends within the record"):
            list(batches)


@pytest.mark.parametrize(
    ("stored", "reason"),
    [
        (encode_png(photo(4, 5)), "an image of 5 x 4 among 3 x 2"),
        (encode_jpeg(photo(4, 5), 90), "an image of 5 x 4 among 3 x 2"),
        (encode_jpeg(photo(1, 2), 90), "an image of 2 x 1 among 3 x 2"),
        (encode_jpeg(photo(2, 3), 90)[:300], "cannot be decoded"),
        (b"no image", "not a JPEG"),
        (b"", "not a JPEG"),
    ],
)
def test_images_that_do_not_belong_are_named(tmp_path: Path, stored: bytes, reason: str) -> None:
    write_numbered(tmp_path, [2])
    write_shards(tmp_path, "train", 0, [Example(encode_png(pixels_of(0)), 0), Example(stored, 1)])
    with ShardReader(tmp_path, shuffle=False) as reader, pytest.raises(CorruptFileError, match=reason) as caught:
        list(reader)
    assert caught.value.record == 1


def test_a_grey_jpeg_and_one_of_another_program_are_read(tmp_path: Path) -> None:
    stored = []
    for mode in ("L", "CMYK"):
        stream = io.BytesIO()
        Image.fromarray(photo(16, 24)).convert(mode).save(stream, "JPEG", quality=95)
        stored.append(stream.getvalue())
    write_numbered(tmp_path, [2], images=[photo(16, 24)] * 2)
    write_shards(tmp_path, "train", 0, [Example(image, 0) for image in stored])
    with ShardReader(tmp_path, shuffle=False) as reader:
        (batch,) = reader
    for found, image in zip(batch.images, stored, strict=True):
        assert np.abs(found.astype(int) - decode_image(image)).max() <= 4


def test_images_of_different_sizes_make_no_batch(folder: Path) -> None:
    raw = json.loads((folder / "manifest.json").read_text())
    (folder / "manifest.json").write_text(json.dumps(raw | {"image": None}))
    with pytest.raises(SpecError, match="the images differ in size") as caught:
        ShardReader(folder)
    assert "--size" in caught.value.hint


@pytest.mark.parametrize(
    "settings",
    [
        {"batch_size": 0},
        {"threads": 0},
        {"prefetch": -1},
        {"rank": 1},
        {"rank": -1, "world_size": 2},
        {"dtype": "float64"},
        {"mean": (0, 0, 0)},
        {"mean": (0, 0, 0), "std": (1, 1, 1)},
        {"dtype": "float32", "mean": (0, 0, 0)},
        {"dtype": "float32", "mean": (0, 0), "std": (1, 1)},
        {"dtype": "float32", "mean": (0, 0, 0), "std": (1, 0, 1)},
    ],
)
def test_settings_that_cannot_be_are_refused(folder: Path, settings: dict) -> None:
    with pytest.raises(InputError):
        ShardReader(folder, **settings)
    with pytest.raises(SourceError, match="no records in split 'test'"):
        ShardReader(folder, split="test")


def test_threads_stay_between_epochs_and_end_with_the_reader(folder: Path) -> None:
    reader = ShardReader(folder, batch_size=4, threads=3)
    assert own_threads() == set()
    list(reader)
    threads = own_threads()
    assert len(threads) == 3
    list(reader)
    assert own_threads() == threads
    del reader
    gc.collect()
    assert own_threads() == set()
    with ShardReader(folder) as reader:
        batches = iter(reader)
        next(batches)
    reader.close()
    assert own_threads() == set()


def test_a_closed_reader_says_so(folder: Path) -> None:
    reader = ShardReader(folder, batch_size=2, prefetch=1)
    batches = iter(reader)
    first = next(batches)
    reader.close()
    assert (first.images[0] == pixels_of(first.labels[0])).all()
    with pytest.raises(ValueError, match="the reader was closed"):
        list(batches)
    with pytest.raises(ValueError, match="the reader was closed"):
        next(iter(reader))


def read_in_child(reader: ShardReader, results: multiprocessing.Queue) -> None:
    try:
        results.put(records_of(reader))
    except NodewiseError as error:
        results.put(error)


@pytest.mark.filterwarnings("ignore:.*use of fork.*:DeprecationWarning")
def test_a_forked_process_reads_with_threads_of_its_own(folder: Path) -> None:
    context = multiprocessing.get_context("fork")
    with ShardReader(folder, batch_size=3, seed=1) as reader:
        half = iter(reader)
        next(half)
        results = context.Queue()
        child = context.Process(target=read_in_child, args=(reader, results))
        child.start()
        assert results.get(timeout=60) == epoch_order(23, seed=1, epoch=1).tolist()
        child.join()
        assert child.exitcode == 0
        assert sum(len(batch.labels) for batch in half) == 20


def test_a_program_that_leaves_a_reader_open_ends(folder: Path) -> None:
    code = f"""
from nodewise.shards.reader import ShardReader
reader = ShardReader({str(folder)!r}, batch_size=2, prefetch=10)
batches = iter(reader)
print(next(batches).images.shape)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert (done.stdout, done.stderr) == ("(2, 2, 3, 3)\n", "")


def test_reading_jpegs_loads_no_heavy_library(tmp_path: Path) -> None:
    write_numbered(tmp_path, [3], encoding="jpeg")
    code = f"""
import sys
from nodewise.shards.reader import ShardReader
next(iter(ShardReader({str(tmp_path)!r})))
print({{"cv2", "PIL", "torch", "pyarrow", "tensorflow"}} & set(sys.modules))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


def test_more_shards_than_may_be_open_at_once(tmp_path: Path) -> None:
    write_numbered(tmp_path, [1] * 300)
    descriptors = Path("/proc/self/fd")
    before = len(list(descriptors.iterdir())) if descriptors.is_dir() else 0
    with ShardReader(tmp_path, seed=1) as reader:
        for epoch in range(2):
            assert records_of(reader) == epoch_order(300, seed=1, epoch=epoch).tolist()
        if before:
            assert len(list(descriptors.iterdir())) <= before + 256
    del reader
    gc.collect()
    assert not before or len(list(descriptors.iterdir())) <= before
