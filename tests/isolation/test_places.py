"""The places of nodes: their limits hold, nothing of them is left, what cannot be is refused."""

from __future__ import annotations

import dataclasses
import multiprocessing
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from nodewise.core.errors import InputError, MissingDependencyError, NodewiseError
from nodewise.core.machine import machine_cores
from nodewise.isolation.leftovers import leftovers
from nodewise.isolation.places import Isolation, command_in, enter, memory_kills, processes_in
from nodewise.isolation.tiers import detect_tier
from nodewise.specs.place import EmulationTier, NodeLimits, NodePlace

from .conftest import MakeCluster, StartIn, assert_held_to, bits_per_s, cores_used, require_tier

NAMESPACES, CGROUPS, PROCESSES = EmulationTier
FREE = NodeLimits()
BURN = "print('up')\nwhile True: pass"
SLEEP = "import time; print('up'); time.sleep(600)"
# Always one process, but never the same for long.
FLEE = "import os\nprint('up')\nwhile True:\n    if os.fork(): os._exit(0)"
ALLOCATE = "import sys; held = bytearray(int(sys.argv[1])); print('up'); import time; time.sleep(600)"


def wait_up(process: subprocess.Popen[str]) -> subprocess.Popen[str]:
    assert process.stdout is not None
    assert process.stdout.readline() == "up\n"
    return process


def left_of(isolation: Isolation) -> list[str]:
    return [found.name for found in leftovers() if found.cluster_id == isolation._cluster_id]


# Limits.


@pytest.mark.parametrize(
    ("tier", "burners", "cpus"), [(NAMESPACES, 1, 0.25), (NAMESPACES, 2, 0.25), (CGROUPS, 2, 0.25), (CGROUPS, 2, 0.05)]
)
def test_a_node_gets_its_cpu_share_however_many_processes_it_has(
    make_cluster: MakeCluster,
    start_in: StartIn,
    tier: EmulationTier,
    burners: int,
    cpus: float,
) -> None:
    isolation = make_cluster(tier)
    place = isolation.add_node("node-0", NodeLimits(cpus=cpus))
    for _ in range(burners):
        wait_up(start_in(place, BURN))
    isolation.limit(place)
    assert_held_to(lambda: cores_used(place), 0.8 * cpus, 1.2 * cpus)


def test_a_node_without_its_limit_gets_more(make_cluster: MakeCluster, start_in: StartIn) -> None:
    isolation = make_cluster(CGROUPS)
    place = isolation.add_node("node-0", NodeLimits(cpus=0.05))
    wait_up(start_in(place, BURN))
    assert cores_used(place) > 0.1  # not limited yet
    isolation.limit(place)
    isolation.unlimit(place)
    assert cores_used(place) > 0.1


def test_a_process_past_the_memory_limit_is_killed_and_the_other_lives(
    make_cluster: MakeCluster, start_in: StartIn
) -> None:
    place = make_cluster(CGROUPS).add_node("node-0", NodeLimits(memory_bytes=64 * 2**20))
    small = wait_up(start_in(place, ALLOCATE, str(2**20)))
    assert memory_kills(place) == 0
    large = start_in(place, ALLOCATE, str(100 * 2**20))
    assert large.wait(30) == -signal.SIGKILL
    assert memory_kills(place) == 1
    assert small.poll() is None
    assert processes_in(place) == [small.pid]


@pytest.mark.parametrize(
    ("sender", "receiver", "counter"),
    [("node-0", "driver", "rx_bytes"), ("driver", "node-0", "tx_bytes"), ("node-0", "node-1", "rx_bytes")],
)
def test_a_link_carries_its_rate_in_both_directions(
    make_cluster: MakeCluster, start_in: StartIn, sender: str, receiver: str, counter: str
) -> None:
    isolation = make_cluster(NAMESPACES)
    places = {f"node-{n}": isolation.add_node(f"node-{n}", NodeLimits(network_bits_per_s=10**8)) for n in range(2)}
    limited, places["driver"] = places["node-0"], NodePlace(name="driver", host=isolation.driver_host)
    receive = "import socket, sys; server = socket.create_server((sys.argv[1], 0)); print(server.getsockname()[1])\n"
    receive += "end, _ = server.accept()\nwhile True: end.recv(2**16)"
    send = "import socket, sys; end = socket.create_connection((sys.argv[1], int(sys.argv[2]))); print('up')\n"
    send += "while True: end.send(bytes(2**16))"
    sink = start_in(places[receiver], receive, places[receiver].host)
    assert sink.stdout is not None
    wait_up(start_in(places[sender], send, places[receiver].host, sink.stdout.readline().strip()))
    assert_held_to(lambda: bits_per_s(limited, counter), 85e6, 101e6)


