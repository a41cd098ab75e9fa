"""Control groups of both versions: which are taken, and what is written where.

Version 2 is tried on the kernel's own tree as far as its controllers are free, else on folders with the same files.
"""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from nodewise.core.errors import InputError
from nodewise.isolation import groups
from nodewise.isolation.hierarchies import Hierarchy, claim, clusters_in, find_hierarchies, make_node, release

V2_FILES = ("cpu.max", "memory.max", "memory.swap.max", "memory.oom.group")


def mounts(*lines: str) -> str:
    return "".join(f"30 23 0:28 / {line}\n" for line in lines)


def v2_tree(root: Path, controllers: str) -> Hierarchy:
    root.mkdir()
    (root / "cgroup.controllers").write_text(f"{controllers}\n")
    (found,) = find_hierarchies(mounts(f"{root} rw shared:4 - cgroup2 cgroup2 rw,nsdelegate"))
    return found


def test_with_cpu_and_memory_in_version_2_it_is_the_only_one(tmp_path: Path) -> None:
    root = tmp_path / "cgroup"
    found = v2_tree(root, "cpuset cpu io memory hugetlb pids")
    assert found == Hierarchy(version=2, root=root, controllers=frozenset({"cpu", "io", "memory"}))
    named = "/sys/fs/cgroup/systemd rw - cgroup cgroup rw,xattr,name=systemd"
    assert find_hierarchies(mounts(named, f"{root} rw - cgroup2 none rw")) == (found,)


def test_in_version_1_each_controller_is_where_it_is_mounted(tmp_path: Path) -> None:
    (tmp_path / "cgroup.controllers").write_text("hugetlb\n")
    found = find_hierarchies(
        mounts(
            "/sys/fs/cgroup rw - tmpfs tmpfs rw,mode=755",
            "/sys/fs/cgroup/cpu,cpuacct rw,relatime shared:9 - cgroup cgroup rw,cpu,cpuacct",
            "/mnt/again rw,relatime - cgroup cgroup rw,cpu,cpuacct",
            "/sys/fs/cgroup/memory rw - cgroup cgroup rw,memory",
            "/sys/fs/cgroup/devices rw - cgroup cgroup rw,devices",
            f"{tmp_path} rw - cgroup2 cgroup2 rw",
        )
    )
    assert [(hierarchy.version, str(hierarchy.root)) for hierarchy in found] == [
        (1, "/sys/fs/cgroup/cpu,cpuacct"),
        (1, "/sys/fs/cgroup/memory"),
    ]
    assert found[0].controllers == {"cpu", "cpuacct"}


def test_controllers_may_be_split_between_the_versions(tmp_path: Path) -> None:
    (tmp_path / "cgroup.controllers").write_text("memory\n")
    text = mounts("/sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu", f"{tmp_path} rw - cgroup2 cgroup2 rw")
    assert [hierarchy.version for hierarchy in find_hierarchies(text)] == [1, 2]
    assert find_hierarchies("") == ()


def test_version_2_enables_controllers_from_the_root_down(tmp_path: Path) -> None:
    hierarchy = v2_tree(tmp_path / "cgroup", "cpu memory")
    claim([hierarchy], "c1")
    folders = [hierarchy.root, hierarchy.root / "nodewise", hierarchy.root / "nodewise/c1"]
    # A plain file holds what was written last.
    assert [(folder / "cgroup.subtree_control").read_text() for folder in folders] == ["+memory"] * 3
    assert make_node([hierarchy], "c1", "node-0") == (str(folders[2] / "node-0"),)
    assert not (folders[2] / "node-0/cgroup.subtree_control").exists()
    assert clusters_in([hierarchy]) == [("c1", str(folders[2]))]
    with pytest.raises(InputError, match="cluster 'c1' has control groups already"):
        claim([hierarchy], "c1")


