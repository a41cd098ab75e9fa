"""Job ``speedtest``: what is measured, in which order, and what becomes of readers that fail."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from tests.readers.made_sources import make_images
from tests.shards.made_shards import make_shards

from nodewise.core.errors import InputError, MissingDependencyError, SourceError, UnknownNameError
from nodewise.jobs.bench import benches_of
from nodewise.jobs.speedtest import CeilingOutcome, CeilingPlan, CellOutcome, CellPlan, SpeedtestJob
from nodewise.metering.meter import TaskMeter
from nodewise.readers.base import ReaderFaultError, ReaderOptions
from nodewise.readers.registry import READERS
from nodewise.specs.job import SpeedtestSpec
from nodewise.specs.results import SpeedtestCell

SPEC = SpeedtestSpec(batch_sizes=(2, 3), batch_counts=(1, 4), repeat=2, readers=("nodewise",), size=16)


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    return make_images(tmp_path / "photos", 10)


@pytest.fixture(autouse=True)
def _no_process_left(tmp_path: Path) -> Iterator[None]:
    yield
    benches_of(ReaderOptions(threads=2, scratch=tmp_path)).close()


def everything_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, reader in READERS.items():
        monkeypatch.setitem(READERS, name, replace(reader, packages=()))


def cell(plan: CellPlan, **changes: object) -> SpeedtestCell:
    values = {
        "source": plan.source,
        "reader": plan.reader,
        "batch_size": plan.batch_size,
        "batch_count": plan.batch_count,
        "repeat": plan.repeat,
        "records": plan.batch_size * plan.batch_count,
        "short": False,
        "seconds": 1.0,
        "records_per_s": 8.0,
        "from_cache": 1.0,
        "bytes": 100,
        "pixel_bytes": 768,
        "device_bytes": 0,
        "ids_sha256": "",
        "start_seconds": 0.1,
    }
    return SpeedtestCell(**(values | changes))  # type: ignore[arg-type]


def measured(plan: CellPlan) -> CellOutcome:
    return CellOutcome(source=plan.source, reader=plan.reader, cell=cell(plan), imports_s=0.5)


def broken(plan: CellPlan) -> CellOutcome:
    return CellOutcome(source=plan.source, reader=plan.reader, fault="it broke")


def test_every_setting_is_measured_once_per_repetition_and_source(photos: Path, tmp_path: Path) -> None:
    make_shards(tmp_path / "shards")
    job = SpeedtestJob([photos, tmp_path / "shards"], SPEC)
    plan = job.plan()
    cells = [one for one in plan if isinstance(one, CellPlan)]
    settings = Counter((one.source, one.batch_size, one.batch_count, one.repeat) for one in cells)
    names = ["photos (images)", "shards (tfrecord, png)"]
    assert settings == Counter(
        (name, size, count, repeat) for name in names for size in (2, 3) for count in (1, 4) for repeat in (0, 1)
    )
    ceilings = [one for one in plan if isinstance(one, CeilingPlan)]
    assert Counter(one.source for one in ceilings) == dict.fromkeys(names, 2)
    # As many records as the largest cell reads.
    assert {one.records for one in ceilings} == {12}


def test_repetitions_follow_one_another_and_each_is_shuffled_by_the_seed(photos: Path) -> None:
    spec = replace(SPEC, batch_sizes=tuple(range(1, 9)), batch_counts=tuple(range(1, 9)))
    plan = SpeedtestJob([photos], spec).plan()
    first, second = plan[:65], plan[65:]
    for half, number in ((first, 0), (second, 1)):
        assert {one.repeat for one in half if isinstance(one, CellPlan)} == {number}
    orders = [
        [(one.batch_size, one.batch_count) for one in half if isinstance(one, CellPlan)] for half in (first, second)
    ]
    assert orders[0] != sorted(orders[0])
    assert orders[0] != orders[1]
    assert sorted(orders[0]) == sorted(orders[1])
    assert SpeedtestJob([photos], spec).plan() == plan
    assert SpeedtestJob([photos], replace(spec, seed=1)).plan() != plan


def test_only_as_many_files_are_listed_as_the_largest_cell_reads(photos: Path) -> None:
    assert len(SpeedtestJob([photos], replace(SPEC, batch_counts=(1, 2))).sources[0].files) == 6


def test_readers_take_turns_and_those_that_do_not_fit_are_left_out(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    everything_installed(monkeypatch)
    make_shards(tmp_path / "tar", shard_format="webdataset")
    job = SpeedtestJob([photos, tmp_path / "tar"], replace(SPEC, readers=None))
    cells = [one for one in job.plan() if isinstance(one, CellPlan)]
    assert {(one.source, one.reader) for one in cells} == {
        *(("photos (images)", reader) for reader in ("nodewise", "tf.data", "torch", "ray.data")),
        *(("tar (webdataset, png)", reader) for reader in ("nodewise", "webdataset", "ray.data")),
    }
    outcome = job.combine([measured(cells[0])], ["node-0"])
    assert outcome.left_out == {
        "webdataset, photos (images)": "it does not read image files",
        "tf.data, tar (webdataset, png)": "it does not read WebDataset tar files",
        "torch, tar (webdataset, png)": "it does not read WebDataset tar files",
    }


def test_a_reader_that_is_not_installed_is_left_out_unless_it_was_named(
    photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("tf.data", "torch", "webdataset", "ray.data"):
        monkeypatch.setitem(READERS, name, replace(READERS[name], packages=("nowhere_to_be_found",)))
    job = SpeedtestJob([photos], replace(SPEC, readers=None))
    assert {one.reader for one in job.plan() if isinstance(one, CellPlan)} == {"nodewise"}
    with pytest.raises(MissingDependencyError, match=r"reader 'torch': the package nowhere_to_be_found"):
        SpeedtestJob([photos], replace(SPEC, readers=("nodewise", "torch")))


def test_what_cannot_be_measured_is_refused_before_anything_starts(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    everything_installed(monkeypatch)
    (tmp_path / "empty").mkdir()
    with pytest.raises(SourceError, match="empty"):
        SpeedtestJob([photos, tmp_path / "empty"], SPEC)
    with pytest.raises(UnknownNameError, match="dali"):
        SpeedtestJob([photos], replace(SPEC, readers=("dali",)))
    with pytest.raises(InputError, match=r"no reader for photos \(images\)") as caught:
        SpeedtestJob([photos], replace(SPEC, readers=("webdataset",)))
    assert caught.value.hint == "it does not read image files"


def test_a_task_measures_a_cell_and_meters_it(photos: Path, tmp_path: Path) -> None:
    job = SpeedtestJob([photos], SPEC)
    task = job.task(2, tmp_path)
    plan = next(one for one in job.plan() if isinstance(one, CellPlan) and one.batch_size * one.batch_count == 8)
    with TaskMeter() as meter:
        outcome = task(plan, meter)
    assert isinstance(outcome, CellOutcome)
    assert outcome.cell is not None
    assert (outcome.cell.records, outcome.cell.short) == (8, False)
    assert outcome.cell.records_per_s == pytest.approx(8 / outcome.cell.seconds)
    assert (meter.records, meter.read_bytes) == (8, outcome.cell.bytes)
    assert outcome.imports_s is not None


def test_a_cell_that_could_not_read_all_is_short_and_has_no_rate(photos: Path, tmp_path: Path) -> None:
    job = SpeedtestJob([photos], SPEC)
    plan = next(one for one in job.plan() if isinstance(one, CellPlan) and one.batch_size * one.batch_count == 12)
    with TaskMeter() as meter:
        outcome = job.task(2, tmp_path)(plan, meter)
    assert isinstance(outcome, CellOutcome)
    assert outcome.cell is not None
    assert (outcome.cell.records, outcome.cell.short, outcome.cell.records_per_s) == (10, True, None)


@pytest.mark.parametrize("cold", [None, False])
def test_a_task_measures_the_ceilings(photos: Path, tmp_path: Path, cold: bool | None) -> None:
    job = SpeedtestJob([photos], replace(SPEC, cold=cold))
    plan = next(one for one in job.plan() if isinstance(one, CeilingPlan))
    with TaskMeter() as meter:
        outcome = job.task(2, tmp_path)(plan, meter)
    assert isinstance(outcome, CeilingOutcome)
    assert outcome.decode > 0
    assert outcome.read > outcome.decode


def test_the_best_of_the_ceilings_stands_and_cells_are_in_order(photos: Path) -> None:
    job = SpeedtestJob([photos], SPEC)
    plan = job.plan()
    rates = iter([(100.0, 900.0), (120.0, 800.0)])
    outcomes: list[CellOutcome | CeilingOutcome] = []
    for one in plan:
        if isinstance(one, CellPlan):
            outcomes.append(measured(one))
        else:
            decode, read = next(rates)
            outcomes.append(CeilingOutcome(source=one.source, decode=decode, read=read))
    outcome = job.combine(outcomes, [f"node-{number % 2}" for number in range(len(plan))])
    assert outcome.ceilings == {"photos (images)": {"decode": 120.0, "read": 900.0}}
    assert outcome.imports_s == {"nodewise": 0.5}
    settings = [(one.batch_size, one.batch_count, one.repeat) for one in outcome.cells]
    assert settings == sorted(settings)
    assert len(settings) == 8
    nodes = {
        (one.batch_size, one.batch_count, one.repeat): f"node-{number % 2}"
        for number, one in enumerate(plan)
        if isinstance(one, CellPlan)
    }
    assert {(one.batch_size, one.batch_count, one.repeat): one.node for one in outcome.cells} == nodes


def test_a_reader_that_fails_once_has_no_cells_of_that_source(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    everything_installed(monkeypatch)
    make_shards(tmp_path / "shards")
    job = SpeedtestJob([photos, tmp_path / "shards"], replace(SPEC, readers=("nodewise", "torch")))
    outcomes = []
    for one in job.plan():
        if isinstance(one, CellPlan):
            fails = (one.reader, one.source, one.repeat, one.batch_size) == ("torch", "photos (images)", 1, 3)
            outcomes.append(broken(one) if fails else measured(one))
    outcome = job.combine(outcomes, [""] * len(outcomes))
    assert outcome.left_out == {"torch, photos (images)": "it broke"}
    assert Counter((one.reader, one.source) for one in outcome.cells) == {
        ("nodewise", "photos (images)"): 8,
        ("nodewise", "shards (tfrecord, png)"): 8,
        ("torch", "shards (tfrecord, png)"): 8,
    }


def test_there_is_no_empty_result(photos: Path) -> None:
    job = SpeedtestJob([photos], SPEC)
    outcomes = [broken(one) for one in job.plan() if isinstance(one, CellPlan)]
    with pytest.raises(ReaderFaultError, match=r"no reader could be measured: nodewise, photos \(images\): it broke"):
        job.combine(outcomes, [""] * len(outcomes))
