"""Results that stay with Spark: computed once if they are kept, by every action if not."""

from __future__ import annotations

import uuid
from pathlib import Path

import pytest

from nodewise.core.errors import SpecError
from nodewise.engines.spark import SparkEngine
from nodewise.metering.meter import TaskMeter

from .clusters import on_cluster


@on_cluster("spark", 3)
class TestSparkStage:
    @pytest.mark.parametrize(("persist", "computed"), [(True, 6), (False, 18)])
    def test_kept_results_are_computed_once_and_others_by_every_action(
        self, engine: SparkEngine, tmp_path: Path, persist: bool, computed: int
    ) -> None:
        partitions = [(number, str(tmp_path)) for number in range(6)]

        def count_and_halve(partition: tuple[int, str], _meter: TaskMeter) -> int:
            number, folder = partition
            (Path(folder) / uuid.uuid4().hex).touch()
            return number // 2

        kept = engine.keep("halve", count_and_halve, partitions, persist=persist)
        results = list(kept.results())
        assert sorted((result.index, result.value) for result in results) == [(n, n // 2) for n in range(6)]
        # 0, 1, 2 come twice each; 1 is left out.
        for _ in range(2):
            groups = kept.group(lambda value: None if value == 1 else f"is {value}", lambda key, values: (key, values))
            assert sorted(groups) == [("is 0", [0, 0]), ("is 2", [2, 2])]
        assert len(list(tmp_path.iterdir())) == computed

    def test_an_error_while_computing_again_arrives_as_it_was_raised(self, engine: SparkEngine, tmp_path: Path) -> None:
        def fail_the_second_time(folder: str, _meter: TaskMeter) -> int:
            path = Path(folder) / "was here"
            if path.exists():
                raise SpecError("not again")
            path.touch()
            return 1

        kept = engine.keep("fail", fail_the_second_time, [str(tmp_path)], persist=False)
        assert [result.value for result in kept.results()] == [1]
        with pytest.raises(SpecError, match="not again"):
            kept.group(lambda value: value, lambda key, _values: key)
