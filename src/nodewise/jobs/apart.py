"""An object that lives in a process of its own, where no other library's threads, forks or memory are."""

from __future__ import annotations

import os
import queue
import socket
import subprocess
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from multiprocessing.connection import Connection
from typing import Any

import psutil

__all__ = ["Apart", "ProcessEndedError", "serve"]

END_TIMEOUT_S = 10.0


class ProcessEndedError(Exception):
    """The process of the object ended, or did not answer in time and was ended."""


class Apart:
    """Makes ``factory(*arguments)`` in a new process and calls its methods there, one after the other.

    What goes there and back must pickle. The process ignores Ctrl-C, writes nothing, and ends with all its children as
    soon as this one does, however that ends.

    Args:
        timeout_s: For an answer.

    Raises:
        ProcessEndedError: From :meth:`call`.
        Exception: From :meth:`call`: what the method, or the factory, raised.
    """

    def __init__(self, factory: Callable[..., Any], *arguments: Any, timeout_s: float) -> None:
        self._timeout_s = timeout_s
        ours, theirs = socket.socketpair()
        with theirs:
            # A session of its own: Ctrl-C is for the process that the user started.
            self._process = subprocess.Popen(
                [sys.executable, "-c", f"from {__name__} import serve; serve({theirs.fileno()})"],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                env=_environment(),
                pass_fds=[theirs.fileno()],
                start_new_session=True,
            )
        self._connection = Connection(ours.detach())
        self._connection.send((factory, arguments))

    def call(self, method: str, *arguments: Any) -> Any:
        """The method's value."""
        try:
            self._connection.send((method, arguments))
            if not self._connection.poll(self._timeout_s):
                self.close()
                raise ProcessEndedError(f"no answer within {self._timeout_s:.0f} s")
            value, error = self._connection.recv()
        except (EOFError, OSError):
            self.close()
            raise ProcessEndedError(f"its process ended with status {self._process.returncode}") from None
        if error is not None:
            raise error
        return value

    def close(self) -> None:
        """End the process and its children."""
        self._connection.close()
        try:
            self._process.wait(END_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


def serve(descriptor: int) -> None:
    """What the process does: make the object, answer calls, and end when the other side is gone."""
    connection = Connection(descriptor)
    requests: queue.SimpleQueue[Any] = queue.SimpleQueue()
    threading.Thread(target=_receive, args=(connection, requests), daemon=True).start()
    factory, arguments = requests.get()
    made, failure = None, None
    try:
        made = factory(*arguments)
    except Exception as error:
        failure = error
    while True:
        method, arguments = requests.get()
        value, raised = None, failure
        if failure is None:
            try:
                value = getattr(made, method)(*arguments)
            except Exception as error:
                raised = error
        connection.send((value, raised))


def _receive(connection: Connection, requests: queue.SimpleQueue[Any]) -> None:
    # A thread, so that the end of the other side is seen also while the object is at work. A request that cannot be
    # unpickled here ends the process too, for nobody would answer it.
    with suppress(Exception):
        while True:
            requests.put(connection.recv())
    for child in psutil.Process().children(recursive=True):
        with suppress(psutil.NoSuchProcess):
            child.kill()
    os._exit(0)


def _environment() -> dict[str, str]:
    # Engines set this for a slot of one core; how many the object uses is for the object to say.
    return {name: value for name, value in os.environ.items() if name != "OMP_NUM_THREADS"}
