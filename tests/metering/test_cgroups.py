"""Files as the kernel writes them, and a real group where this process may make one."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from nodewise.metering.cgroups import GroupCounters, GroupTotals
from nodewise.metering.sampler import Sampler
from nodewise.specs.place import NodePlace

ROOT = Path("/sys/fs/cgroup")
CONTROLLERS = ("cpu", "cpuacct", "memory", "blkio")


def write(folder: Path, **files: str) -> None:
    folder.mkdir(exist_ok=True)
    for name, text in files.items():
        (folder / name.replace("__", ".")).write_text(text)


def test_version_2_is_read_from_one_folder(tmp_path: Path) -> None:
    write(
        tmp_path / "node",
        cgroup__procs="12\n13\n",
        cpu__stat="usage_usec 2500000\nuser_usec 2000000\nsystem_usec 500000\nnr_throttled 3\nthrottled_usec 750000\n",
        memory__current="1000000\n",
        memory__stat="anon 700000\nfile 300000\ninactive_file 200000\n",
        memory__events="low 0\nhigh 0\nmax 4\noom 2\noom_kill 2\n",
        io__stat="8:0 rbytes=1000 wbytes=200 rios=3 wios=1 dbytes=0 dios=0\n8:16 rbytes=10 wbytes=2 rios=1 wios=1\n",
    )
    group = GroupCounters([str(tmp_path / "node")])
    assert group.read() == GroupTotals(
        cpu_s=2.5, throttled_s=0.75, memory_bytes=800_000, read_bytes=1010, written_bytes=202, memory_kills=2
    )
    assert group.pids() == [12, 13]
    group.close()


def test_version_1_is_read_from_a_folder_per_controller(tmp_path: Path) -> None:
    write(tmp_path / "cpu", cpu__stat="nr_periods 10\nnr_throttled 5\nthrottled_time 1500000000\n")
    write(tmp_path / "cpuacct", cpuacct__usage="4250000000\n")
    write(
        tmp_path / "memory",
        memory__usage_in_bytes="5000\n",
        memory__stat="cache 9\ninactive_file 1\ntotal_inactive_file 2000\n",
        memory__oom_control="oom_kill_disable 0\nunder_oom 0\noom_kill 1\n",
    )
    write(
        tmp_path / "blkio",
        blkio__throttle__io_service_bytes_recursive="8:0 Read 300\n8:0 Write 20\n8:16 Read 1\nTotal 321\n",
    )
    group = GroupCounters([str(tmp_path / name) for name in CONTROLLERS])
    assert group.read() == GroupTotals(
        cpu_s=4.25, throttled_s=1.5, memory_bytes=3000, read_bytes=301, written_bytes=20, memory_kills=1
    )
    group.close()


def test_what_a_group_does_not_count_is_not_known(tmp_path: Path) -> None:
    write(tmp_path / "cpu", cpu__stat="nr_periods 0\nnr_throttled 0\nthrottled_time 0\n")
    group = GroupCounters([str(tmp_path / "cpu")])
    assert group.read() == GroupTotals(
        cpu_s=None, throttled_s=0.0, memory_bytes=None, read_bytes=None, written_bytes=None, memory_kills=0
    )
    group.close()


@pytest.fixture
def folders() -> Iterator[list[Path]]:
    """A real group of version 1, empty; removed afterwards."""
    made: list[Path] = []
    try:
        for controller in CONTROLLERS:
            folder = ROOT / controller / "nodewise-test-counters"
            folder.mkdir()
            made.append(folder)
    except OSError as error:
        for folder in made:
            folder.rmdir()
        pytest.skip(f"no control groups of version 1 can be made here: {error.strerror}")
    yield made
    for folder in made:
        if folder.exists():
            folder.rmdir()


def test_a_real_group_counts_a_known_burn(folders: list[Path]) -> None:
    enter = "".join(f"open('{folder}/cgroup.procs', 'w').write(str(os.getpid()));" for folder in folders)
    code = (
        f"import os, time; {enter} end = time.process_time() + 0.5\n"
        "while time.process_time() < end: pass\n"
        "print(time.process_time())"
    )
    group = GroupCounters([str(folder) for folder in folders])
    before = group.read()
    child = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    after = group.read()
    assert before.cpu_s is not None
    assert after.cpu_s is not None
    # The interpreter's own start came before it entered the group.
    assert 0.5 <= after.cpu_s - before.cpu_s <= float(child.stdout) * 1.05
    assert (after.throttled_s, after.memory_kills) == (0.0, 0)
    group.close()


def test_a_node_in_a_group_is_told_apart_from_the_driver_that_started_it(folders: list[Path]) -> None:
    enter = "".join(f"open('{folder}/cgroup.procs', 'w').write(str(os.getpid()));" for folder in folders)
    code = f"import os, time; {enter} end = time.process_time() + 0.5\nwhile time.process_time() < end: pass"
    node = NodePlace(name="node-0", host="127.0.0.1", cgroup_dirs=tuple(map(str, folders)))
    sampler = Sampler([NodePlace(name="driver", host="127.0.0.1", pids=(os.getpid(),)), node], interval_s=0.05)
    sampler.start()
    subprocess.run([sys.executable, "-S", "-E", "-c", code], check=True)
    used = {"driver": 0.0, "node-0": 0.0, "machine": 0.0}
    for sample in sampler.stop():
        used[sample.node] += sample.cpu_cores * sample.interval_s
    assert used["node-0"] == pytest.approx(0.5, abs=0.1)
    # Its own, and the start of the process before that entered the group.
    assert used["driver"] <= 0.25


def test_a_group_that_is_gone_raises(folders: list[Path]) -> None:
    group = GroupCounters([str(folder) for folder in folders])
    for folder in folders:
        folder.rmdir()
    with pytest.raises(OSError, match="No such device"):
        group.read()
    group.close()
