"""Shards as a PyTorch data set."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")

from torch.utils.data import DataLoader  # noqa: E402

from nodewise.core.errors import CorruptFileError, InputError  # noqa: E402
from nodewise.shards.manifest import read_manifest  # noqa: E402
from nodewise.shards.order import epoch_order  # noqa: E402
from nodewise.shards.torch_dataset import ShardDataset  # noqa: E402

from .numbered_shards import pixels_of, write_numbered  # noqa: E402

# PyTorch forks its workers, also where this process has threads; the reader starts new ones.
pytestmark = pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """23 records in two shards."""
    write_numbered(tmp_path / "shards", [15, 8])
    return tmp_path / "shards"


def loader_of(dataset: ShardDataset, **settings) -> DataLoader:
    return DataLoader(dataset, batch_size=None, **settings)


def labels_of(loader) -> list[int]:
    return [label for _, labels in loader for label in labels.tolist()]


def order(epoch: int) -> list[int]:
    return epoch_order(23, seed=0, epoch=epoch).tolist()


def test_batches_are_tensors_with_the_channels_first(folder: Path) -> None:
    batches = list(loader_of(ShardDataset(folder, batch_size=10, shuffle=False)))
    assert [images.shape for images, _ in batches] == [(10, 3, 2, 3), (10, 3, 2, 3), (3, 3, 2, 3)]
    images, labels = batches[2]
    assert (images.dtype, labels.dtype) == (torch.uint8, torch.int64)
    assert images.is_contiguous(memory_format=torch.channels_last)
    assert labels.tolist() == [20, 21, 22]
    assert (images[1].permute(1, 2, 0).numpy() == pixels_of(21)).all()


def test_settings_reach_the_reader(folder: Path) -> None:
    dataset = ShardDataset(folder, dtype="float32", mean=(0, 0, 0), std=(1, 1, 0.5), shuffle=False)
    images, _ = next(iter(dataset))
    assert images.dtype == torch.float32
    assert images[5, :, 0, 0].tolist() == pytest.approx([5 / 255, 0, 14 / 255])


def test_each_pass_is_the_next_epoch(folder: Path) -> None:
    loader = loader_of(ShardDataset(folder, batch_size=4))
    assert [labels_of(loader) for _ in range(3)] == [order(0), order(1), order(2)]


@pytest.mark.parametrize("settings", [{}, {"persistent_workers": True}, {"multiprocessing_context": "spawn"}])
def test_workers_share_the_records_of_every_epoch(folder: Path, settings: dict) -> None:
    dataset = ShardDataset(folder, batch_size=4)
    next(iter(dataset))  # the parent's threads are not there in its workers
    loader = loader_of(dataset, num_workers=2, **settings)
    for epoch in (3, 1):
        dataset.set_epoch(epoch)
        expected = order(epoch)
        parts = [expected[0::2], expected[1::2]]
        # The loader takes batches from its workers in turn.
        in_turn = [part[start : start + 4] for start in range(0, 12, 4) for part in parts]
        assert labels_of(loader) == [label for batch in in_turn for label in batch]


def test_ranks_share_the_records(folder: Path) -> None:
    found = [labels_of(ShardDataset(folder, rank=rank, world_size=3)) for rank in range(3)]
    assert found == [order(0)[rank::3] for rank in range(3)]
    with pytest.raises(InputError, match="go together"):
        ShardDataset(folder, rank=1)


def test_ranks_are_those_of_the_process_group(folder: Path, tmp_path: Path) -> None:
    torch.distributed.init_process_group("gloo", init_method=f"file://{tmp_path}/group", rank=0, world_size=1)
    try:
        assert labels_of(ShardDataset(folder)) == order(0)
    finally:
        torch.distributed.destroy_process_group()


@pytest.mark.parametrize("sets_epoch", [True, False])
def test_training_goes_on_where_its_state_was_taken(folder: Path, sets_epoch: bool) -> None:
    dataset = ShardDataset(folder, batch_size=4)
    labels_of(dataset)
    batches = iter(dataset)
    found = [label for _ in range(3) for label in next(batches)[1].tolist()]
    state = json.loads(json.dumps(dataset.state_dict()))
    assert (state["epoch"], state["position"]) == (1, 12)

    dataset = ShardDataset(folder, batch_size=4)
    dataset.load_state_dict(state)
    assert dataset.state_dict() == state
    for epoch in (1, 2):
        if sets_epoch:
            dataset.set_epoch(epoch)
        found += labels_of(dataset)
    assert found == order(1) + order(2)


def test_a_state_of_another_epoch_than_the_one_set_is_not_used(folder: Path) -> None:
    dataset = ShardDataset(folder)
    next(iter(dataset))
    state = dataset.state_dict()
    dataset.load_state_dict(state)
    dataset.set_epoch(5)
    assert labels_of(dataset) == order(5)


def test_damage_is_named_in_a_worker_too(folder: Path) -> None:
    path = folder / read_manifest(folder).shards[0].path
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    with pytest.raises(CorruptFileError, match=r"at record 14 .* checksum"):
        list(loader_of(ShardDataset(folder)))
    # PyTorch puts the text of a worker's error into one of its own.
    with pytest.raises(RuntimeError, match=r"at record 14 .* checksum"):
        list(loader_of(ShardDataset(folder), num_workers=1))
