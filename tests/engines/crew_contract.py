"""What every engine promises of crews; a test class per engine inherits these tests."""

from __future__ import annotations

import os
import random
import signal
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from nodewise.core.errors import InputError, JobFailedError, WorkerLostError
from nodewise.engines.base import MAX_TASK_FAILURES, Engine, TaskResult

from . import tasks

__all__ = [
    "CrewContract",
    "await_end",
    "await_members",
    "is_alive",
    "kill_and_await",
    "meanwhile",
    "meeting",
    "members_per_node",
    "processes_of",
]

SIZE = 3


class CrewContract:
    """For an engine of three nodes with one core each."""

    def test_every_node_has_one_member_that_knows_its_place(self, engine: Engine, tmp_path: Path) -> None:
        hosts = {result.record.node: result.value for result in engine.gang("hosts", tasks.gang_hosts, None)}
        results = meeting(engine, tmp_path)
        members = [result.value[0] for result in results]
        assert [member.rank for member in members] == [result.index for result in results] == [0, 1, 2]
        assert {(member.world_size, member.threads, member.attempt) for member in members} == {(SIZE, 1, 0)}
        assert {result.record.node: result.value[0].host for result in results} == hosts
        assert {(result.record.stage, result.record.retries) for result in results} == {("meet", 0)}

    def test_a_killed_member_comes_back_while_the_others_go_on(
        self, engine: Engine, tmp_path: Path, repetitions: int
    ) -> None:
        for number in range(repetitions):
            folder = tmp_path / str(number)
            folder.mkdir()
            chance = random.Random(number)
            victim, delay_s = chance.randrange(SIZE), chance.uniform(0, 0.5)
            with meanwhile(lambda to=folder, rank=victim, s=delay_s: kill_and_await(to, rank, s)):
                results = list(engine.crew("go on", tasks.crew_goes_on, (str(folder), "goes on")))
            attempts = {result.index: result.value for result in results}
            assert attempts == {rank: int(rank == victim) for rank in range(SIZE)}
            assert {result.index: result.record.retries for result in results} == attempts
            assert [len(processes_of(folder, rank)) for rank in range(SIZE)] == [1 + attempts[n] for n in range(SIZE)]

    @pytest.mark.slow("spark", "ray")
    def test_a_member_that_always_dies_ends_the_crew(self, engine: Engine, tmp_path: Path) -> None:
        with pytest.raises(WorkerLostError) as caught:
            list(engine.crew("die", tasks.crew_goes_on, (str(tmp_path), "dies")))
        assert "\n" not in caught.value.message
        assert len(processes_of(tmp_path, 1)) == MAX_TASK_FAILURES
        await_end(tmp_path)

    def test_a_member_that_raises_ends_the_crew(self, engine: Engine, tmp_path: Path) -> None:
        with pytest.raises(JobFailedError, match="ZeroDivisionError: rank 1 fails"):
            list(engine.crew("fail", tasks.crew_goes_on, (str(tmp_path), "raises")))
        # The process of the one that raised may be kept for another task.
        await_end(tmp_path, 0, 2)
        (folder := tmp_path / "after").mkdir()
        assert len(meeting(engine, folder)) == SIZE

    def test_results_come_as_members_end_and_closing_ends_the_others(self, engine: Engine, tmp_path: Path) -> None:
        results = engine.crew("close", tasks.crew_goes_on, (str(tmp_path), "answers"))
        assert next(results).index == 1
        assert all(is_alive(*processes_of(tmp_path, rank)) for rank in (0, 2))
        results.close()
        await_end(tmp_path, 0, 2)

    def test_ctrl_c_ends_all_members(self, engine: Engine, tmp_path: Path) -> None:
        def interrupt() -> None:
            await_members(tmp_path)
            os.kill(os.getpid(), signal.SIGINT)

        with meanwhile(interrupt), pytest.raises(KeyboardInterrupt):
            list(engine.crew("interrupt", tasks.crew_goes_on, (str(tmp_path), "goes on")))
        await_end(tmp_path)

    def test_no_member_per_node_is_refused(self, engine: Engine) -> None:
        with pytest.raises(InputError, match="0 members per node"):
            engine.crew("none", tasks.crew_meets, "", 0)


def meeting(engine: Engine, folder: Path, members_per_node: int = 1) -> list[TaskResult]:
    """The results of a crew whose members all ran at the same time, in order of rank."""
    results = engine.crew("meet", tasks.crew_meets, str(folder), members_per_node)
    return sorted(results, key=lambda result: result.index)


def members_per_node(results: list[TaskResult]) -> Counter[str]:
    """How many members each node had."""
    return Counter(result.record.node for result in results)


def processes_of(folder: Path, rank: int) -> list[int]:
    """The processes that a member of ``crew_goes_on`` has had, in order."""
    path = folder / f"member-{rank}"
    return list(dict.fromkeys(map(int, path.read_text().split()))) if path.exists() else []


def is_alive(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def await_end(folder: Path, *ranks: int) -> None:
    """Wait until no process of these members, or of any, is there; left alone they would go on for ever."""
    pids = [pid for rank in ranks or range(SIZE) for pid in processes_of(folder, rank)]
    tasks.wait_until(lambda: not any(map(is_alive, pids)))


def await_members(folder: Path, size: int = SIZE) -> None:
    tasks.wait_until(lambda: all(processes_of(folder, rank) for rank in range(size)))


def kill_and_await(folder: Path, rank: int, delay_s: float, size: int = SIZE) -> None:
    """Kill a member some time after all are there; when another process has taken its place, it is enough."""
    await_members(folder, size)
    threading.Event().wait(delay_s)
    os.kill(processes_of(folder, rank)[-1], signal.SIGKILL)
    tasks.wait_until(lambda: len(processes_of(folder, rank)) == 2)
    (folder / "enough").touch()


@contextmanager
def meanwhile(act: Callable[[], None]) -> Iterator[None]:
    """Do something in a thread while the block runs."""
    thread = threading.Thread(target=act)
    thread.start()
    try:
        yield
    finally:
        thread.join()
