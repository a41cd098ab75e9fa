"""The command ``nodewise``: its sub-commands, and what becomes of errors and signals.

What a command needs is imported inside it, so that ``--help`` answers at once.
"""

from __future__ import annotations

import os
import select
import signal
import sys
import traceback
from contextlib import suppress
from importlib.metadata import version
from types import FrameType
from typing import Annotated, Any

import typer
import typer.main

from nodewise.cli import (
    advise,
    clean,
    clusters,
    compare,
    costs,
    data,
    datasets,
    doctor,
    eventlog,
    forecast,
    jobs,
    models,
    nodes,
    run,
    runs,
    speedtest,
)
from nodewise.cli.options import DebugOption
from nodewise.cli.output import emit_error, say
from nodewise.core.errors import NodewiseError, PreflightError
from nodewise.core.secrets import redact, secret_values

__all__ = ["app", "main"]

app = typer.Typer(add_completion=False, rich_markup_mode=None, invoke_without_command=True)
app.command(epilog="Example: nodewise demo")(compare.demo)
app.command(epilog="Example: nodewise compare examples/cifar10.yaml --repeat 3")(compare.compare)
app.command(
    epilog="Example: nodewise advise examples/cifar10.yaml --node-type Standard_DS3_v2 --node-type Standard_DS4_v2 "
    "--nodes 1,2,4"
)(advise.advise)
app.command(epilog="Example: nodewise forecast flowers --nodes 1,2,4,8,16 --report forecast.html")(forecast.forecast)
app.command(epilog="Example: nodewise prepare photos/ shards/ --size 192 --engine spark --nodes 5")(jobs.prepare)
app.command(epilog="Example: nodewise train shards/ --epochs 10 --engine ray --nodes 5 -o model.safetensors")(
    jobs.train
)
app.command(epilog="Example: nodewise score shards/ --model model.safetensors --split all")(jobs.score)
app.command(epilog="Example: nodewise speedtest photos/ shards/ --reader nodewise --reader tf.data --cold")(
    speedtest.speedtest
)
app.command(epilog="Example: nodewise run --engine spark --nodes 2 -- python script.py --rows 1000")(run.run)
app.command(epilog="Example: nodewise import-eventlog application_1751493828576_0001.zstd")(eventlog.import_eventlog)
app.command(epilog="Example: nodewise doctor --json doctor.json")(doctor.doctor)
app.command(epilog="Example: nodewise clean --runs --older-than 90d")(clean.clean)
app.add_typer(clusters.app, name="clusters")
app.add_typer(costs.app, name="costs")
app.add_typer(nodes.app, name="nodes")
app.add_typer(datasets.app, name="datasets")
app.add_typer(data.app, name="data")
app.add_typer(models.app, name="models")
app.add_typer(runs.app, name="runs")


@app.callback(epilog="Example: nodewise demo")
def nodewise(
    ctx: typer.Context,
    workspace: Annotated[  # noqa: ARG001 - read by the same option of the sub-commands
        str | None,
        typer.Option(
            metavar="FOLDER",
            help="Where runs are kept; ./.nodewise unless NODEWISE_WORKSPACE says otherwise.",
            show_default=False,
        ),
    ] = None,
    _debug: DebugOption = False,
    show_version: Annotated[bool, typer.Option("--version", help="Show the version and exit.")] = False,
) -> None:
    """Which cluster should this data or ML job run on, and is it worth it? Measured, not guessed."""
    if show_version:
        print(f"nodewise {version('nodewise')}")
        raise typer.Exit
    if ctx.invoked_subcommand is None:
        print(ctx.get_help())


