"""The order of an epoch and who owns which record: properties that hold for any number of records and workers."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from nodewise.shards.order import NUM_LANES, EpochOrder, epoch_order, is_owned

COUNTS = st.integers(min_value=0, max_value=1000)
SEEDS = st.integers(min_value=0, max_value=2**32 - 1)
WORKERS = st.integers(min_value=1, max_value=8)


@given(count=COUNTS, seed=SEEDS, epoch=st.integers(1, 100))
def test_an_epoch_has_every_record_exactly_once(count: int, seed: int, epoch: int) -> None:
    assert sorted(epoch_order(count, seed=seed, epoch=epoch)) == list(range(count))


@given(count=COUNTS, world_size=WORKERS)
def test_every_record_has_exactly_one_owner(count: int, world_size: int) -> None:
    owners = np.stack([is_owned(np.arange(count), rank, world_size) for rank in range(world_size)])
    assert (owners.sum(axis=0) == 1).all()


@given(count=COUNTS, world_size=WORKERS)
def test_the_workers_share_evenly(count: int, world_size: int) -> None:
    shares = [int(is_owned(np.arange(count), rank, world_size).sum()) for rank in range(world_size)]
    # A worker owns at most one lane more than another, and a lane has at most ceil(count / NUM_LANES) records.
    assert max(shares) - min(shares) <= -(-count // NUM_LANES) + 1


@given(count=COUNTS, seed=SEEDS, world_size=WORKERS, batch_size=st.integers(1, 100))
def test_the_workers_parts_make_up_each_global_batch(count: int, seed: int, world_size: int, batch_size: int) -> None:
    order = epoch_order(count, seed=seed, epoch=1)
    for start in range(0, count, batch_size):
        batch = order[start : start + batch_size]
        parts = [batch[is_owned(batch, rank, world_size)] for rank in range(world_size)]
        assert sorted(np.concatenate(parts)) == sorted(batch)


@given(count=COUNTS, seed=SEEDS, epoch=st.integers(1, 100))
def test_the_same_seed_and_epoch_give_the_same_order(count: int, seed: int, epoch: int) -> None:
    first, second = (epoch_order(count, seed=seed, epoch=epoch) for _ in range(2))
    assert first.tolist() == second.tolist()


@given(seed=SEEDS, epoch=st.integers(1, 100))
def test_other_epochs_and_seeds_give_other_orders(seed: int, epoch: int) -> None:
    order = epoch_order(500, seed=seed, epoch=epoch).tolist()
    assert epoch_order(500, seed=seed, epoch=epoch + 1).tolist() != order
    assert epoch_order(500, seed=seed + 1, epoch=epoch).tolist() != order


def test_a_batch_mixes_records_from_all_over_the_split() -> None:
    first_batch = epoch_order(6400, seed=0, epoch=1)[:NUM_LANES]
    assert len(set(first_batch // 640)) >= 8


@given(
    count=st.integers(1, 300),
    places=st.lists(st.lists(st.integers(0, 10**6), max_size=40), max_size=4),
)
def test_an_order_asked_for_in_parts_is_the_same(count: int, places: list[list[int]]) -> None:
    whole = epoch_order(count, seed=3, epoch=2)
    order = EpochOrder(count, seed=3, epoch=2)
    for part in places:
        wanted = np.array(part, np.int64) % count
        assert order.take(wanted).tolist() == whole[wanted].tolist()
