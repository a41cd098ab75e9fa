import time

import pytest

from nodewise.metering.meter import TaskMeter
from nodewise.specs.run import TaskRecord


def record_of(meter: TaskMeter) -> TaskRecord:
    return meter.record(stage="s", task=0, node="node-0", retries=0)


def test_timers_add_up_by_kind() -> None:
    with TaskMeter() as meter:
        for _ in range(3):
            with meter.reading():
                time.sleep(0.01)
        with meter.writing():
            time.sleep(0.02)
        with meter.communicating():
            pass
    record = record_of(meter)
    assert 0.03 <= record.read_s < record.wall_s
    assert 0.02 <= record.write_s < record.wall_s
    assert record.read_s + record.write_s + record.communicate_s <= record.wall_s
    assert 0 < record.communicate_s < record.write_s


def test_a_block_that_raises_is_timed_and_its_error_goes_on() -> None:
    def read() -> None:
        with meter, meter.reading():
            time.sleep(0.01)
            raise OSError("gone")

    meter = TaskMeter()
    with pytest.raises(OSError, match="gone"):
        read()
    assert record_of(meter).read_s >= 0.01


def test_what_was_not_timed_is_zero() -> None:
    with TaskMeter() as meter:
        meter.count(records=2)
    record = record_of(meter)
    assert (record.read_s, record.write_s, record.communicate_s) == (0, 0, 0)
