"""What the tests have engines run: functions that answer, wait, burn, fail and die.

Partitions and payloads are plain values; processes tell each other things through files in a folder.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
import time
import uuid
from importlib import import_module
from pathlib import Path
from typing import Any, NoReturn

from nodewise.core.errors import SpecError, WorkerLostError
from nodewise.metering.meter import TaskMeter
from nodewise.specs.crew import CrewContext
from nodewise.specs.gang import GangContext

WAIT_S = 60.0


def carry_by_value() -> None:
    """Have every engine send these functions themselves, since its workers cannot import this module."""
    for name in ("cloudpickle", "pyspark.cloudpickle", "ray.cloudpickle"):
        import_module(name).register_pickle_by_value(sys.modules[__name__])


def die() -> NoReturn:
    """End this process at once, as the kernel does when memory runs out."""
    os.kill(os.getpid(), signal.SIGKILL)
    raise AssertionError("unreachable")


def mark(folder: str) -> None:
    """Leave a file that says that this was reached."""
    (Path(folder) / uuid.uuid4().hex).touch()


def wait_until(condition: Any) -> None:
    """Wait for other processes."""
    deadline = time.monotonic() + WAIT_S
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError("what the task waits for did not come")
        time.sleep(0.01)


def square(number: int, _meter: TaskMeter) -> int:
    return number * number


def sleep(seconds: float, _meter: TaskMeter) -> float:
    time.sleep(seconds)
    return seconds


def look(partition: tuple[str, str], _meter: TaskMeter) -> tuple[Any, str, dict[str, str]]:
    """An attribute of a module, the interpreter, and the variables of the process."""
    module, name = partition
    return getattr(import_module(module), name), sys.executable, dict(os.environ)


def allocate(partition: tuple[int, int, str], _meter: TaskMeter) -> int:
    """Fill so many bytes of memory, the first ``times`` times that it is tried; ``folder`` keeps count."""
    num_bytes, times, folder = partition
    if len(list(Path(folder).iterdir())) < times:
        mark(folder)
        # Written to: what is only asked for takes no memory.
        return len(b"x" * num_bytes)
    return 0


def first_at_once(partition: tuple[int, str], _meter: TaskMeter) -> int:
    """Number 0 answers at once, the others when the file is there."""
    number, path = partition
    if number:
        wait_until(Path(path).exists)
    return number


def meet(partition: tuple[int, int, str], _meter: TaskMeter) -> int:
    """Answer when as many tasks run at the same time as are expected."""
    number, expected, folder = partition
    (Path(folder) / str(number)).touch()
    wait_until(lambda: len(os.listdir(folder)) == expected)
    return number


def burn(cpu_s: float, meter: TaskMeter) -> None:
    """Use CPU time, with 32 MiB at hand."""
    block = bytearray(32 * 2**20)
    end = time.process_time() + cpu_s
    while time.process_time() < end:
        block[0] += 1 if block[0] < 255 else -255
    meter.count(records=2, read_bytes=100)
    meter.count(records=1, read_bytes=11, written_bytes=7)


def fail_on_one(partition: tuple[int, str], _meter: TaskMeter) -> int:
    """Number 1 raises."""
    number, folder = partition
    if number == 1:
        mark(folder)
        raise ZeroDivisionError("number 1 fails")  # the line that JobFailedError names
    return number


def refuse(_partition: None, _meter: TaskMeter) -> NoReturn:
    raise SpecError("no such colour: 'bleu'", hint="did you mean 'blue'?")


def die_once_on_two(partition: tuple[int, str], _meter: TaskMeter) -> int:
    """Number 2 dies the first time."""
    number, folder = partition
    if number == 2 and not os.listdir(folder):
        mark(folder)
        die()
    return number * 10


def die_always(folder: str, _meter: TaskMeter) -> NoReturn:
    mark(folder)
    die()


def process_id(_partition: None, _meter: TaskMeter) -> int:
    return os.getpid()


def die_when_told(partition: tuple[int, str], _meter: TaskMeter) -> int:
    """Number 0 answers at once, number 1 dies once when the file ``die`` is there, the others take a while."""
    number, marker = partition[0], Path(partition[1])
    if number == 1 and not marker.exists():
        wait_until((marker.parent / "die").exists)
        marker.write_text(str(os.getpid()))
        die()
    if number:
        time.sleep(0.2)
    return number


class DiesAfterwards:
    """A job's task that does its work once, is killed before it can report, and reports when it is tried again."""

    def __init__(self, task: Any, marker: Path) -> None:
        self._task = task
        self._marker = marker

    def __call__(self, partition: Any, meter: TaskMeter) -> Any:
        outcome = self._task(partition, meter)
        die_once(self._marker)
        return outcome


def die_once(marker: Path) -> None:
    """Die, unless some process has done so for this marker."""
    try:
        marker.open("x").close()
    except FileExistsError:
        return
    die()


def grow(size: int, _meter: TaskMeter) -> int:
    """Keep so many bytes for the life of the process, and stay long enough for that to be noticed."""
    vars(sys.modules["builtins"]).setdefault("kept_by_tests", []).append(bytearray(b"x") * size)
    time.sleep(1.1)
    return size


