"""Runs a user's program and sees to it that nothing of it is left, however it or its owner ends.

``keeper.py CONNECTION PROGRAM...`` is a process between nodewise and the program. ``CONNECTION`` is the number of an
inherited socket. Nodewise holds the other end, and that it closes, for whatever reason (an end, a
signal, a crash, ``kill -9``), means that the program is to end: it is asked to (SIGTERM), and killed when it has not
after some seconds. When the program has ended, what it had started and left is killed, and one line of JSON is sent:
its exit status and what it has used.

Processes that leave the program's session or lose their parent are found too, since the keeper is their *subreaper*
(prctl(2)): whoever loses its parent becomes its child.
"""

from __future__ import annotations

import ctypes
import json
import os
import resource
import signal
import socket
import subprocess
import sys
import threading
import time
from contextlib import suppress

import psutil

__all__ = ["GRACE_S"]

GRACE_S = 5.0
"""What a program that is asked to end has for it."""
_ROUND_S = 0.02
_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36
_CANNOT_START = 127


def main() -> None:
    """Start, wait, clean up, report."""
    for number in (signal.SIGINT, signal.SIGHUP, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    owner = socket.socket(fileno=int(sys.argv[1]))
    owner.set_inheritable(False)
    _prctl(_PR_SET_CHILD_SUBREAPER, 1)
    began = time.monotonic()
    status = _CANNOT_START
    try:
        # Its output goes where the keeper's goes.
        program = subprocess.Popen(sys.argv[2:], start_new_session=True, preexec_fn=_begin)  # noqa: PLW1509 - no thread yet
    except OSError as error:
        print(f"error: cannot start {sys.argv[2]!r}: {error.strerror}", file=sys.stderr)
    else:
        # Whoever waits for the end of the output must not wait for the keeper.
        _let_go_of_output()
        threading.Thread(target=_end_with, args=(owner,), daemon=True).start()
        status = _wait_for(program.pid)
    wall_s = time.monotonic() - began
    _kill_children()
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    report = {
        "exit_status": status,
        "wall_s": wall_s,
        "cpu_s": used.ru_utime + used.ru_stime,
        "peak_memory_bytes": used.ru_maxrss * 1024,
    }
    with suppress(OSError):
        owner.sendall(json.dumps(report).encode() + b"\n")
    os._exit(0)


def _begin() -> None:
    """In the new process: end with the keeper, should that be killed, and take signals as any program does."""
    _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    for number in (signal.SIGINT, signal.SIGHUP, signal.SIGTERM, signal.SIGPIPE):
        signal.signal(number, signal.SIG_DFL)


def _prctl(option: int, value: int) -> None:
    # Linux alone has it; elsewhere only the direct children are found.
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None, use_errno=True).prctl(option, value, 0, 0, 0)


def _let_go_of_output() -> None:
    nowhere = os.open(os.devnull, os.O_RDWR)
    for descriptor in (0, 1, 2):
        os.dup2(nowhere, descriptor)
    os.close(nowhere)


def _wait_for(pid: int) -> int:
    """Reap children until that one has ended; its exit status, or minus the signal that ended it."""
    while True:
        ended, status = os.wait()
        if ended == pid:
            return os.waitstatus_to_exitcode(status)


def _end_with(owner: socket.socket) -> None:
    """Wait until the owner is gone, then ask all to end, and kill those who have not in time."""
    with suppress(OSError):
        while owner.recv(1):
            pass
    for process in _descendants():
        with suppress(psutil.Error):
            process.terminate()
    time.sleep(GRACE_S)
    for process in _descendants():
        with suppress(psutil.Error):
            process.kill()


def _kill_children() -> None:
    while True:
        for process in _descendants():
            with suppress(psutil.Error):
                process.kill()
        try:
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
        except ChildProcessError:
            return
        time.sleep(_ROUND_S)


def _descendants() -> list[psutil.Process]:
    return psutil.Process().children(recursive=True)


if __name__ == "__main__":
    main()
