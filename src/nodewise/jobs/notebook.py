"""Executes a notebook, with the output of its cells on this process's own, and tells how long each cell took.

``python -m nodewise.jobs.notebook NOTEBOOK EXECUTED REPORT`` ends with 1 if a cell raised. The notebook with its output
is written to ``EXECUTED`` in any case, also on SIGTERM; ``NOTEBOOK`` is not changed. It is a program of its own, so
that it can be metered in a node's place and ended.
"""

from __future__ import annotations

import asyncio
import json
import signal
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil

from nodewise.core.files import write_atomic

__all__: list[str] = []

_CELL_FAILED = 1


def main() -> int:
    """Execute, show, report."""
    import nbformat
    from nbclient import NotebookClient
    from nbclient.exceptions import CellExecutionError, DeadKernelError

    source, executed, report = map(Path, sys.argv[1:])
    cells: list[dict[str, Any]] = []

    class Client(NotebookClient):  # type: ignore[misc]
        """Shows output when it comes, and meters the cells."""

        def output(self, outs: list[Any], msg: dict[str, Any], display_id: str, cell_index: int) -> Any:
            _show(msg["msg_type"], msg["content"])
            return super().output(outs, msg, display_id, cell_index)

        async def async_execute_cell(self, cell: Any, cell_index: int, **options: Any) -> Any:
            if cell.cell_type != "code" or not cell.source.strip():
                return await super().async_execute_cell(cell, cell_index, **options)
            kernel = psutil.Process(self.km.provisioner.pid)
            started_at, began, cpu_s = time.time(), time.perf_counter(), _cpu_s(kernel)
            failed = True
            try:
                value = await super().async_execute_cell(cell, cell_index, **options)
                failed = False
            finally:
                # A kernel that died has told its last by then.
                used_s, peak_memory_bytes = 0.0, 0
                with suppress(psutil.Error):
                    used_s, peak_memory_bytes = _cpu_s(kernel) - cpu_s, kernel.memory_info().rss
                cells.append(
                    {
                        "cell": cell_index,
                        "started_at": started_at,
                        "ended_at": started_at + time.perf_counter() - began,
                        "cpu_s": used_s,
                        "peak_memory_bytes": peak_memory_bytes,
                        "failed": failed,
                    }
                )
            return value

    signal.signal(signal.SIGTERM, _stop)
    try:
        notebook = nbformat.read(source, as_version=4)
    except (nbformat.ValidationError, ValueError, KeyError, AttributeError) as error:
        print(f"{source} is no notebook: {str(error).splitlines()[0]}", file=sys.stderr)
        return _CELL_FAILED
    client = Client(
        notebook,
        timeout=None,
        kernel_name=_kernel_of(notebook),
        resources={"metadata": {"path": str(source.absolute().parent)}},
    )
    try:
        asyncio.run(client.async_execute())
    except CellExecutionError:
        return _CELL_FAILED
    except DeadKernelError:
        print("the notebook's kernel died", file=sys.stderr)
        return _CELL_FAILED
    finally:
        write_atomic(executed, nbformat.writes(notebook))
        write_atomic(report, json.dumps({"tasks": cells}))
    return 0


def _stop(_number: int, _frame: Any) -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    raise SystemExit(128 + signal.SIGTERM)


def _kernel_of(notebook: Any) -> str:
    """The kernel that the notebook asks for; the one of this Python where that is another name for it."""
    from jupyter_client.kernelspec import KernelSpecManager

    asked = notebook.metadata.get("kernelspec", {})
    name: str = asked.get("name", "python3")
    is_python = asked.get("language", "python") == "python"
    return "python3" if is_python and name not in KernelSpecManager().find_kernel_specs() else name


def _cpu_s(process: psutil.Process) -> float:
    times = process.cpu_times()
    return sum((times.user, times.system, getattr(times, "children_user", 0.0), getattr(times, "children_system", 0.0)))


def _show(kind: str, content: dict[str, Any]) -> None:
    stream, text = sys.stdout, ""
    if kind == "stream":
        stream, text = (sys.stderr if content["name"] == "stderr" else sys.stdout), content["text"]
    elif kind in ("execute_result", "display_data"):
        text = content["data"].get("text/plain", "") + "\n"
    elif kind == "error":
        stream, text = sys.stderr, "\n".join(content["traceback"]) + "\n"
    stream.write(text)
    stream.flush()


if __name__ == "__main__":
    sys.exit(main())
