"""Files of run times."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.advice.made import scaling, workload, write_csv

from nodewise.advice.traces import read_traces
from nodewise.core.errors import InputError

HEADER = "workload,framework,dataset,instance_type,nodes,runtime_s"


def test_what_was_written_is_read(tmp_path: Path) -> None:
    made = [workload(scaling, "one"), workload(lambda one: None if one.nodes == 2 else scaling(one), "two")]
    assert read_traces(write_csv(tmp_path / "traces.csv", made)) == made


def test_repeats_count_as_their_median_and_failures_only_where_nothing_else_is(tmp_path: Path) -> None:
    path = tmp_path / "traces.csv"
    rows = ["a,,,m,1,10,ok", "a,,,m,1,30,ok", "a,,,m,1,12,ok", "a,,,m,1,99,failed", "a,,,m,2,50,failed", "a,,,m,2,70,x"]
    path.write_text("\n".join([f"{HEADER},status", *rows]))
    (found,) = read_traces(path)
    assert [(one.configuration.nodes, one.runtime_s, one.is_ok) for one in found.measured] == [
        (1, 12.0, True),
        (2, 60.0, False),
    ]
    assert found.measured[0].configuration.usd_per_node_hour is None
    assert found.measured[0].cost_usd is None


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("workload,framework\n", "has no column 'dataset'"),
        (f"{HEADER}\na,b,c,m,two,10\n", r"line 2: nodes is 'two', which is no number"),
        (f"{HEADER}\na,b,c,m,0,10\n", r"line 2: nodes is '0', which is no number of nodes"),
        (f"{HEADER}\na,b,c,m,1.5,10\n", r"line 2: nodes is '1.5', which is no number of nodes"),
        (f"{HEADER}\na,b,c,m,1,0\n", r"line 2: runtime_s is '0', which is no time above 0"),
        (f"{HEADER}\na,b,c,m,1,nan\n", r"line 2: runtime_s is 'nan', which is no number"),
        (f"{HEADER}\na,b,c,m,1,\n", r"line 2: runtime_s is '', which is no time above 0"),
        (f"{HEADER},vcpus_per_node\na,b,c,m,1,5,many\n", r"line 2: vcpus_per_node is 'many'"),
    ],
)
def test_what_is_wrong_is_said_with_its_line(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "traces.csv"
    path.write_text(text)
    with pytest.raises(InputError, match=message):
        read_traces(path)


def test_a_file_that_is_not_there_or_no_text_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"none.csv cannot be read: No such file"):
        read_traces(tmp_path / "none.csv")
    (tmp_path / "binary.csv").write_bytes(b"workload,\xff\xfe")
    with pytest.raises(InputError, match=r"binary.csv cannot be read"):
        read_traces(tmp_path / "binary.csv")


def test_the_public_traces_are_read(test_data: Path) -> None:
    folder = test_data / "traces"
    if not folder.is_dir():
        pytest.skip(f"no traces at {folder}")
    found = {name: read_traces(folder / f"{name}.csv") for name in ("scout_multi_node", "bbo_arena", "ibm_multicloud")}
    assert {name: len(workloads) for name, workloads in found.items()} == {
        "scout_multi_node": 10,
        "bbo_arena": 2,
        "ibm_multicloud": 15,
    }
    assert {len(one.measured) for one in found["scout_multi_node"]} == {69}
    assert sum(not run.is_ok for one in found["scout_multi_node"] for run in one.measured) == 19
