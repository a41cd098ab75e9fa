"""How the records of shards are cut into tasks, whatever number of shards there are."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate

from nodewise.specs.results import ShardInfo

__all__ = ["ScorePart", "cut_parts"]

TASKS_PER_SLOT = 8
"""So that slots that are faster, or start earlier, do more, and all end together."""
LEAST_RECORDS, MOST_RECORDS = 128, 16384
"""Of a task: fewer are hardly worth handing out; more would lose too much work with a process, and take memory."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ScorePart:
    """Some records that stand one after the other.

    Attributes:
        number: Of the part, in the order of the records.
        shards: That hold them, in order, and only those.
        first: Place of the first record, counted from the beginning of the first shard.
        records: How many.
    """

    number: int
    shards: tuple[ShardInfo, ...]
    first: int
    records: int

    def spans(self) -> Iterator[tuple[ShardInfo, range]]:
        """The shards, each with the numbers of its records that belong to the part."""
        before = 0
        for shard in self.shards:
            start, stop = self.first - before, self.first + self.records - before
            yield shard, range(max(start, 0), min(stop, shard.records))
            before += shard.records

    @property
    def read_bytes(self) -> int:
        """Its share of the shards' bytes; those of all parts of a shard add up to the shard's."""
        return sum(
            shard.bytes * numbers.stop // shard.records - shard.bytes * numbers.start // shard.records
            for shard, numbers in self.spans()
        )


def cut_parts(shards: Sequence[ShardInfo], num_slots: int) -> tuple[ScorePart, ...]:
    """Cut the records of shards into equal parts; their sizes differ by one record at most.

    Few large shards are shared by many parts, and many small ones make one, so that every slot has work and no task is
    too small to be worth it. The same shards and slots give the same parts.
    """
    shards = [shard for shard in shards if shard.records]
    stops = list(accumulate(shard.records for shard in shards))
    total = stops[-1] if stops else 0
    # As many for each slot, or one of them would have a last part for itself.
    rounds = min(TASKS_PER_SLOT, max(1, total // (LEAST_RECORDS * num_slots)))
    rounds = max(rounds, -(-total // (MOST_RECORDS * num_slots)))
    num_parts = min(total, rounds * num_slots)
    parts = []
    for number in range(num_parts):
        first, stop = (total * end // num_parts for end in (number, number + 1))
        low, high = bisect_right(stops, first), bisect_right(stops, stop - 1)
        before = stops[low] - shards[low].records
        parts.append(
            ScorePart(number=number, shards=tuple(shards[low : high + 1]), first=first - before, records=stop - first)
        )
    return tuple(parts)