def test_latency_is_refused_where_the_kernel_has_none_and_nothing_is_left_of_the_node(
    make_cluster: MakeCluster,
) -> None:
    isolation = make_cluster(NAMESPACES)
    if next(found.ok for found in detect_tier().findings if found.name == "latency (netem)"):
        pytest.skip("this kernel has netem")
    before = left_of(isolation)
    with pytest.raises(InputError, match=r"no network latency .*netem") as caught:
        isolation.add_node("node-0", NodeLimits(network_bits_per_s=10**8, network_latency_s=0.005))
    assert "leave the latency out" in str(caught.value.hint)
    assert left_of(isolation) == before
    isolation.add_node("node-0", FREE)


def test_latency_delays_what_a_node_sends(make_cluster: MakeCluster, start_in: StartIn) -> None:
    isolation = make_cluster(NAMESPACES)
    latency = next(found for found in detect_tier().findings if found.name == "latency (netem)")
    if not latency.ok:
        pytest.skip(latency.detail)
    place = isolation.add_node("node-0", NodeLimits(network_bits_per_s=10**8, network_latency_s=0.2))
    with socket.create_server((isolation.driver_host, 0)) as server:
        code = "import socket, sys, time; start = time.monotonic()\n"
        code += "socket.create_connection((sys.argv[1], int(sys.argv[2]))); print(time.monotonic() - start)"
        client = start_in(place, code, *map(str, server.getsockname()))
        assert client.stdout is not None
        assert float(client.stdout.readline()) >= 0.2


# The network.


def test_nodes_and_driver_reach_one_another(make_cluster: MakeCluster, start_in: StartIn) -> None:
    isolation = make_cluster(NAMESPACES)
    places = [isolation.add_node(f"node-{number}", FREE) for number in range(2)]
    serve = "import socket, sys; server = socket.create_server((sys.argv[1], 0)); print(server.getsockname()[1])\n"
    serve += "while True: server.accept()[0].close()"
    connect = "import socket, sys; socket.create_connection((sys.argv[1], int(sys.argv[2])), 5); print('up')"
    outside = NodePlace(name="driver", host=isolation.driver_host)
    for server in [outside, *places]:
        process = start_in(server, serve, server.host)
        assert process.stdout is not None
        port = process.stdout.readline().strip()
        for client in [outside, *places]:
            wait_up(start_in(client, connect, server.host, port))
    local = start_in(places[0], serve, "127.0.0.1")  # the loopback link of a node is up as well
    assert local.stdout is not None
    wait_up(start_in(places[0], connect, "127.0.0.1", local.stdout.readline().strip()))


def test_two_clusters_at_once_do_not_touch_each_other(make_cluster: MakeCluster, start_in: StartIn) -> None:
    first, second = make_cluster(NAMESPACES), make_cluster(NAMESPACES)
    places = [isolation.add_node("node-0", NodeLimits(cpus=0.5)) for isolation in (first, second)]
    assert first.driver_host != second.driver_host
    assert len({place.host for place in places}) == len({place.link for place in places}) == 2
    process = wait_up(start_in(places[1], SLEEP))
    first.close()
    assert left_of(first) == []
    assert processes_in(places[1]) == [process.pid]
    assert second.add_node("node-1", FREE).host.startswith(second.driver_host.rpartition(".")[0])


def test_a_network_that_the_machine_uses_is_not_taken(make_cluster: MakeCluster) -> None:
    require_tier(NAMESPACES)
    name = f"t{os.getpid()}"
    subprocess.run(["ip", "link", "add", name, "type", "bridge"], check=True)
    try:
        subprocess.run(["ip", "addr", "add", "10.231.255.254/16", "dev", name], check=True)
        subprocess.run(["ip", "link", "set", name, "up"], check=True)
        assert make_cluster(NAMESPACES).driver_host.startswith("10.232.")
    finally:
        subprocess.run(["ip", "link", "del", name], check=True)


