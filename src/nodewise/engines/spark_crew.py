"""A crew on Spark: a stage with a task for each member, which Spark itself tries again."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Generator
from functools import partial
from typing import Any

from nodewise.core.errors import InputError
from nodewise.engines.base import CrewFunction, TaskResult
from nodewise.engines.crew import CrewPlan
from nodewise.engines.spark_stage import POLL_S, SparkStage
from nodewise.metering.meter import TaskMeter

__all__ = ["run_crew"]

END_S = 15.0


def run_crew(context: Any, stage: str, function: CrewFunction, payload: Any, plan: CrewPlan) -> Generator[TaskResult]:
    """As :meth:`nodewise.engines.base.Engine.crew`, on a cluster that has all its nodes.

    Raises:
        InputError: There are not slots enough for all members at once.
    """
    cores = plan.cluster.cores_per_node
    if plan.members_per_node > cores:
        raise InputError(
            f"{stage} needs {plan.members_per_node} slots per node at once, and Spark has {cores}",
            hint=f"at most {cores} members per node; or more cores per node, or engine ray or local",
        )
    return _run(context, stage, function, payload, plan)


def _run(context: Any, stage: str, function: CrewFunction, payload: Any, plan: CrewPlan) -> Generator[TaskResult]:
    # A node has room for no more members than are its own, so they are spread evenly, also when one is started again.
    # Where cores are left over, it is Spark's order that spreads them: it gives every executor one task in turn.
    # Local mode has one node, and knows nothing of a stage's own needs.
    is_local = context.master.startswith("local")
    task = partial(_run_member, function, payload, plan, context.getConf().get("spark.driver.host"))
    members = SparkStage(
        context, stage, task, range(plan.world_size), persist=False, task_cpus=1 if is_local else plan.threads
    )
    try:
        yield from members.results()
    finally:
        _await_end(context)


def _run_member(
    function: CrewFunction, payload: Any, plan: CrewPlan, driver_host: str, rank: int, meter: TaskMeter
) -> Any:
    from pyspark import TaskContext

    task: Any = TaskContext.get()
    return function(payload, meter, plan.member(rank, _own_host(driver_host), task.attemptNumber()))


def _own_host(driver_host: str) -> str:
    """The address of this process's node: the one that Spark was told to bind to, else that on the way to the driver.

    Spark tells a task the address of its executor in barrier stages only.
    """
    told = os.environ.get("SPARK_LOCAL_IP")
    if told:
        return told
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as way:
        # Nothing is sent.
        way.connect((driver_host, 1))
        host: str = way.getsockname()[0]
    return host


def _await_end(context: Any) -> None:
    """Wait until no executor has a task: Spark calls a job ended while those that it cancelled still run."""
    tracker = context._jsc.sc().statusTracker()
    deadline = time.monotonic() + END_S
    while any(executor.numRunningTasks() for executor in tracker.getExecutorInfos()):
        if time.monotonic() > deadline:
            return
        time.sleep(POLL_S)
