import math
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.analysis.made_trainings import a_row, a_training, simulate

from nodewise.analysis.training_time import KINDS, Span, TrainingTime, analyse_training
from nodewise.core.errors import InputError
from nodewise.specs.results import TrainResult
from nodewise.specs.training import WorkerEpoch


def the_total(result: TrainResult, *, single: TrainResult | None = None) -> Span:
    total = analyse_training(result, single=single).total
    assert total is not None
    return total


def rounded(seconds: dict[str, float]) -> dict[str, float]:
    return {kind: round(value, 9) for kind, value in seconds.items() if round(value, 9)}


# Worker 1 computes 6 s and worker 0 waits for it: 4 + 2 s.
TWO = (
    a_row(0, compute_s=4, wait_s=2.5, communicate_s=1, data_s=0.5, evaluate_s=1, checkpoint_s=0.75, seconds=10),
    a_row(1, compute_s=6, wait_s=0.25, communicate_s=1.25, data_s=0.75, evaluate_s=1, seconds=9.5),
)


class TestIdealAgainstReal:
    def test_without_a_measured_run_one_worker_only_computes_and_evaluates(self) -> None:
        # One would compute 4 + 6 s and evaluate 1 + 1 s: 12 s, so ideal are 6 s of 10.
        time = analyse_training(a_training(TWO))
        assert not time.is_measured
        assert time.total is not None
        assert (time.total.ideal_s, time.total.real_s, time.total.speedup) == (6, 10, 1.2)

    def test_the_awaited_worker_s_times_make_the_difference(self) -> None:
        # Busy: worker 0 for 7.5 s, worker 1 for 9.25 s. Of its compute 5 s are ideal and 1 s is extra; its evaluation
        # is its share. The rest: 0.25 s that its kinds leave of 9.5 s, and 0.5 s that worker 0 took longer.
        total = the_total(a_training(TWO))
        assert total.awaited == 1
        missing = {"compute": 1, "data": 0.75, "communicate": 1.25, "wait": 0.25, "rest": 0.75}
        assert rounded(total.missing_s) == missing
        assert sum(missing.values()) == 4 == total.real_s - total.ideal_s

    def test_what_is_missing_of_the_speedup_goes_by_the_same_parts(self) -> None:
        total = the_total(a_training(TWO))
        assert total.missing_speedup["compute"] == pytest.approx(0.2)
        assert math.fsum(total.missing_speedup.values()) == pytest.approx(2 - 1.2)

    def test_an_evaluation_by_one_worker_is_beyond_its_share(self) -> None:
        rows = [a_row(0, compute_s=4, evaluate_s=2, seconds=6), a_row(1, compute_s=4, wait_s=2, seconds=6)]
        total = the_total(a_training(rows))
        assert total.ideal_s == 5
        assert rounded(total.missing_s) == {"evaluate": 1}

    def test_a_measured_run_of_one_worker_counts_by_its_own_losses(self) -> None:
        # 400 records in 40 s, so 100 ms a record; the two worked at 200 records: 20 s, 10 s each.
        alone = a_training(
            [a_row(0, epoch, records=200, compute_s=15, data_s=3, evaluate_s=1, seconds=20) for epoch in (1, 2)]
        )
        time = analyse_training(a_training(TWO), single=alone)
        assert time.is_measured
        assert time.total is not None
        assert time.total.ideal_s == pytest.approx(10)
        assert time.total.speedup == pytest.approx(2)
        # Ideal by kind: compute 7.5, data 1.5, evaluate 0.5, rest 0.5.
        expected = {"compute": -1.5, "data": -0.75, "communicate": 1.25, "wait": 0.25, "evaluate": 0.5, "rest": 0.25}
        assert rounded(time.total.missing_s) == pytest.approx(expected)

    def test_a_run_of_one_worker_that_tells_nothing_is_as_good_as_none(self) -> None:
        result = a_training(TWO)
        assert analyse_training(result, single=a_training()) == analyse_training(result)

    def test_a_run_of_several_is_no_measure_of_one(self) -> None:
        with pytest.raises(InputError, match="run run-7 has 2 workers"):
            analyse_training(a_training(TWO), single=a_training(TWO, run_id="run-7"))

    def test_workers_that_do_not_wait_for_each_other_take_as_long_as_the_longest(self) -> None:
        # Slow in different epochs: 3 s altogether, not 2 + 2.
        rows = [a_row(rank, epoch, compute_s=1 + (rank + 1 == epoch)) for rank in (0, 1) for epoch in (1, 2)]
        time = analyse_training(a_training(rows))
        assert time.total is not None
        assert time.total.real_s == 3
        assert [span.real_s for span in time.epochs.values()] == [2, 2]

    def test_the_nodes_of_lost_workers_count_in_the_ideal(self) -> None:
        total = the_total(a_training([a_row(0, compute_s=8)], world_size=2))
        assert (total.ideal_s, total.real_s) == (4, 8)

    def test_what_the_stage_took_beside_its_epochs_stands_apart(self) -> None:
        assert analyse_training(a_training(TWO, seconds=13)).around_s == 3
        # The clocks of workers may tell a little more than that of the driver.
        assert analyse_training(a_training(TWO, seconds=9.99)).around_s == 0

    def test_a_run_that_does_not_tell_of_its_workers_has_no_times(self) -> None:
        assert analyse_training(a_training(world_size=4)) == TrainingTime(epochs={})

    def test_a_run_in_which_no_time_passed_divides_by_nothing(self) -> None:
        time = analyse_training(a_training([a_row(0, steps=0, records=0), a_row(1, steps=0, records=0)]))
        assert time.total is not None
        assert time.total.speedup == 0
        assert set(time.total.missing_speedup.values()) == {0}
        assert (time.link_bits_per_s, time.sent_bytes_per_step, time.stragglers) == (0, 0, ())

    def test_epochs_come_in_their_order(self) -> None:
        rows = [a_row(rank, epoch, compute_s=epoch) for epoch in (3, 1, 10, 2) for rank in (1, 0)]
        time = analyse_training(a_training(rows))
        assert {epoch: span.real_s for epoch, span in time.epochs.items()} == {1: 1, 2: 2, 3: 3, 10: 10}
        assert list(time.epochs) == [1, 2, 3, 10]
        assert [worker.rank for worker in time.workers] == [0, 1]