def test_clusters_of_several_processes_start_at_once(cluster_id: str) -> None:
    require_tier(NAMESPACES)
    code = (
        "import sys; from nodewise.isolation.places import Isolation; from nodewise.specs.place import *\n"
        "for number in range(5):\n"
        "    isolation = Isolation(f'{sys.argv[1]}-{number}', EmulationTier.NAMESPACES)\n"
        "    isolation.add_node('node-0', NodeLimits(cpus=0.5)); isolation.close()\n"
    )
    commands = [[sys.executable, "-c", code, f"{cluster_id}-{letter}"] for letter in "abcd"]
    processes = [subprocess.Popen(command, stderr=subprocess.PIPE, text=True) for command in commands]
    errors = [process.communicate()[1] for process in processes]
    assert errors == [""] * 4
    assert [found for found in leftovers() if found.cluster_id.startswith(cluster_id)] == []


def test_a_cluster_may_have_many_nodes_and_a_freed_address_is_given_again(
    make_cluster: MakeCluster, repetitions: int
) -> None:
    isolation = make_cluster(NAMESPACES)
    places = [isolation.add_node(f"node-{number}", NodeLimits(cpus=0.1)) for number in range(repetitions + 14)]
    assert len({place.host for place in places}) == repetitions + 14
    isolation.remove_node(places[1])
    assert isolation.add_node("node-99", FREE).host == places[1].host


# The tiers.


def test_places_of_each_tier(make_cluster: MakeCluster) -> None:
    limits = NodeLimits(cpus=0.5, memory_bytes=2**27, network_bits_per_s=10**7)
    apart = make_cluster(NAMESPACES).add_node("node-0", limits)
    assert apart.limits == limits
    assert apart.netns
    assert apart.link
    assert apart.cgroup_dirs
    grouped = make_cluster(CGROUPS).add_node("node-0", limits)
    assert grouped.limits == NodeLimits(cpus=0.5, memory_bytes=2**27)  # what it can hold
    assert (grouped.netns, grouped.link) == (None, None)
    assert grouped.cgroup_dirs
    isolation = make_cluster(PROCESSES)
    plain = [isolation.add_node(f"node-{number}", limits) for number in range(2)]
    assert plain[0] == NodePlace(name="node-0", host="127.0.0.3")
    assert plain[1].host == "127.0.0.4"
    assert isolation.driver_host == "127.0.0.2"
    assert memory_kills(plain[0]) == 0
    assert command_in(plain[0], ["ls", "-l"]) == ["ls", "-l"]
    isolation.limit(plain[0])
    isolation.unlimit(plain[0])


def test_without_groups_a_node_is_its_first_processes_with_descendants_and_sessions(
    make_cluster: MakeCluster, start_in: StartIn
) -> None:
    isolation = make_cluster(PROCESSES)
    place = isolation.add_node("node-0", FREE)
    assert processes_in(place) == []
    # A child, and a grandchild whose parent has ended.
    family = wait_up(
        start_in(
            place,
            "import os, time\n"
            "if os.fork() == 0:\n    if os.fork() == 0: print('up')\n    else: os._exit(0)\n"
            "else: os.wait(); os.fork()\n"
            "time.sleep(600)\n",
        )
    )
    place = dataclasses.replace(place, pids=(family.pid,))
    deadline = time.monotonic() + 10
    while len(processes_in(place)) != 3:
        assert time.monotonic() < deadline
    members = processes_in(place)
    assert family.pid in members
    isolation.remove_node(place)
    assert processes_in(place) == []
    assert not any(psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE for pid in members)


# Entering.


