"""The clock and the proof: honest readers are measured, the others are caught."""

from __future__ import annotations

import hashlib
import sys
import time
from collections.abc import Callable, Generator, Sequence
from pathlib import Path

import numpy as np
import pytest
from tests.readers.made_sources import first_ids, image_source, shard_source

from nodewise.core.errors import InputError
from nodewise.data.pagecache import drop, warm
from nodewise.jobs.measure import measure, warm_up
from nodewise.readers.base import ReadBatch, ReaderFaultError, ReadSource
from nodewise.readers.sources import RecordPlaces

Change = Callable[[int, ReadBatch], ReadBatch]


class PlainReader:
    """Delivers a source's records from its beginning, as they are, unless ``change`` alters batch number n."""

    def __init__(self, source: ReadSource, change: Change = lambda _number, batch: batch) -> None:
        self._source = source
        self._places = RecordPlaces(source)
        self._change = change
        self.asked_at: list[float] = []
        self.closed = False

    def batches(self, batch_size: int, batch_count: int) -> Generator[ReadBatch, None, None]:
        names = first_ids(self._source, batch_size * batch_count)
        try:
            for number, start in enumerate(range(0, len(names), batch_size)):
                self.asked_at.append(time.perf_counter())
                ids = names[start : start + batch_size]
                pixels = np.stack([self._places.pixels(name) for name in ids])
                yield self._change(number, ReadBatch(pixels, ids))
        finally:
            self.closed = True

    def close(self) -> None: ...


@pytest.fixture(params=["images", "shards"])
def source(request: pytest.FixtureRequest, tmp_path: Path) -> ReadSource:
    return image_source(tmp_path) if request.param == "images" else shard_source(tmp_path)


def run(source: ReadSource, change: Change, *, batch_size: int = 4, batch_count: int = 5) -> None:
    measure(PlainReader(source, change), source, RecordPlaces(source), batch_size, batch_count)


def test_a_cell_says_what_was_read(source: ReadSource) -> None:
    places = RecordPlaces(source)
    names = first_ids(source, 20)
    measured = measure(PlainReader(source), source, places, 4, 5)
    height, width, channels = source.shape
    assert measured.records == 20
    assert measured.pixel_bytes == 20 * height * width * channels
    assert measured.bytes == sum(extent.length for extent in places.extents(names))
    assert measured.ids_sha256 == hashlib.sha256("".join(f"{name}\n" for name in names).encode()).hexdigest()
    assert measured.seconds > 0


def test_ids_may_be_utf_8_bytes_and_give_the_same_hash(source: ReadSource) -> None:
    def as_bytes(_number: int, batch: ReadBatch) -> ReadBatch:
        return ReadBatch(batch.pixels, [str(name).encode() for name in batch.ids])

    places = RecordPlaces(source)
    plain = measure(PlainReader(source), source, places, 4, 5)
    assert measure(PlainReader(source, as_bytes), source, places, 4, 5).ids_sha256 == plain.ids_sha256


def test_the_hash_follows_from_the_order_of_delivery(source: ReadSource) -> None:
    def reverse(_number: int, batch: ReadBatch) -> ReadBatch:
        return ReadBatch(batch.pixels[::-1], list(batch.ids)[::-1])

    places = RecordPlaces(source)
    plain = measure(PlainReader(source), source, places, 4, 5)
    other = measure(PlainReader(source, reverse), source, places, 4, 5)
    assert other.ids_sha256 != plain.ids_sha256
    assert other.bytes == plain.bytes


def test_a_source_that_is_too_short_gives_what_it_has(source: ReadSource) -> None:
    # 40 records: five batches of eight, where ten were asked for; and seven of six, the last of four.
    assert measure(PlainReader(source), source, RecordPlaces(source), 8, 10).records == 40
    assert measure(PlainReader(source), source, RecordPlaces(source), 6, 10).records == 40


def test_no_more_batches_are_taken_than_were_asked_for(source: ReadSource) -> None:
    class Endless(PlainReader):
        def batches(self, batch_size: int, batch_count: int) -> Generator[ReadBatch, None, None]:
            return super().batches(batch_size, batch_count + 3)

    reader = Endless(source)
    assert measure(reader, source, RecordPlaces(source), 2, 5).records == 10
    assert len(reader.asked_at) == 5
    assert reader.closed


def test_the_clock_runs_from_asking_for_the_first_batch_to_having_the_last(source: ReadSource) -> None:
    class Slow(PlainReader):
        def batches(self, batch_size: int, batch_count: int) -> Generator[ReadBatch, None, None]:
            time.sleep(0.5)  # what is set up beforehand
            return self._slowly(super().batches(batch_size, batch_count))

        @staticmethod
        def _slowly(batches: Generator[ReadBatch, None, None]) -> Generator[ReadBatch, None, None]:
            time.sleep(0.2)
            yield from batches
            time.sleep(0.5)  # what is cleared away afterwards

    assert 0.2 <= measure(Slow(source), source, RecordPlaces(source), 2, 2).seconds < 0.5


