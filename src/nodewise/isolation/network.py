"""Network namespaces of nodes, joined by one bridge per cluster, each over a link of a stated rate.

Interface names have at most 15 characters, so a cluster takes the first free number: its bridge is ``nw<number>``, the
machine's ends of the links ``nw<number>n<node>``. The alias of each is ``nodewise:<cluster id>``.
"""

from __future__ import annotations

import ipaddress
import json
import re
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nodewise.core.errors import InputError, MissingDependencyError, NodewiseError
from nodewise.isolation.entry import NETNS_DIR
from nodewise.specs.place import NodeLimits

__all__ = [
    "MOST_NODES",
    "Network",
    "add_link",
    "claim",
    "links",
    "namespace",
    "namespaces",
    "remove",
    "remove_cluster",
    "shape",
]

MOST_NODES = 252
ALIAS = "nodewise:"
BRIDGES = 256
# The first of these of which the machine has no route or link; the cluster's number follows.
SUBNETS = ("10.231", "10.232", "172.29", "192.168", "198.18")
NAMESPACE = re.compile(r"nw-(?P<cluster_id>.+)-(?:driver|[a-z]+-\d+)")
QUEUE_S = 0.05  # a sender that is too fast sees its packets wait so long before some are dropped


@dataclass(frozen=True, slots=True, kw_only=True)
class Network:
    """A cluster's bridge.

    Attributes:
        number: Of the bridge, on this machine.
        subnet: First three numbers of the addresses, such as ``10.231.0``.
    """

    cluster_id: str
    number: int
    subnet: str

    @property
    def bridge(self) -> str:
        return f"nw{self.number}"

    @property
    def driver_host(self) -> str:
        """The machine's own address on the bridge."""
        return f"{self.subnet}.1"

    def link(self, index: int) -> str:
        """The machine's end of a node's link."""
        return f"{self.bridge}n{index}"

    def host(self, index: int) -> str:
        """A node's address."""
        return f"{self.subnet}.{index + 2}"


def namespace(cluster_id: str, node: str) -> str:
    """The name of a node's network namespace."""
    return f"nw-{cluster_id}-{node}"


def claim(cluster_id: str) -> Network:
    """Make a cluster's bridge, with an address for the driver; safe beside other processes that do the same.

    Raises:
        NodewiseError: It cannot be made; nothing is left of it.
    """
    number = _claim_bridge(cluster_id)
    try:
        network = Network(cluster_id=cluster_id, number=number, subnet=_free_subnet(number))
        _run("ip", [f"addr add {network.driver_host}/24 dev {network.bridge}", f"link set {network.bridge} up"])
    except BaseException:
        remove(cluster_id, [f"nw{number}"], [])
        raise
    return network


def _claim_bridge(cluster_id: str) -> int:
    # Of a number whose bridge is gone, links may be left.
    taken = {name.removeprefix("nw").partition("n")[0] for _, name in _all_links()}
    for number in range(BRIDGES):
        if str(number) in taken:
            continue
        try:
            # That only one process can make a link of a name is what claims the number.
            _run("ip", [f"link add nw{number} type bridge", f"link set nw{number} alias {ALIAS}{cluster_id}"])
        except NodewiseError as error:
            if "File exists" not in error.message:
                raise
        else:
            return number
    raise NodewiseError(
        f"all {BRIDGES} network bridges of nodewise are taken", hint="`nodewise clean` removes those left over"
    )


def _free_subnet(number: int) -> str:
    taken = list(_routes())
    for start in SUBNETS:
        subnet = f"{start}.{number}"
        if not any(ipaddress.ip_network(f"{subnet}.0/24").overlaps(route) for route in taken):
            return subnet
    raise NodewiseError(
        f"no network is free for a cluster: the machine has routes into all of {', '.join(SUBNETS)}.{number}.0/24",
        hint="NODEWISE_EMULATION_TIER=cgroups does without networks of its own",
    )


def _routes() -> Iterator[ipaddress.IPv4Network]:
    for route in _query("-4", "route", "show", "table", "all"):
        if route["dst"] != "default":
            yield ipaddress.IPv4Network(route["dst"], strict=False)


def add_link(network: Network, index: int, node: str, limits: NodeLimits) -> tuple[str, str]:
    """Make a node's namespace and link; returns the names of the namespace and of the machine's end of the link.

    Raises:
        InputError: A latency is asked for, and the kernel has none to give.
        NodewiseError: They cannot be made; nothing is left of them.
    """
    netns, link = namespace(network.cluster_id, node), network.link(index)
    try:
        _run(
            "ip",
            [
                f"netns add {netns}",
                f"link add {link} type veth peer name eth0 netns {netns}",
                f"link set {link} alias {ALIAS}{network.cluster_id}",
                f"link set {link} master {network.bridge} up",
            ],
        )
        _run("ip", ["link set lo up", f"addr add {network.host(index)}/24 dev eth0", "link set eth0 up"], netns)
        shape(netns, link, limits)
    except BaseException:
        remove(network.cluster_id, [link], [netns])
        raise
    return netns, link