a_length = st.floats(0, 1e5, allow_nan=False)
a_worker_epoch = st.builds(
    a_row,
    rank=st.integers(0, 5),
    epoch=st.integers(1, 4),
    records=st.integers(0, 10_000),
    steps=st.integers(0, 100),
    sent_bytes=st.integers(0, 10**12),
    seconds=a_length,
    **{f"{kind}_s": a_length for kind in KINDS if kind != "rest"},
)


@given(
    st.lists(a_worker_epoch, min_size=1, max_size=24),
    st.integers(0, 2),
    st.none() | st.lists(a_worker_epoch, max_size=4),
)
def test_the_parts_add_up_to_real_minus_ideal_whatever_the_workers_say(
    rows: list[WorkerEpoch], gone: int, alone: list[WorkerEpoch] | None
) -> None:
    workers = len({row.rank for row in rows}) + gone
    single = None if alone is None else a_training(alone, world_size=1)
    time = analyse_training(a_training(rows, world_size=workers), single=single)
    assert time.total is not None
    assert set(time.epochs) == {row.epoch for row in rows}
    for span in [time.total, *time.epochs.values()]:
        # Seconds of a measured run go by its records, so that these may stand for any number of seconds.
        tiny = 1e-9 * max(1.0, span.ideal_s, *map(abs, span.real.values()))
        assert math.fsum(span.missing_s.values()) == pytest.approx(span.real_s - span.ideal_s, abs=tiny)
        if span.real_s > tiny:
            missing = math.fsum(span.missing_speedup.values())
            assert missing == pytest.approx(workers - span.speedup, rel=1e-6, abs=workers * tiny / span.real_s)
    longest = max(math.fsum(row.seconds for row in rows if row.rank == rank) for rank in {row.rank for row in rows})
    assert time.total.real_s == pytest.approx(longest, abs=1e-3)


