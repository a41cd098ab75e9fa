"""What every engine promises; a test class per engine inherits these tests and says on which cluster they run."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from nodewise.core.errors import JobFailedError, SpecError, WorkerLostError
from nodewise.engines.base import MAX_TASK_FAILURES, Engine, TaskResult

from . import tasks

NODES = {"node-0", "node-1", "node-2"}


class EngineContract:
    """For an engine of three nodes with one core each.

    Attributes:
        most_restarts: Of a gang that lost one member once.
    """

    most_restarts = 1

    def _expect_restart(self, results: list[TaskResult]) -> None:
        (restarts,) = {result.record.retries for result in results}
        assert 1 <= restarts <= self.most_restarts

    @pytest.mark.parametrize("count", [0, 1, 50])
    def test_every_partition_is_answered_exactly_once(self, engine: Engine, count: int) -> None:
        results = list(engine.map("squares", tasks.square, range(count)))
        assert sorted(result.index for result in results) == list(range(count))
        assert all(result.value == result.index**2 for result in results)
        assert all(result.error is None for result in results)

    def test_a_result_is_given_while_other_tasks_still_run(self, engine: Engine, tmp_path: Path) -> None:
        go_on = tmp_path / "go on"
        results = engine.map("stream", tasks.first_at_once, [(number, str(go_on)) for number in range(5)])
        assert next(results).index == 0
        go_on.touch()
        assert sorted(result.index for result in results) == [1, 2, 3, 4]

    def test_tasks_run_on_all_nodes_at_the_same_time(self, engine: Engine, tmp_path: Path) -> None:
        results = engine.map("meet", tasks.meet, [(number, 3, str(tmp_path)) for number in range(3)])
        assert {result.record.node for result in results} == NODES

    def test_a_record_says_what_the_task_used(self, engine: Engine) -> None:
        before = time.time()
        (result,) = engine.map("burn", tasks.burn, [0.3])
        after = time.time()
        record = result.record
        assert (record.stage, record.task, record.retries) == ("burn", 0, 0)
        assert record.node in NODES
        assert (record.records, record.read_bytes, record.written_bytes) == (3, 111, 7)
        assert before <= record.started_at <= record.ended_at <= after + 0.1
        assert 0.3 <= record.cpu_s < 1.0
        assert record.wall_s >= 0.29
        assert 32 * 2**20 < record.peak_memory_bytes < 2 * 2**30

    def test_a_function_that_raises_is_called_once_and_located(self, engine: Engine, tmp_path: Path) -> None:
        with pytest.raises(JobFailedError, match="ZeroDivisionError: number 1 fails") as caught:
            list(engine.map("fail", tasks.fail_on_one, [(number, str(tmp_path)) for number in range(3)]))
        source = Path(tasks.__file__)
        line = 1 + next(
            number for number, text in enumerate(source.read_text().splitlines()) if "the line that JobFailed" in text
        )
        assert caught.value.where == f"{source}:{line}"
        assert "fail_on_one" in caught.value.detail
        assert len(list(tmp_path.iterdir())) == 1

    def test_an_error_of_our_own_arrives_as_it_was_raised(self, engine: Engine) -> None:
        with pytest.raises(SpecError) as caught:
            list(engine.map("refuse", tasks.refuse, [None]))
        assert caught.value.message == "no such colour: 'bleu'"
        assert caught.value.hint == "did you mean 'blue'?"

    def test_a_killed_worker_costs_a_retry_and_no_result(self, engine: Engine, tmp_path: Path) -> None:
        results = list(engine.map("die once", tasks.die_once_on_two, [(number, str(tmp_path)) for number in range(6)]))
        assert sorted((result.index, result.value) for result in results) == [(n, 10 * n) for n in range(6)]
        (killed,) = (result for result in results if result.index == 2)
        assert killed.record.retries == 1

    @pytest.mark.slow("spark", "ray")
    def test_a_task_whose_worker_always_dies_is_given_up(self, engine: Engine, tmp_path: Path) -> None:
        with pytest.raises(WorkerLostError) as caught:
            list(engine.map("die", tasks.die_always, [str(tmp_path)]))
        assert "\n" not in caught.value.message
        assert len(list(tmp_path.iterdir())) == MAX_TASK_FAILURES
        assert [result.value for result in engine.map("after", tasks.square, [7])] == [49]

    def test_a_gang_has_one_member_on_every_node(self, engine: Engine) -> None:
        results = engine.gang("gather", tasks.gather_twice, "hello")
        first, second = ["hello 0", "hello 1", "hello 2"], ["again 0", "again 1", "again 2"]
        assert [result.value for result in results] == [(rank, 3, 1, first, second) for rank in range(3)]
        assert [result.index for result in results] == [0, 1, 2]
        assert {result.record.node for result in results} == NODES
        assert {result.record.retries for result in results} == {0}

    def test_a_killed_member_restarts_the_whole_gang(self, engine: Engine, tmp_path: Path) -> None:
        results = engine.gang("die once", tasks.gang_dies_once, str(tmp_path))
        assert [result.value for result in results] == [["rank 0", "rank 1", "rank 2"]] * 3
        self._expect_restart(results)

    def test_members_that_miss_another_do_not_fail_before_its_end_is_known(
        self, engine: Engine, tmp_path: Path
    ) -> None:
        results = engine.gang("miss", tasks.gang_misses_rank_one, str(tmp_path))
        assert [result.value for result in results] == [0, 1, 2]
        self._expect_restart(results)

    @pytest.mark.slow("spark", "ray")
    def test_a_gang_whose_member_always_dies_is_given_up(self, engine: Engine, tmp_path: Path) -> None:
        with pytest.raises(WorkerLostError):
            engine.gang("die", tasks.gang_dies_always, str(tmp_path))
        assert len(list(tmp_path.iterdir())) == MAX_TASK_FAILURES

    @pytest.mark.timeout(90)
    def test_a_member_that_raises_ends_the_gang(self, engine: Engine, tmp_path: Path) -> None:
        with pytest.raises(JobFailedError, match="ZeroDivisionError: rank 1 fails"):
            engine.gang("fail", tasks.gang_fails, str(tmp_path))
        assert len(list(tmp_path.iterdir())) == 1
        results = engine.gang("after", tasks.gather_twice, "still")
        assert results[2].value[3] == ["still 0", "still 1", "still 2"]