def main() -> None:
    """Run the command line and leave with its exit status.

    0 done; 1 the run failed; 2 the request is wrong, nothing was started; 70 a bug in nodewise; 130, 143, 129 ended by
    Ctrl-C, SIGTERM, SIGHUP; 141 the reader of standard output left.
    """
    # Names of files need not be valid text; they are shown with escapes then.
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]
    _unwind_on(signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    sys.exit(_run(sys.argv[1:]))


# Typer exports BadParameter only; its base is what every fault in the arguments derives from.
_UsageError: type[Exception] = typer.BadParameter.__bases__[0]


class _Signalled(SystemExit):
    """A signal asked the process to end: 128 + its number, as a shell reports it."""


def _unwind_on(*signals: signal.Signals) -> None:
    """Turn these signals into an exception, so that whatever was started is stopped on the way out."""

    def leave(number: int, _frame: FrameType | None) -> None:
        # Once: a second signal would cut off the cleaning up that the first has begun, or the exit after it.
        for other in signals:
            signal.signal(other, signal.SIG_IGN)
        raise KeyboardInterrupt if number == signal.SIGINT else _Signalled(128 + number)

    for number in signals:
        # What the parent process chose to ignore (nohup) stays ignored.
        if signal.getsignal(number) in (signal.SIG_DFL, signal.default_int_handler):
            signal.signal(number, leave)


def _run(given: list[str]) -> int:
    command = typer.main.get_command(app)
    arguments = _with_json_path(given)
    try:
        # Not command.main(): it would report errors in a way of its own.
        with command.make_context("nodewise", list(arguments)) as context:
            command.invoke(context)
        sys.stdout.flush()
    except typer.Exit as request:
        return request.exit_code
    except BaseException as error:
        if isinstance(error, SystemExit) and not isinstance(error, _Signalled):
            raise
        if isinstance(error, BrokenPipeError) and _reader_has_left():
            # Python would flush once more on its way out, and complain.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return 141
        return _report(error, command, arguments)
    return 0


def _report(error: BaseException, command: Any, arguments: list[str]) -> int:
    """Tell people and programs what went wrong; the exit status."""
    # After -- nothing is an option.
    options = arguments[: arguments.index("--")] if "--" in arguments else arguments
    name = _name(command, arguments)
    exit_code, facts = _describe(error, name)
    facts |= {key: _clean(text) for key, text in facts.items() if isinstance(text, str)}
    with suppress(OSError):
        if "--debug" in options:
            traceback.print_exception(error)
            print(getattr(error, "detail", ""), end="", file=sys.stderr)
        if isinstance(error, PreflightError):
            _say_findings(error)
        else:
            say(f"error: {facts['message']}")
            if facts["hint"]:
                say(f"hint: {facts['hint']}")
    try:
        emit_error(name, facts, _json_path(options))
        sys.stdout.flush()
    except (NodewiseError, OSError) as failure:
        if str(failure) != facts["message"]:
            say(f"error: {failure}")
    return exit_code


def _clean(text: str) -> str:
    return redact(text, known=secret_values(os.environ))


def _say_findings(error: PreflightError) -> None:
    """One error as any other one; several in a list, each with its remedy. What is only a warning comes last."""
    errors = [finding for finding in error.findings if finding.level == "error"]
    if len(errors) == 1:
        say(_clean(f"error: {error.message}"))
        if error.hint:
            say(_clean(f"hint: {error.hint}"))
    else:
        say(f"error: {error.headline}")
    warnings = [finding for finding in error.findings if finding.level != "error"]
    for mark, findings in (("-", errors if len(errors) > 1 else []), ("warning:", warnings)):
        for finding in findings:
            remedy = f"; {finding.remedy}" if finding.remedy else ""
            say(_clean(f"{mark} {finding.text}{remedy}"))


def _describe(error: BaseException, command: str) -> tuple[int, dict[str, str | None]]:
    if isinstance(error, NodewiseError):
        return error.exit_code, error.to_json()
    if isinstance(error, _UsageError):
        message = error.format_message()  # type: ignore[attr-defined]
        hint = f"`{' '.join(filter(None, ('nodewise', command)))} --help` shows what there is"
        return 2, {"code": "usage", "message": message, "hint": hint}
    if isinstance(error, _Signalled):
        return int(str(error.code)), {"code": "interrupted", "message": "ended by a signal", "hint": None}
    if isinstance(error, KeyboardInterrupt | typer.Abort):
        return 130, {"code": "interrupted", "message": "interrupted", "hint": None}
    hint = "this is a bug in nodewise; run it again with --debug to see where"
    return 70, {"code": "internal", "message": f"internal error: {type(error).__name__}: {error}", "hint": hint}


def _name(command: Any, arguments: list[str]) -> str:
    """``runs list``: known also when the arguments could not be parsed."""
    names = []
    for argument in arguments:
        if argument in getattr(command, "commands", {}):
            command = command.commands[argument]
            names.append(argument)
    return " ".join(names)


def _with_json_path(arguments: list[str]) -> list[str]:
    """``--json`` with no file after it is standard output."""
    options = arguments[: arguments.index("--")] if "--" in arguments else arguments
    completed = []
    for index, argument in enumerate(options):
        completed.append(argument)
        after = options[index + 1] if index + 1 < len(options) else "--"
        if argument == "--json" and after.startswith("-") and after != "-":
            completed.append("-")
    return completed + arguments[len(options) :]


def _json_path(arguments: list[str]) -> str | None:
    """The value of ``--json``: known also when the arguments could not be parsed."""
    for index, argument in enumerate(arguments):
        if argument.startswith("--json="):
            return argument.removeprefix("--json=")
        if argument == "--json" and index + 1 < len(arguments):
            return arguments[index + 1]
    return None


def _reader_has_left() -> bool:
    poll = select.poll()
    poll.register(sys.stdout.fileno(), select.POLLOUT)
    return any(events & select.POLLERR for _, events in poll.poll(0))
