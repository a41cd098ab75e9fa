"""A scoring task that is killed on the way, carried to workers that cannot import this module."""

from __future__ import annotations

import sys
import threading
import time
from importlib import import_module
from pathlib import Path
from typing import Any

from tests.engines.tasks import die_once

from nodewise.metering.meter import TaskMeter


def carry_by_value() -> None:
    """Have every engine send the class itself."""
    for name in ("cloudpickle", "pyspark.cloudpickle", "ray.cloudpickle"):
        import_module(name).register_pickle_by_value(sys.modules[__name__])


class DiesOnTheWay:
    """The first process that begins the part with this number is killed so many seconds later, or before it reports."""

    def __init__(self, task: Any, number: int, delay_s: float, marker: Path) -> None:
        self._task, self._number, self._delay_s, self._marker = task, number, delay_s, marker

    def __call__(self, part: Any, meter: TaskMeter) -> Any:
        if part.number != self._number or self._marker.exists():
            return self._task(part, meter)
        killer = threading.Thread(target=self._kill, daemon=True)
        killer.start()
        outcome = self._task(part, meter)
        killer.join()
        return outcome

    def _kill(self) -> None:
        time.sleep(self._delay_s)
        die_once(self._marker)