def shape(netns: str, link: str, limits: NodeLimits) -> None:
    """Hold a link to a rate in both directions, and add a latency to what its node sends.

    Raises:
        InputError: A latency is asked for, and the kernel has none to give.
        NodewiseError: The kernel has no token bucket.
    """
    parent = "root"
    if limits.network_bits_per_s is not None:
        # 10 ms of traffic, at least ten packets: larger bursts would be seen in the rate of short transfers.
        burst_bytes = max(limits.network_bits_per_s // 800, 15_140)
        bucket = f"tbf rate {limits.network_bits_per_s}bit burst {burst_bytes} latency {QUEUE_S * 1000:.0f}ms"
        # What a node receives leaves the machine's end; what it sends leaves its own.
        _run("tc", [f"qdisc add dev {link} root handle 1: {bucket}"])
        _run("tc", [f"qdisc add dev eth0 root handle 1: {bucket}"], netns)
        parent = "parent 1:1"
    if limits.network_latency_s is not None:
        try:
            _run(
                "tc",
                [f"qdisc add dev eth0 {parent} handle 2: netem delay {limits.network_latency_s * 1e6:.0f}us"],
                netns,
            )
        except NodewiseError as error:
            raise InputError(
                f"no network latency can be added on this machine: {error.message}",
                hint="leave the latency out, or load the kernel's netem: `modprobe sch_netem`",
            ) from None


def remove(cluster_id: str, link_names: Sequence[str], netns_names: Sequence[str]) -> None:
    """Remove links and namespaces of a cluster; none need be there.

    Raises:
        NodewiseError: One is still there.
        MissingDependencyError: The program that removes them is not on this machine.
    """
    lines = [f"link del {name}" for name in link_names] + [f"netns del {name}" for name in netns_names]
    if not lines:
        return
    command = ["ip", "-force", "-batch", "-"]
    try:
        done = subprocess.run(command, input="\n".join(lines), text=True, capture_output=True, check=False)
    except FileNotFoundError:
        raise _no_program("ip") from None
    # By its owner, since another cluster may have taken the number by now.
    left = [name for owner, name in [*links(), *namespaces()] if owner == cluster_id]
    left = [name for name in left if name in {*link_names, *netns_names}]
    if left:
        raise NodewiseError(f"{', '.join(left)} cannot be removed: {' '.join(done.stderr.split())}")


def remove_cluster(cluster_id: str) -> None:
    """Remove the bridge, links and namespaces of a cluster, as :func:`remove` does."""
    own_links = [name for owner, name in links() if owner == cluster_id]
    remove(
        cluster_id,
        sorted(own_links, key=len, reverse=True),  # the bridge last: it is what holds the number
        [name for owner, name in namespaces() if owner == cluster_id],
    )


def links() -> list[tuple[str, str]]:
    """Cluster id and name of every link of a cluster on this machine."""
    return [(alias.removeprefix(ALIAS), name) for alias, name in _all_links() if alias.startswith(ALIAS)]


def _all_links() -> list[tuple[str, str]]:
    """Alias (may be empty) and name of every link of this machine."""
    return [(str(link.get("ifalias", "")), str(link.get("ifname"))) for link in _query("link", "show")]


def namespaces() -> list[tuple[str, str]]:
    """Cluster id and name of every network namespace of a node on this machine."""
    matches = map(NAMESPACE.fullmatch, sorted(path.name for path in Path(NETNS_DIR).glob("nw-*")))
    return [(match["cluster_id"], match.string) for match in matches if match]


def _run(program: str, lines: Sequence[str], netns: str | None = None) -> None:
    command = [program, *(["-n", netns] if netns else []), "-batch", "-"]
    try:
        done = subprocess.run(command, input="\n".join(lines), text=True, capture_output=True, check=False)
    except FileNotFoundError:
        raise _no_program(program) from None
    if done.returncode != 0:
        failed = re.search(r"Command failed -:(\d+)", done.stderr)
        line = lines[int(failed[1]) - 1] if failed else lines[0]
        reason = done.stderr.strip().partition("\n")[0].removeprefix("Error: ")
        raise NodewiseError(
            f"`{program} {line}` failed: {reason}", hint="`nodewise doctor` says what this machine allows"
        )


def _no_program(name: str) -> MissingDependencyError:
    return MissingDependencyError(f"the program '{name}' is not on this machine", hint="install the package iproute2")


def _query(*words: str) -> list[dict[str, Any]]:
    """What `ip` lists; nothing where there is no such program, since then nothing of a cluster is there either."""
    try:
        done = subprocess.run(["ip", "-json", *words], text=True, capture_output=True, check=False)
    except FileNotFoundError:
        return []
    answer: list[dict[str, Any]] = json.loads(done.stdout or "[]")
    return answer