def test_a_command_in_a_place_is_the_command_alone(make_cluster: MakeCluster) -> None:
    place = make_cluster(CGROUPS).add_node("node-0", FREE)

    def run(*command: str) -> subprocess.CompletedProcess[str]:
        environment = {**os.environ, "PLANTED": "a b"}
        return subprocess.run(command_in(place, command), capture_output=True, text=True, env=environment, check=False)

    code = "import os, sys; print(sys.argv[1:], os.environ['PLANTED'])"
    assert run(sys.executable, "-c", code, "--", "x y", "").stdout == "['--', 'x y', ''] a b\n"
    assert run("sh", "-c", "exit 7").returncode == 7
    # Python ignores this signal; the command must not inherit that.
    assert run("sh", "-c", "kill -PIPE $$").returncode == -signal.SIGPIPE


def test_a_command_that_cannot_start_says_why(make_cluster: MakeCluster) -> None:
    isolation = make_cluster(CGROUPS)
    place = isolation.add_node("node-0", FREE)
    missing = subprocess.run(command_in(place, ["no-such-program"]), capture_output=True, text=True, check=False)
    assert missing.returncode == 127
    assert missing.stderr == (
        "error: cannot start 'no-such-program' in its node: [Errno 2] No such file or directory\n"
    )
    isolation.remove_node(place)
    gone = subprocess.run(command_in(place, ["true"]), capture_output=True, text=True, check=False)
    assert gone.returncode == 127
    assert "cannot start 'true' in its node" in gone.stderr
    with pytest.raises(NodewiseError, match="cannot enter node 'node-0': No such file"):
        enter(place)


def _enter_and_report(place: NodePlace, results: multiprocessing.SimpleQueue[tuple[int, list[str]]]) -> None:
    enter(place)
    results.put((os.getpid(), [name for _, name in socket.if_nameindex()]))
    time.sleep(600)


def test_a_forked_process_enters_a_place(make_cluster: MakeCluster) -> None:
    place = make_cluster(NAMESPACES).add_node("node-0", FREE)
    context = multiprocessing.get_context("fork")
    results = context.SimpleQueue()
    worker = context.Process(target=_enter_and_report, args=(place, results))
    worker.start()
    try:
        pid, interfaces = results.get()
        assert sorted(interfaces) == ["eth0", "lo"]
        assert processes_in(place) == [pid]
        assert os.getpid() not in processes_in(place)
    finally:
        worker.kill()
        worker.join()


# Removal.


@pytest.mark.parametrize("tier", [NAMESPACES, CGROUPS])
def test_nothing_is_left_after_close(make_cluster: MakeCluster, start_in: StartIn, tier: EmulationTier) -> None:
    isolation = make_cluster(tier)
    places = [isolation.add_node(f"node-{number}", NodeLimits(cpus=0.05)) for number in range(2)]
    processes = [wait_up(start_in(place, code)) for place in places for code in (BURN, SLEEP, FLEE)]
    for place in places:
        isolation.limit(place)
    isolation.remove_node(places[0])
    assert [process.wait(10) for process in processes[:2]] == [-signal.SIGKILL] * 2
    assert processes_in(places[0]) == []
    assert len(processes_in(places[1])) >= 2
    isolation.close()
    assert [process.wait(10) for process in processes[3:5]] == [-signal.SIGKILL] * 2
    assert left_of(isolation) == []
    assert not any(Path(folder).exists() for place in places for folder in place.cgroup_dirs)
    isolation.close()


def test_groups_that_a_node_made_itself_go_with_it(make_cluster: MakeCluster, start_in: StartIn) -> None:
    isolation = make_cluster(CGROUPS)
    place = isolation.add_node("node-0", NodeLimits(cpus=0.5))
    inner = [Path(folder, "inner") for folder in place.cgroup_dirs]
    for folder in inner:
        folder.mkdir()
    process = wait_up(start_in(dataclasses.replace(place, cgroup_dirs=tuple(map(str, inner))), SLEEP))
    assert processes_in(place) == [process.pid]
    isolation.remove_node(place)
    assert process.wait(10) == -signal.SIGKILL
    assert not any(Path(folder).exists() for folder in place.cgroup_dirs)