@pytest.mark.parametrize(
    ("cpus", "written"),
    [
        (0.25, "5000 20000"),
        (1.5, "30000 20000"),
        (0.05, "1000 20000"),
        (0.01, "1000 100000"),  # the kernel takes no quota below 1 ms
        (0.001, "1000 1000000"),  # and no period above 1 s
        (None, "max 20000"),
    ],
)
def test_cpu_shares_of_version_2(tmp_path: Path, cpus: float | None, written: str) -> None:
    (tmp_path / "cpu.max").touch()
    groups.set_cpus([str(tmp_path)], cpus)
    assert (tmp_path / "cpu.max").read_text() == written


def test_cpu_shares_of_version_1(tmp_path: Path) -> None:
    (tmp_path / "cpu.cfs_quota_us").touch()
    groups.set_cpus([str(tmp_path)], 0.25)
    assert (tmp_path / "cpu.cfs_quota_us").read_text() == "5000"
    assert (tmp_path / "cpu.cfs_period_us").read_text() == "20000"
    groups.set_cpus([str(tmp_path)], None)
    assert (tmp_path / "cpu.cfs_quota_us").read_text() == "-1"


def test_swap_does_not_defeat_the_memory_limit(tmp_path: Path) -> None:
    first, second = tmp_path / "v1", tmp_path / "v2"
    names = {first: ("memory.limit_in_bytes", "memory.memsw.limit_in_bytes", "memory.swappiness"), second: V2_FILES}
    for folder, files in names.items():
        folder.mkdir()
        for name in files:
            (folder / name).touch()
        groups.set_memory([str(folder)], 2**26)
    assert [(first / name).read_text() for name in names[first]] == ["67108864", "67108864", "0"]
    assert [(second / name).read_text() for name in V2_FILES] == ["", "67108864", "0", "0"]


def test_a_kernel_that_does_not_count_swap_is_no_error(tmp_path: Path) -> None:
    (tmp_path / "memory.max").touch()
    groups.set_memory([str(tmp_path)], 2**26)
    assert [path.name for path in tmp_path.iterdir()] == ["memory.max"]


def test_kills_at_the_memory_limit_are_read_from_either_version(tmp_path: Path) -> None:
    assert groups.memory_kills([str(tmp_path)]) == 0
    (tmp_path / "memory.oom_control").write_text("oom_kill_disable 0\nunder_oom 0\noom_kill 3\n")
    assert groups.memory_kills([str(tmp_path / "absent"), str(tmp_path)]) == 3
    (tmp_path / "memory.events").write_text("low 0\nhigh 0\nmax 12\noom 2\noom_kill 2\noom_group_kill 0\n")
    assert groups.memory_kills([str(tmp_path)]) == 2


def test_processes_of_another_process_namespace_are_left_alone(tmp_path: Path) -> None:
    (tmp_path / "cgroup.procs").write_text("0\n12\n7\n")
    assert groups.processes([str(tmp_path)]) == [7, 12]


# The kernel's own version 2.


def sleeper(folder: str | Path) -> subprocess.Popen[bytes]:
    process = subprocess.Popen(["sleep", "600"])
    Path(folder, "cgroup.procs").write_text(str(process.pid))
    return process


def test_version_2_kills_and_removes_what_is_in_a_node(kernel_v2: Hierarchy) -> None:
    claim([kernel_v2], "c1")
    (folder,) = make_node([kernel_v2], "c1", "node-0")
    Path(folder, "inner").mkdir()
    processes = [sleeper(folder), sleeper(Path(folder, "inner"))]
    assert groups.processes([folder]) == sorted(process.pid for process in processes)
    release([kernel_v2], "c1")
    assert [process.wait(10) for process in processes] == [-9, -9]
    assert not (kernel_v2.root / "nodewise").exists()


def test_version_2_moves_processes_out_of_the_way_of_controllers(kernel_v2: Hierarchy) -> None:
    process = sleeper(kernel_v2.root)
    try:
        claim([kernel_v2], "c1")
        assert (kernel_v2.root / "cgroup.procs").read_text() == ""
        assert (kernel_v2.root / "nodewise-rest/cgroup.procs").read_text().split() == [str(process.pid)]
        on = (kernel_v2.root / "nodewise/c1/cgroup.subtree_control").read_text().split()
        assert frozenset(on) == kernel_v2.controllers
        release([kernel_v2], "c1")
        assert process.poll() is None
    finally:
        process.kill()
        process.wait()
