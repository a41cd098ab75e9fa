"""What commands write: tables for people on standard output, one JSON object for programs."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nodewise.core.errors import NodewiseError
from nodewise.core.files import write_atomic

if TYPE_CHECKING:
    from rich.console import Console, RenderableType

__all__ = ["console", "emit", "emit_error", "one_line", "say", "show"]


def emit(command: str, result: Any, json_path: str | None, error: NodewiseError | None = None) -> None:
    """Write ``{"ok": true, "error": null, "command", "result"}``, if ``--json`` asks for it.

    Args:
        command: Name of the command without ``nodewise``: ``runs list``.
        result: Anything that ``specs.codec.to_json`` takes.
        json_path: A file, which is written whole or not at all; ``-`` for standard output; None for nothing.
        error: What went wrong although there is a result; ``ok`` is then false.

    Raises:
        NodewiseError: The file cannot be written.
    """
    if json_path is not None:
        from nodewise.specs.codec import to_json

        facts = error.to_json() if error else None
        _write({"ok": error is None, "error": facts, "command": command, "result": to_json(result)}, json_path)


def emit_error(command: str, error: dict[str, str | None], json_path: str | None) -> None:
    """Write ``{"ok": false, "error": {code, message, hint}, "command", "result": null}``, if ``--json`` asks for it."""
    if json_path is not None:
        _write({"ok": False, "error": error, "command": command, "result": None}, json_path)


def _write(value: dict[str, Any], json_path: str) -> None:
    text = json.dumps(value, indent=2) + "\n"
    path = Path(json_path)
    if json_path == "-":
        sys.stdout.write(text)
        return
    try:
        if path.exists() and not path.is_file():
            # A pipe or a device, such as /dev/null, must be written to and never replaced.
            path.write_text(text, encoding="utf-8")
        else:
            write_atomic(path.resolve(), text)
    except OSError as error:
        raise NodewiseError(f"--json {path} cannot be written: {error.strerror}") from None


def console(*, stderr: bool = False) -> Console:
    """A console that shows text as it is: no markup, no emoji, no highlighting of what users named."""
    from rich.console import Console

    class PlainConsole(Console):
        def on_broken_pipe(self) -> None:
            # rich would end the process; whether that is right is for the caller to say.
            raise BrokenPipeError

    return PlainConsole(stderr=stderr, markup=False, emoji=False, highlight=False)


def show(content: RenderableType, json_path: str | None) -> None:
    """Print to standard output for people, unless the JSON object goes there."""
    if json_path != "-":
        console().print(content)


def say(message: str) -> None:
    """One line on standard error."""
    print(one_line(message), file=sys.stderr)


def one_line(text: str) -> str:
    r"""The text with what is not printable written out (``\n``, ``\x1b``): no name can break or colour the line."""
    return "".join(char if char.isprintable() else ascii(char)[1:-1] for char in text)
