"""What runs inside every worker process, whatever the engine: meter, call, return. It never prints."""

from __future__ import annotations

import gc
import os
import threading
import time
import traceback
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any, TypeVar

from nodewise.core.errors import JobFailedError, NodewiseError
from nodewise.engines.base import TaskResult
from nodewise.metering.meter import TaskMeter
from nodewise.specs.crew import CrewContext
from nodewise.specs.gang import GangContext

__all__ = ["exit_with_parent", "run_member", "run_metered", "warm_up"]

MemberT = TypeVar("MemberT", CrewContext, GangContext)


def warm_up(modules: Sequence[str], linger_s: float = 0.1) -> None:
    """Import the modules, and take long enough that no slot is free again before each has had such a task."""
    for module in modules:
        import_module(module)
    # What was imported stays for good: no need to look through it again and again for garbage.
    gc.freeze()
    time.sleep(linger_s)


def run_metered(call: Callable[[TaskMeter], Any], *, stage: str, index: int, node: str, retries: int) -> TaskResult:
    """Call the job's function under a meter.

    An exception becomes part of the result instead of leaving the worker: it would come again on every attempt, so the
    engine must not take it for a lost worker.
    """
    _offer_to_kernel()
    meter = TaskMeter()
    value, error = None, None
    with meter:
        try:
            value = call(meter)
        except NodewiseError as raised:
            error = raised
        except Exception as raised:
            error = _as_job_failure(raised, stage)
    record = meter.record(stage=stage, task=index, node=node, retries=retries)
    return TaskResult(index=index, value=value, record=record, error=error)


def run_member(
    function: Callable[[Any, TaskMeter, MemberT], Any],
    payload: Any,
    member: MemberT,
    *,
    stage: str,
    node: str,
    retries: int,
) -> TaskResult:
    """As :func:`run_metered`, of a member of a gang or a crew."""
    return run_metered(
        lambda meter: function(payload, meter, member), stage=stage, index=member.rank, node=node, retries=retries
    )


@cache
def _offer_to_kernel() -> None:
    # At a node's memory limit the kernel shall end the task, which is repeated, and not the daemon that it runs under.
    with suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text("1000")


def _as_job_failure(raised: Exception, stage: str) -> JobFailedError:
    frame = traceback.extract_tb(raised.__traceback__)[-1]
    where = f"{frame.filename}:{frame.lineno}"
    return JobFailedError(
        f"{stage} failed: {type(raised).__name__}: {raised} ({where})",
        where=where,
        detail="".join(traceback.format_exception(raised)),
        hint="--debug shows the worker's traceback",
    )


def exit_with_parent(parent: int) -> None:
    """End this process when the one that started it is gone, however and however early that one ended."""

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(0.5)
        os._exit(1)

    threading.Thread(target=watch, name="exit-with-parent", daemon=True).start()
