"""How records are cut into tasks."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nodewise.specs.results import ShardInfo
from nodewise.training.score_parts import LEAST_RECORDS, MOST_RECORDS, cut_parts


def shards_of(*lengths: int) -> list[ShardInfo]:
    return [
        ShardInfo(path=f"s-{number:05d}-{length}.tfrec", split="train", records=length, bytes=7 * length + 3, sha256="")
        for number, length in enumerate(lengths)
    ]


@pytest.mark.parametrize(
    ("lengths", "slots", "expected"),
    [
        # One large shard is shared by all slots, a few tasks for each.
        ((8192,), 4, [(256 * number, 256) for number in range(32)]),
        # Many small ones make one task, which need not end with a shard.
        ((200,) * 10, 1, [(0, 250), (50, 250), (100, 250), (150, 250)] * 2),
        # Even a little is shared out to all.
        ((40,), 2, [(0, 20), (20, 20)]),
        ((3,), 8, [(0, 1), (1, 1), (2, 1)]),
    ],
    ids=["one large", "many small", "few records", "fewer records than slots"],
)
def test_parts_suit_the_slots(lengths: tuple[int, ...], slots: int, expected: list[tuple[int, int]]) -> None:
    parts = cut_parts(shards_of(*lengths), slots)
    assert [(part.first, part.records) for part in parts] == expected
    assert [part.number for part in parts] == list(range(len(expected)))


def test_tasks_are_neither_tiny_nor_huge() -> None:
    many = cut_parts(shards_of(*[230] * 5000), 2)
    assert max(part.records for part in many) <= MOST_RECORDS
    few = cut_parts(shards_of(*[230] * 20), 1)
    assert min(part.records for part in few) >= LEAST_RECORDS - 1


@given(st.lists(st.integers(0, 3000), min_size=1, max_size=12), st.integers(1, 40))
def test_every_record_is_in_exactly_one_part(lengths: list[int], slots: int) -> None:
    shards = shards_of(*lengths)
    parts = cut_parts(shards, slots)
    found = [(shard.path, number) for part in parts for shard, numbers in part.spans() for number in numbers]
    assert found == [(shard.path, number) for shard in shards for number in range(shard.records)]
    sizes = [part.records for part in parts]
    assert not sizes or max(sizes) - min(sizes) <= 1
    assert all(len(numbers) for part in parts for _, numbers in part.spans())
    assert sum(part.read_bytes for part in parts) == sum(shard.bytes for shard in shards if shard.records)


def test_a_plan_does_not_change() -> None:
    shards = shards_of(700, 20, 1500)
    assert cut_parts(shards, 3) == cut_parts(shards, 3)
