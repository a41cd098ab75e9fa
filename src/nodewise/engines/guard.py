"""Kills process groups when its parent is gone: run as a program by :mod:`nodewise.engines.daemons`.

It reads ``+PID`` and ``-PID`` from its standard input; at the end of the input, which comes when the parent has ended
by whatever means, it kills the groups that were added and not taken away. It imports nothing of nodewise, to be light.
"""

import contextlib
import os
import signal
import sys


def main() -> None:
    """Read until the parent is gone, then kill."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    groups: set[int] = set()
    for line in sys.stdin:
        pid = int(line[1:])
        (groups.add if line[0] == "+" else groups.discard)(pid)
    for group in groups:
        with contextlib.suppress(OSError):
            os.killpg(group, signal.SIGKILL)


if __name__ == "__main__":
    main()
