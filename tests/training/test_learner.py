"""When training is given up, and how a worker's time is told."""

from __future__ import annotations

import time

import pytest

from nodewise.core.errors import JobFailedError
from nodewise.metering.meter import TaskMeter
from nodewise.training.clock import EpochClock
from nodewise.training.learner import LossWatch, Totals


@pytest.mark.parametrize("loss", [float("nan"), float("inf")])
def test_a_loss_that_is_no_number_ends_it(loss: float) -> None:
    watch = LossWatch()
    watch.look(2.3, 1)
    with pytest.raises(JobFailedError, match=r"the loss is (nan|inf) in epoch 2: training diverged") as caught:
        watch.look(loss, 2)
    assert "--learning-rate" in (caught.value.hint or "")


def test_a_loss_that_rises_and_stays_up_ends_it() -> None:
    watch = LossWatch()
    for _ in range(20):
        watch.look(2.0, 1)
    for _ in range(19):
        watch.look(9.0, 3)
    with pytest.raises(JobFailedError, match=r"risen from 2 to 9 in epoch 3: training diverges"):
        watch.look(9.0, 3)


def test_one_bad_step_does_not() -> None:
    watch = LossWatch()
    for step in range(200):
        watch.look(50.0 if step == 100 else 2.0, 1)


def test_totals_add_up() -> None:
    assert Totals(1.0, 2.0) + Totals(3.0, 4.0) == Totals(4.0, 6.0)


def test_a_clock_tells_every_kind_apart() -> None:
    with TaskMeter() as meter:
        clock = EpochClock(3, meter)
        for kind in ("data", "compute", "communicate", "wait", "checkpoint", "evaluate"):
            with clock.timing(kind):  # type: ignore[arg-type]
                time.sleep(0.01)
        clock.move(0.004, "communicate", "wait")
        clock.step(5)
        clock.step(2)
        clock.sent_bytes += 12
        epoch = clock.close(1, "node-1")
    assert (epoch.rank, epoch.node, epoch.epoch, epoch.steps, epoch.records) == (1, "node-1", 3, 2, 7)
    assert epoch.sent_bytes == 12
    parts = [epoch.data_s, epoch.compute_s, epoch.communicate_s, epoch.wait_s, epoch.checkpoint_s, epoch.evaluate_s]
    assert all(part > 0 for part in parts)
    assert epoch.wait_s > epoch.communicate_s
    assert epoch.seconds >= sum(parts)
    record = meter.record(stage="train", task=1, node="node-1", retries=0)
    assert record.records == 7
    assert record.read_s == pytest.approx(epoch.data_s, abs=0.005)
    assert record.write_s == pytest.approx(epoch.checkpoint_s, abs=0.005)
    assert record.communicate_s == pytest.approx(epoch.communicate_s + epoch.wait_s, abs=0.005)
