"""Hands a program to Ray's job server, passes its output on, and asks at its end for its tasks.

``python -m nodewise.jobs.ray_job SERVER REPORT ENTRYPOINT`` ends with the program's exit status. SIGTERM stops the job.
It is a program of its own, so that a job is stopped also when nodewise was killed: its keeper asks it to end then.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import secrets
import signal
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

from nodewise.core.files import write_atomic

__all__ = ["MAX_TASKS"]

MAX_TASKS = 100_000
"""As many as Ray's head keeps by default."""
SUBMIT_TIMEOUT_S = 60.0
SETTLE_S = 5.0
"""Workers tell the head about their tasks now and then, here for so long after the job's end at most."""
QUIET_S = 1.0
_POLL_S = 0.25
_FAILED = 1


class _Stopped(BaseException):
    """The job is to end."""


def main() -> int:
    """Submit, follow, report."""
    server, report, entrypoint = sys.argv[1:]
    signal.signal(signal.SIGTERM, _stop)
    # Read by the client when it is imported; the server has its own.
    os.environ["RAY_MAX_LIMIT_FROM_API_SERVER"] = str(MAX_TASKS)
    from ray.job_submission import JobSubmissionClient

    logging.disable(logging.WARNING)
    client = JobSubmissionClient(server)
    # Chosen here, so that a job can be stopped whose submission was not answered yet.
    job_id = f"nodewise-{secrets.token_hex(8)}"
    try:
        _submit(client, job_id, entrypoint)
        asyncio.run(_follow(client, job_id))
        info = _ended(client, job_id)
    except _Stopped:
        _stop_job(client, job_id)
        return 128 + signal.SIGTERM
    if info.job_id:
        write_atomic(Path(report), _tasks(client.get_address(), info.job_id))
    if info.driver_exit_code is None and info.status.value == "FAILED":
        print(info.message, file=sys.stderr)
    return _FAILED if info.driver_exit_code is None and info.status.value != "SUCCEEDED" else info.driver_exit_code or 0


def _stop(_number: int, _frame: Any) -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    raise _Stopped


def _submit(client: Any, job_id: str, entrypoint: str) -> None:
    deadline = time.monotonic() + SUBMIT_TIMEOUT_S
    while True:
        try:
            client.submit_job(entrypoint=entrypoint, submission_id=job_id)
        except RuntimeError as error:
            # The head's agent, which starts jobs, comes up some seconds after the cluster.
            if "No available agent" not in str(error) or time.monotonic() > deadline:
                raise
        else:
            return


async def _follow(client: Any, job_id: str) -> None:
    async for text in client.tail_job_logs(job_id):
        sys.stdout.write(text)
        sys.stdout.flush()


def _ended(client: Any, job_id: str) -> Any:
    while not (info := client.get_job_info(job_id)).status.is_terminal():
        time.sleep(_POLL_S)
    return info


def _stop_job(client: Any, job_id: str) -> None:
    with suppress(RuntimeError):
        client.stop_job(job_id)
        _ended(client, job_id)


def _tasks(server: str, job_id: str) -> str:
    """The attempts at tasks that ended, as JSON, as far as Ray's head keeps them."""
    from ray.util.state import list_nodes, list_tasks

    told, quiet_since = None, time.monotonic()
    deadline = quiet_since + SETTLE_S
    while True:
        tasks = list_tasks(
            address=server,
            filters=[("job_id", "=", job_id)],
            limit=MAX_TASKS,
            detail=True,
            raise_on_missing_output=False,
        )
        states, now = sorted(task.state for task in tasks), time.monotonic()
        if states != told:
            told, quiet_since = states, now
        is_over = {"FINISHED", "FAILED"}.issuperset(states) and now - quiet_since >= QUIET_S
        if is_over or now > deadline:
            break
        time.sleep(_POLL_S)
    hosts = {node.node_id: node.node_ip for node in list_nodes(address=server, raise_on_missing_output=False)}
    ended = [
        {
            "name": task.name or task.func_or_class_name,
            "host": hosts.get(task.node_id, task.node_id),
            "attempt": task.attempt_number,
            "failed": task.state == "FAILED",
            "started_at": task.start_time_ms / 1000,
            "ended_at": task.end_time_ms / 1000,
        }
        for task in tasks
        if task.state in ("FINISHED", "FAILED") and task.start_time_ms and task.end_time_ms
    ]
    return json.dumps({"tasks": ended})


if __name__ == "__main__":
    sys.exit(main())
