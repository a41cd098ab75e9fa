from __future__ import annotations

import pytest

from nodewise.core.errors import SpecError
from nodewise.specs.whatif import ClusterShape, WastedCoreHours, parse_shape


def test_clusters_are_written_in_one_line() -> None:
    shape = parse_shape("nodes=1..32, cores=4,type=m5.xlarge,speed=1.5,disk=200MB/s,network=10Gbit/s")

    assert shape == ClusterShape(
        min_nodes=1,
        max_nodes=32,
        cores_per_node=4,
        node_type="m5.xlarge",
        core_speed=1.5,
        disk_bytes_per_s=2e8,
        network_bits_per_s=1e10,
    )
    assert parse_shape("nodes=8") == ClusterShape(min_nodes=8, max_nodes=8)
    assert parse_shape("cores=2") == ClusterShape(cores_per_node=2)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "'' is not one of nodes, cores"),
        ("nodes", "'nodes' is not one of"),
        ("node=3", "'node=3' is not one of"),
        ("nodes=2,nodes=3", "has nodes twice"),
        ("nodes=0", "nodes=0 is no whole number from 1 to 100,000"),
        ("nodes=four", "nodes=four is no whole number"),
        ("nodes=..4", "nodes= is no whole number"),
        ("nodes=4..", "nodes= is no whole number"),
        ("nodes=8..4", "nodes=8..4 goes down"),
        ("cores=" + "9" * 5000, "is no whole number from 1 to 10,000"),
        ("cores=²", "is no whole number"),
        ("speed=fast", "speed=fast is no number"),
        ("speed=nan", "speed=nan is no number"),
        ("disk=200MB", "disk=200MB is no rate"),
        ("disk=0MB/s", "disk=0MB/s is no rate"),
        ("network=10", "'10' is no rate"),
        ("network=0bit/s", "network=0bit/s is no rate above 0"),
    ],
)
def test_what_is_no_cluster_is_refused(text: str, reason: str) -> None:
    with pytest.raises(SpecError) as refused:
        parse_shape(text)

    assert reason in refused.value.message
    assert refused.value.hint == "write nodes=1..32,cores=4,type=m5.xlarge"


def test_waste_is_the_sum_of_its_parts() -> None:
    assert WastedCoreHours(driver=1, skew=2, too_few_tasks=4, start_up=8, failed_attempts=16).total == 31
