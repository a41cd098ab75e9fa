"""What a command and a cluster's supervisor say to each other: one JSON object to a line, over a Unix socket.

A request is ``{"op": NAME, ...}`` and is answered by any number of ``{"progress": TEXT}`` and one ``{"ok": true, ...}``
or ``{"ok": false, "error": {...}}``. That the socket closes tells either side that the other one is gone.
"""

from __future__ import annotations

import json
import os
import socket
import struct
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from nodewise.core.errors import ClusterLostError, error_from_json

__all__ = ["Channel", "connect", "is_same_user"]

MAX_LINE_BYTES = 1 << 20


class Channel:
    """One end of a connection. Used from one thread, but for :meth:`close`."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._unread = b""

    def fileno(self) -> int:
        return self._connection.fileno()

    def send(self, message: dict[str, Any]) -> None:
        """Send a message; whether anybody is left to read it is for :meth:`receive` to tell."""
        with suppress(OSError):
            self._connection.sendall(json.dumps(message).encode() + b"\n")

    def receive(self) -> dict[str, Any] | None:
        """The next message; None when the other side is gone."""
        while b"\n" not in self._unread:
            try:
                more = self._connection.recv(65536)
            except OSError:
                more = b""
            if not more or len(self._unread) > MAX_LINE_BYTES:
                return None
            self._unread += more
        line, _, self._unread = self._unread.partition(b"\n")
        message = json.loads(line)
        return message if isinstance(message, dict) else None

    def request(self, op: str, tell: Callable[[str], None] = lambda _text: None, **values: Any) -> dict[str, Any]:
        """Ask the supervisor for something and wait until it is done.

        Args:
            tell: Is given each piece of progress.

        Raises:
            NodewiseError: What the supervisor answered.
            ClusterLostError: It went away instead of answering.
        """
        self.send({"op": op, **values})
        return self.answer(tell)

    def answer(self, tell: Callable[[str], None] = lambda _text: None) -> dict[str, Any]:
        """Wait for the answer to what was asked before; see :meth:`request`."""
        while True:
            message = self.receive()
            if message is None:
                raise ClusterLostError(
                    "the cluster's supervisor is gone", hint="`nodewise clusters list --all` has the reason"
                )
            if "progress" in message:
                tell(message["progress"])
            elif message.get("ok"):
                return message
            else:
                raise error_from_json(message["error"])

    def close(self) -> None:
        # Another thread may be reading: shutdown wakes it, close alone would not.
        with suppress(OSError):
            self._connection.shutdown(socket.SHUT_RDWR)
        self._connection.close()


def connect(path: Path) -> Channel | None:
    """A connection to the supervisor that listens there; None if nobody does."""
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        connection.connect(str(path))
    except OSError:
        connection.close()
        return None
    return Channel(connection)


def is_same_user(connection: socket.socket) -> bool:
    """Whether the process at the other end is this user's; where the system does not tell, the folder's mode does."""
    if not hasattr(socket, "SO_PEERCRED"):
        return True
    size = struct.calcsize("3i")
    _pid, uid, _gid = struct.unpack("3i", connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, size))
    return bool(uid == os.getuid())