def gather_twice(payload: str, _meter: TaskMeter, gang: GangContext) -> tuple[int, int, int, list[str], list[str]]:
    first = gang.all_gather(f"{payload} {gang.rank}")
    second = gang.all_gather(f"again {gang.rank}")
    return gang.rank, gang.world_size, gang.threads, first, second


def gang_dies_once(folder: str, _meter: TaskMeter, gang: GangContext) -> list[str]:
    """Rank 1 dies the first time, while the others wait for it."""
    gang.all_gather("here")
    if gang.rank == 1 and not os.listdir(folder):
        mark(folder)
        die()
    return gang.all_gather(f"rank {gang.rank}")


def gang_misses_rank_one(folder: str, _meter: TaskMeter, gang: GangContext) -> int:
    """Rank 1 dies the first time, but only after the others have given it up."""
    marker = Path(folder) / "died"
    gang.all_gather("here")
    if marker.exists():
        return gang.rank
    if gang.rank != 1:
        raise WorkerLostError(f"rank {gang.rank} misses rank 1")
    time.sleep(1)
    die_once(marker)
    return gang.rank


def gang_dies_always(folder: str, _meter: TaskMeter, gang: GangContext) -> list[str]:
    """Rank 0 dies every time."""
    if gang.rank == 0:
        mark(folder)
        die()
    return gang.all_gather("waiting")


def gang_fails(folder: str, _meter: TaskMeter, gang: GangContext) -> list[str]:
    """Rank 1 raises while the others wait for it."""
    if gang.rank == 1:
        mark(folder)
        raise ZeroDivisionError("rank 1 fails")
    return gang.all_gather("waiting")


class DiesInTraining:
    """The function of a training job, of which rank 1 is killed once, when the first epoch is over."""

    def __init__(self, function: Any, marker: Path) -> None:
        self._function = function
        self._marker = marker

    def __call__(self, payload: Any, meter: TaskMeter, gang: GangContext) -> Any:
        if gang.rank == 1 and not self._marker.exists():
            payload.epoch_log.unlink(missing_ok=True)
            threading.Thread(target=self._die_after_an_epoch, args=(payload.epoch_log,), daemon=True).start()
        return self._function(payload, meter, gang)

    def _die_after_an_epoch(self, epoch_log: Path) -> None:
        wait_until(lambda: epoch_log.exists() and bool(epoch_log.read_text()))
        die_once(self._marker)


def tell_epochs(payload: tuple[str, str], _meter: TaskMeter, gang: GangContext) -> int:
    """Write three epochs to a log; rank 0 writes the second when the first was noticed."""
    log, noticed = map(Path, payload)
    if gang.rank == 0:
        write_epochs(log, noticed)
    gang.all_gather("done")
    return gang.rank


def write_epochs(log: Path, noticed: Path) -> None:
    for epoch in range(1, 4):
        with log.open("a") as stream:
            values = {"epoch": epoch, "loss": 1 / epoch, "train_accuracy": 0.5, "test_accuracy": 0.25 * epoch}
            stream.write(json.dumps(values) + "\n")
        wait_until(noticed.exists)


def gang_hosts(_payload: None, _meter: TaskMeter, gang: GangContext) -> str:
    return gang.host


def crew_meets(folder: str, _meter: TaskMeter, member: CrewContext) -> tuple[CrewContext, str]:
    """Answer when all members run at the same time."""
    (Path(folder) / str(member.rank)).touch()
    wait_until(lambda: len(os.listdir(folder)) == member.world_size)
    return member, os.environ.get("OMP_NUM_THREADS", "")


def crew_goes_on(payload: tuple[str, str], _meter: TaskMeter, member: CrewContext) -> int:
    """Write down again and again which process this is, until there is a file ``enough``.

    When all have done so, rank 1 may do something else: die, raise or answer.
    """
    folder, rank_one = Path(payload[0]), payload[1]
    told = folder / f"member-{member.rank}"
    while not (folder / "enough").exists():
        with told.open("a") as stream:
            stream.write(f"{os.getpid()}\n")
        if member.rank == 1 and len(list(folder.glob("member-*"))) == member.world_size:
            if rank_one == "dies":
                mark(payload[0])
                die()
            if rank_one == "raises":
                raise ZeroDivisionError("rank 1 fails")
            if rank_one == "answers":
                break
        time.sleep(0.01)
    return member.attempt


def crew_tells_epochs(payload: tuple[str, str, str], _meter: TaskMeter, member: CrewContext) -> int:
    """As :func:`tell_epochs`, by rank 0 alone, while rank 1 dies once."""
    log, noticed, marker = payload
    if member.rank == 0:
        write_epochs(Path(log), Path(noticed))
    else:
        die_once(Path(marker))
    return member.attempt


def download(partition: tuple[str, int, int], meter: TaskMeter) -> int:
    """Ask a server for so many bytes and read them all."""
    import socket

    host, port, count = partition
    with socket.create_connection((host, port)) as connection:
        connection.sendall(str(count).encode())
        left = count
        while left and (piece := connection.recv(min(left, 65536))):
            left -= len(piece)
    meter.count(records=1, read_bytes=count - left)
    return count - left
