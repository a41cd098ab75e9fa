"""Parent of a cluster's supervisor: ends what is left when the supervisor is gone, however it went.

``guard.py SUPERVISOR... -- AFTERMATH...`` runs the first command, and when that has ended the second one. Between the
two it kills every process that the first one left. It can, because it is a *child subreaper* (prctl(2)): a process
whose parent has died becomes its child, also one that has made itself a session of its own. It imports nothing of
nodewise, to be light, and is started by ``python -S -E``.
"""

import contextlib
import ctypes
import os
import signal
import subprocess
import sys
import time

PR_SET_CHILD_SUBREAPER = 36
ROUND_S = 0.02


def main() -> int:
    """Run, wait, kill, and run what comes after."""
    split = sys.argv.index("--")
    for number in (signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None, use_errno=True).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    supervisor = subprocess.Popen(sys.argv[1:split], close_fds=False)
    # Whoever asks the guard to end asks the supervisor.
    signal.signal(signal.SIGTERM, lambda *_: supervisor.terminate())
    # The commands' ends of the supervisor's pipes must close when it is gone, so nobody else may hold them.
    os.closerange(3, os.sysconf("SC_OPEN_MAX") if os.sysconf("SC_OPEN_MAX") < 65536 else 65536)
    status = _wait_for(supervisor.pid)
    _kill_descendants()
    with contextlib.suppress(OSError):
        subprocess.run([*sys.argv[split + 1 :], str(status)], check=False)
    _kill_descendants()
    return 0


def _wait_for(pid: int) -> int:
    """Reap children until that one has ended; its exit status, or minus the signal that ended it."""
    while True:
        try:
            ended, status = os.wait()
        except InterruptedError:
            continue
        except ChildProcessError:
            return 0
        if ended == pid:
            return os.waitstatus_to_exitcode(status)


def _kill_descendants() -> None:
    while True:
        children = _descendants()
        for child in children:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(child, signal.SIGKILL)
        try:
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
        except ChildProcessError:
            return
        time.sleep(ROUND_S)


def _descendants() -> list[int]:
    parents = {}
    for name in os.listdir("/proc"):
        if name.isdigit():
            with contextlib.suppress(OSError, ValueError, IndexError), open(f"/proc/{name}/stat") as stream:
                # The program's name, in brackets, may hold anything.
                parents[int(name)] = int(stream.read().rpartition(")")[2].split()[1])
    found = [os.getpid()]
    for pid in found:
        found += [child for child, parent in parents.items() if parent == pid]
    return found[1:]


if __name__ == "__main__":
    sys.exit(main())