class TestStragglers:
    @pytest.mark.parametrize("workers", [2, 3, 4, 16, 64])
    def test_a_worker_slowed_to_half_is_found(self, workers: int) -> None:
        slow = workers - 1
        time = analyse_training(simulate(workers, slow={slow: 2.0}))
        assert [worker.rank for worker in time.stragglers] == [slow]
        assert time.stragglers[0].slowness == pytest.approx(2, rel=0.25)
        assert time.total is not None
        assert time.total.awaited == slow

    def test_equal_workers_with_noise_are_none(self) -> None:
        draw = random.Random(1)
        for case in range(200):
            result = simulate(draw.randint(2, 32), draw.randint(1, 12), noise=0.2, seed=case)
            assert analyse_training(result).stragglers == ()

    def test_a_worker_slowed_to_half_is_found_in_noise(self) -> None:
        draw = random.Random(2)
        for case in range(200):
            workers = draw.randint(2, 32)
            slow = draw.randrange(workers)
            time = analyse_training(simulate(workers, draw.randint(3, 12), slow={slow: 2.0}, noise=0.1, seed=case))
            assert [worker.rank for worker in time.stragglers] == [slow]

    @pytest.mark.parametrize("epochs", [2, 3, 4, 5])
    @pytest.mark.parametrize("workers", [2, 4])
    def test_one_slow_epoch_makes_none(self, workers: int, epochs: int) -> None:
        rows = [
            a_row(rank, epoch, compute_s=10.0 if (rank, epoch) == (1, 2) else 1.0)
            for rank in range(workers)
            for epoch in range(1, epochs + 1)
        ]
        assert analyse_training(a_training(rows)).stragglers == ()

    def test_more_records_in_more_time_are_no_slowness(self) -> None:
        rows = [a_row(0, records=100, compute_s=1), a_row(1, records=300, compute_s=3)]
        assert analyse_training(a_training(rows)).stragglers == ()

    def test_one_and_a_half_times_as_long_is_one(self) -> None:
        rows = [a_row(0, compute_s=2), a_row(1, compute_s=3), a_row(2, compute_s=2)]
        time = analyse_training(a_training(rows))
        assert [worker.rank for worker in time.stragglers] == [1]
        assert [worker.slowness for worker in time.workers] == pytest.approx([0.8, 1.5, 0.8])

    def test_an_epoch_that_is_slow_for_all_tells_nothing(self) -> None:
        # The second worker was there in the slow epochs only.
        rows = [a_row(0, epoch, compute_s=1 if epoch < 5 else 9) for epoch in range(1, 8)]
        rows += [a_row(1, epoch, compute_s=9) for epoch in range(5, 8)]
        assert analyse_training(a_training(rows)).stragglers == ()

    def test_one_worker_is_none(self) -> None:
        time = analyse_training(simulate(1))
        assert time.stragglers == ()
        assert time.workers[0].slowness is None

    def test_a_worker_without_records_is_compared_with_nobody(self) -> None:
        time = analyse_training(a_training([a_row(0, compute_s=1, records=0, steps=0), a_row(1, compute_s=1)]))
        assert [(worker.record_s, worker.slowness) for worker in time.workers] == [(None, None), (0.01, None)]

    def test_the_slowest_come_first_and_only_the_others_wait(self) -> None:
        rows = [a_row(rank, compute_s=1, wait_s=3) for rank in range(4)]
        rows += [a_row(4, compute_s=2, wait_s=2), a_row(5, compute_s=4, wait_s=0)]
        time = analyse_training(a_training(rows))
        assert [worker.rank for worker in time.stragglers] == [5, 4]
        assert time.waited_share == 0.75


def test_bytes_go_by_step_and_the_link_by_the_time_in_which_steps_run() -> None:
    # 2 workers x 50 steps, 400 MB: 4 MB a step. Each steps for 10 of its 14 s, so 160 Mbit/s.
    rows = [
        a_row(rank, steps=50, sent_bytes=200_000_000, compute_s=10, evaluate_s=3, checkpoint_s=1) for rank in (0, 1)
    ]
    time = analyse_training(a_training(rows))
    assert time.sent_bytes_per_step == 4_000_000
    assert time.link_bits_per_s == 160_000_000


def test_a_worker_has_the_sum_of_its_epochs() -> None:
    rows = [a_row(0, 1, compute_s=1, data_s=0.5, seconds=2), a_row(0, 2, compute_s=3, seconds=3.25, node="node-9")]
    (worker,) = analyse_training(a_training(rows)).workers
    assert (worker.node, worker.records, worker.steps, worker.total_s) == ("node-9", 200, 20, 5.25)
    assert rounded(dict(worker.seconds)) == {"compute": 4, "data": 0.5, "rest": 0.75}
    # 10 and 30 ms a record: in the middle 20.
    assert worker.record_s == pytest.approx(0.02)
