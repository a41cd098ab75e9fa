"""The real readers, each in its process: they deliver what was asked for, and their failures stay their own."""

from __future__ import annotations

import hashlib
import shutil
import tempfile
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest
from tests.engines.clusters import on_no_cluster
from tests.readers.made_sources import first_ids, image_source, shard_source

from nodewise.core.errors import CorruptFileError, InputError
from nodewise.data.pagecache import drop
from nodewise.jobs.apart import ProcessEndedError
from nodewise.jobs.bench import Benches
from nodewise.readers.base import ReaderFaultError, ReaderOptions, ReadSource
from nodewise.readers.registry import READERS


@pytest.fixture
def benches() -> Iterator[Benches]:
    # Not in tmp_path, which is too long for Ray's sockets.
    with tempfile.TemporaryDirectory(prefix="nw-", ignore_cleanup_errors=True) as scratch:
        made = Benches(ReaderOptions(threads=2, scratch=Path(scratch)))
        yield made
        made.close()


@pytest.fixture
def sources(tmp_path: Path) -> list[ReadSource]:
    return [
        image_source(tmp_path / "photos"),
        shard_source(tmp_path / "png"),
        shard_source(tmp_path / "raw", encoding="raw"),
        shard_source(tmp_path / "tar", shard_format="webdataset"),
        shard_source(tmp_path / "raw tar", shard_format="webdataset", encoding="raw"),
    ]


def ids_hash(names: list[str]) -> str:
    return hashlib.sha256("".join(f"{name}\n" for name in names).encode()).hexdigest()


def check(benches: Benches, reader: str, sources: list[ReadSource]) -> None:
    """Every source that it can read, in passes of several shapes, and one that is longer than the source."""
    for source in sources:
        if READERS[reader].unfit(source):
            continue
        for batch_size, batch_count in ((3, 4), (1, 2), (5, 5)):
            measured, start_seconds = benches.measure(reader, source, batch_size, batch_count, cold=False)
            assert measured.records == batch_size * batch_count, source.name
            assert measured.pixel_bytes == measured.records * source.shape[0] * source.shape[1] * 3
            assert measured.seconds > 0
            assert start_seconds > 0
        too_long, _ = benches.measure(reader, source, 8, 10, cold=False)
        assert 32 <= too_long.records <= 40, source.name
    assert benches.imports_s[reader] > 0


def test_our_own_reader_delivers_every_source_in_its_order(benches: Benches, sources: list[ReadSource]) -> None:
    check(benches, "nodewise", sources)
    for source in sources:
        measured, _ = benches.measure("nodewise", source, 7, 10, cold=False)
        assert measured.records == 40
        assert measured.ids_sha256 == ids_hash(first_ids(source, 40))


def test_tf_data_delivers_what_it_is_asked_for(benches: Benches, sources: list[ReadSource]) -> None:
    if READERS["tf.data"].missing():
        pytest.skip("TensorFlow is not installed")
    check(benches, "tf.data", sources)


def test_torch_delivers_what_it_is_asked_for(benches: Benches, sources: list[ReadSource]) -> None:
    if READERS["torch"].missing():
        pytest.skip("PyTorch is not installed")
    check(benches, "torch", sources)


def test_webdataset_delivers_what_it_is_asked_for(benches: Benches, sources: list[ReadSource]) -> None:
    if READERS["webdataset"].missing():
        pytest.skip("webdataset or PyTorch is not installed")
    check(benches, "webdataset", sources)


@on_no_cluster("ray")
def test_ray_data_delivers_what_it_is_asked_for(engine: None, benches: Benches, sources: list[ReadSource]) -> None:
    if READERS["ray.data"].missing() or find_spec("tensorflow") is None:
        pytest.skip("Ray, pandas or TensorFlow is not installed")
    check(benches, "ray.data", [sources[0], sources[1], sources[3]])


def test_a_cold_pass_reads_the_device_and_opens_anew(benches: Benches, sources: list[ReadSource]) -> None:
    source = sources[1]
    try:
        drop(source.paths)
    except InputError as error:
        pytest.skip(error.message)
    for _ in range(3):
        measured, _ = benches.measure("nodewise", source, 5, 4, cold=True)
        # Opening may read a page or two of headers, and every page of so small a file holds many records.
        assert measured.from_cache is not None
        assert measured.from_cache < 1.0
    measured, _ = benches.measure("nodewise", source, 5, 4, cold=False)
    measured, _ = benches.measure("nodewise", source, 5, 4, cold=False)
    assert measured.from_cache == pytest.approx(1.0, abs=0.05)


def test_files_in_memory_refuse_to_be_cold(benches: Benches) -> None:
    folder = Path("/dev/shm/nodewise-test-bench")
    if not folder.parent.is_dir():
        pytest.skip("no /dev/shm")
    try:
        source = shard_source(folder)
        with pytest.raises(InputError, match="cannot drop the page cache"):
            benches.measure("nodewise", source, 2, 2, cold=True)
    finally:
        shutil.rmtree(folder)


def test_damaged_data_is_an_error_with_its_place(benches: Benches, tmp_path: Path) -> None:
    source = shard_source(tmp_path)
    data = bytearray(source.paths[0].read_bytes())
    data[len(data) // 2] ^= 1
    source.paths[0].write_bytes(data)
    with pytest.raises(CorruptFileError) as caught:
        benches.measure("nodewise", source, 5, 5, cold=False)
    assert caught.value.path == str(source.paths[0])
    assert caught.value.record is not None


def test_an_image_that_cannot_be_decoded_is_named(benches: Benches, tmp_path: Path) -> None:
    source = image_source(tmp_path, 6)
    source.paths[3].write_bytes(b"no image")
    with pytest.raises(CorruptFileError, match="not a JPEG") as caught:
        benches.measure("nodewise", source, 2, 3, cold=False)
    assert caught.value.path == str(source.paths[3])


def test_a_reader_that_failed_is_not_asked_again_and_others_go_on(benches: Benches, tmp_path: Path) -> None:
    if READERS["torch"].missing():
        pytest.skip("PyTorch is not installed")
    source = image_source(tmp_path / "photos", 6)
    good = source.paths[0].read_bytes()
    source.paths[0].write_bytes(b"no image")
    with pytest.raises(ReaderFaultError, match="cannot identify image file") as caught:
        benches.measure("torch", source, 2, 3, cold=False)
    assert "\n" not in caught.value.message
    source.paths[0].write_bytes(good)
    with pytest.raises(ReaderFaultError, match="cannot identify image file"):
        benches.measure("torch", source, 2, 3, cold=False)
    other = image_source(tmp_path / "others", 6)
    assert benches.measure("torch", other, 2, 3, cold=False)[0].records == 6
    assert benches.measure("nodewise", source, 2, 3, cold=False)[0].records == 6


def test_a_reader_whose_process_dies_is_at_fault_and_gets_a_new_one(benches: Benches, tmp_path: Path) -> None:
    sources = [image_source(tmp_path / name, 6) for name in ("a", "b")]

    class Dead:
        def call(self, *_: object) -> None:
            raise ProcessEndedError("its process ended with status -11")

    benches._benches["nodewise"] = Dead()  # type: ignore[assignment]
    with pytest.raises(ReaderFaultError, match="ended with status -11"):
        benches.measure("nodewise", sources[0], 2, 3, cold=False)
    assert benches.measure("nodewise", sources[1], 2, 3, cold=False)[0].records == 6
