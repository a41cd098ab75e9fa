"""Puts a process into a node's place: as a program, it then becomes the node's command.

Run as ``python -S -E entry.py NETNS [GROUP_DIR ...] -- COMMAND ...`` with an empty NETNS for the machine's own network.
It imports nothing of nodewise, and no more of Python than it needs, to be light.
"""

import os
import signal
import sys

NETNS_DIR = "/var/run/netns"
CLONE_NEWNET = 0x40000000


def join(netns: str, group_dirs: list[str]) -> None:
    """Move the calling thread into a network namespace, and its process into control groups.

    Raises:
        OSError: One of them is not there, or is not for this user.
    """
    if netns:
        import ctypes  # os.setns came with Python 3.12

        path = f"{NETNS_DIR}/{netns}"
        libc = ctypes.CDLL(None, use_errno=True)
        opened = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            if libc.setns(opened, CLONE_NEWNET) != 0:
                number = ctypes.get_errno()
                raise OSError(number, os.strerror(number), path)
        finally:
            os.close(opened)
    for folder in group_dirs:
        with open(f"{folder}/cgroup.procs", "w") as file:
            file.write("0")  # the process that writes


def main() -> None:
    """Enter and become the command; exit status 127 if either fails, as of a shell."""
    netns, *rest = sys.argv[1:]
    split = rest.index("--")
    command = rest[split + 1 :]
    for number in (signal.SIGPIPE, signal.SIGXFSZ):  # Python ignores them, and the command would inherit that
        signal.signal(number, signal.SIG_DFL)
    try:
        join(netns, rest[:split])
        os.execvp(command[0], command)  # noqa: S606 - no shell is wanted
    except OSError as error:
        print(f"error: cannot start {command[0]!r} in its node: {error}", file=sys.stderr)
        sys.exit(127)


if __name__ == "__main__":
    main()