def repeat_a_batch(number: int, batch: ReadBatch) -> ReadBatch:
    first.append(batch) if number == 0 else None
    return first[-1] if number == 2 else batch


first: list[ReadBatch] = []


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        pytest.param(repeat_a_batch, "2 times in one pass", id="repeats a batch"),
        pytest.param(lambda _, b: ReadBatch(b.pixels[:0], []), "shape", id="empty batches"),
        pytest.param(lambda _, b: ReadBatch(b.pixels[:0], b.ids), "shape", id="ids without images"),
        pytest.param(lambda _, b: ReadBatch(b.pixels[:2], b.ids), "2 images with the ids of 4", id="fewer images"),
        pytest.param(lambda _, b: ReadBatch(b.pixels[:, ::2], b.ids), "shape", id="smaller images"),
        pytest.param(lambda _, b: ReadBatch(b.pixels.astype(np.float32), b.ids), "float32", id="floats"),
        pytest.param(lambda _, b: ReadBatch(b.pixels.transpose(0, 3, 1, 2), b.ids), "shape", id="channels first"),
        pytest.param(lambda _, b: ReadBatch(np.repeat(b.pixels, 2, axis=0), [*b.ids] * 2), "shape", id="more images"),
        pytest.param(lambda n, b: ReadBatch(b.pixels, [f"{n}-{i}" for i in range(4)]), "does not have", id="new ids"),
        pytest.param(lambda _, b: ReadBatch(b.pixels, [b.ids[0]] * len(b.ids)), "4 times", id="one id for all"),
    ],
)
def test_a_reader_that_lies_is_caught(source: ReadSource, change: Change, fault: str) -> None:
    with pytest.raises(ReaderFaultError, match=fault):
        run(source, change)


def test_a_reader_that_delivers_fewer_is_short(source: ReadSource) -> None:
    def fewer(number: int, batch: ReadBatch) -> ReadBatch:
        return ReadBatch(batch.pixels[:1], batch.ids[:1]) if number == 3 else batch

    assert measure(PlainReader(source, fewer), source, RecordPlaces(source), 4, 5).records == 17


def shuffled_ids(_number: int, batch: ReadBatch) -> ReadBatch:
    ids: Sequence[str] = [str(name) for name in batch.ids]
    return ReadBatch(batch.pixels, [*ids[4:], *ids[:4]])


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(lambda _, b: ReadBatch(np.zeros_like(b.pixels), b.ids), id="black"),
        pytest.param(lambda _, b: ReadBatch(np.full_like(b.pixels, 128), b.ids), id="grey"),
        pytest.param(lambda _, b: ReadBatch(b.pixels[..., ::-1], b.ids), id="blue for red"),
        pytest.param(shuffled_ids, id="other images"),
    ],
)
def test_pixels_that_are_not_those_of_the_record_are_caught_while_warming_up(
    source: ReadSource, change: Change
) -> None:
    places = RecordPlaces(source)
    warm_up(PlainReader(source), source, places, 8)
    with pytest.raises(ReaderFaultError, match="is another picture"):
        warm_up(PlainReader(source, change), source, places, 8)


@pytest.mark.skipif(sys.platform != "linux", reason="the page cache can be looked at on Linux only")
def test_the_share_from_the_page_cache_is_that_of_the_bytes_used_before_the_pass(source: ReadSource) -> None:
    places = RecordPlaces(source)
    try:
        drop(source.paths)
    except InputError as error:
        pytest.skip(error.message)
    cold = measure(PlainReader(source), source, places, 4, 5)
    assert cold.from_cache == 0.0
    if cold.device_bytes:
        assert cold.device_bytes >= cold.bytes
    warm = measure(PlainReader(source), source, places, 4, 5)
    # The system may drop a page whenever it likes.
    assert warm.from_cache == pytest.approx(1.0, abs=0.05)


@pytest.mark.skipif(sys.platform != "linux", reason="the page cache can be looked at on Linux only")
@pytest.mark.parametrize("warmed", [10, 20, 30])
def test_a_source_that_is_partly_cached_is_reported_within_five_points(tmp_path: Path, warmed: int) -> None:
    source = image_source(tmp_path)
    places = RecordPlaces(source)
    try:
        drop(source.paths)
    except InputError as error:
        pytest.skip(error.message)
    warm(source.paths[:warmed])
    used = places.extents(source.files)
    truth = sum(extent.length for extent in used[:warmed]) / sum(extent.length for extent in used)
    measured = measure(PlainReader(source), source, places, 8, 5)
    assert measured.records == 40
    assert measured.from_cache == pytest.approx(truth, abs=0.05)