def test_what_was_removed_by_hand_before_is_no_trouble(make_cluster: MakeCluster) -> None:
    isolation = make_cluster(NAMESPACES)
    places = [isolation.add_node(f"node-{number}", FREE) for number in range(3)]
    subprocess.run(["ip", "link", "del", str(places[0].link)], check=True)
    subprocess.run(["ip", "netns", "del", str(places[1].netns)], check=True)
    Path(places[2].cgroup_dirs[0]).rmdir()
    for place in places[:2]:
        isolation.remove_node(place)
        isolation.remove_node(place)
    isolation.close()
    assert left_of(isolation) == []


def test_a_cluster_id_is_claimed_once_and_free_after_close(cluster_id: str, make_cluster: MakeCluster) -> None:
    require_tier(CGROUPS)
    isolation = Isolation(cluster_id, CGROUPS)
    try:
        place = isolation.add_node("node-0", FREE)
        with pytest.raises(InputError, match=f"cluster '{cluster_id}' has control groups already"):
            Isolation(cluster_id, CGROUPS)
        assert processes_in(place) == []  # and the first one's are still there
        assert all(Path(folder).is_dir() for folder in place.cgroup_dirs)
    finally:
        isolation.close()
    Isolation(cluster_id, CGROUPS).close()


def test_a_cluster_that_fails_half_way_leaves_nothing(cluster_id: str, monkeypatch: pytest.MonkeyPatch) -> None:
    require_tier(NAMESPACES)
    with monkeypatch.context() as patched:
        patched.setenv("PATH", "")
        with pytest.raises(MissingDependencyError, match="the program 'ip' is not on this machine"):
            Isolation(cluster_id, NAMESPACES)
    assert [found for found in leftovers() if found.cluster_id == cluster_id] == []


def test_a_node_that_fails_half_way_leaves_nothing(make_cluster: MakeCluster) -> None:
    isolation = make_cluster(NAMESPACES)
    before = left_of(isolation)
    subprocess.run(["ip", "link", "add", f"{before[-1]}n0", "type", "bridge"], check=True)
    with pytest.raises(NodewiseError, match=r"`ip link add nw\d+n0 .*` failed: .*File exists"):
        isolation.add_node("node-0", FREE)
    assert left_of(isolation) == before
    isolation.add_node("node-0", FREE)


# What is refused.


@pytest.mark.parametrize(
    ("limits", "message"),
    [
        (NodeLimits(cpus=machine_cores() + 0.5), rf"{machine_cores()}.5 CPUs for node-0: this machine has"),
        (NodeLimits(cpus=0.0), r"0 CPUs for node-0"),
        (NodeLimits(cpus=float("nan")), r"nan CPUs for node-0"),
        (NodeLimits(memory_bytes=32 * 2**20), r"32.0 MiB of memory for node-0"),
        (NodeLimits(memory_bytes=2**50), r"1024.0 TiB of memory for node-0"),
        (NodeLimits(network_bits_per_s=0), r"a network rate of 0 bit/s for node-0"),
        (NodeLimits(network_latency_s=-1.0), r"a network latency of -1 s for node-0"),
    ],
)
def test_impossible_limits_are_refused_with_a_hint(make_cluster: MakeCluster, limits: NodeLimits, message: str) -> None:
    with pytest.raises(InputError, match=message) as caught:
        make_cluster(PROCESSES).add_node("node-0", limits)
    assert caught.value.hint


@pytest.mark.parametrize("name", ["", "node", "../node-0", "node-0/x", "Node-0", "node 0"])
def test_a_name_that_is_not_a_nodes_is_refused(make_cluster: MakeCluster, name: str) -> None:
    with pytest.raises(InputError, match="bad name of a node"):
        make_cluster(PROCESSES).add_node(name, FREE)


def test_a_node_cannot_be_added_twice(make_cluster: MakeCluster) -> None:
    isolation = make_cluster(PROCESSES)
    place = isolation.add_node("node-0", FREE)
    with pytest.raises(InputError, match="the cluster has a node 'node-0' already"):
        isolation.add_node("node-0", FREE)
    isolation.remove_node(place)
    isolation.add_node("node-0", FREE)


@pytest.mark.parametrize("cluster_id", ["", "..", "a/b", "a b", "x" * 101])
def test_a_cluster_id_that_is_no_name_is_refused(cluster_id: str) -> None:
    with pytest.raises(InputError, match="bad cluster id"):
        Isolation(cluster_id, PROCESSES)
