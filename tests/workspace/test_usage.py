import subprocess
import sys
from dataclasses import fields
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from nodewise.core.errors import CorruptFileError
from nodewise.specs.cluster import ClusterSpec
from nodewise.specs.usage import UsageSample
from nodewise.workspace import Workspace
from nodewise.workspace.usage import SCHEMA, read_usage, write_usage

FULL = UsageSample(
    node="node-0",
    at=1795285178.25,
    interval_s=1.0,
    cpu_cores=0.25,
    throttled_s=0.75,
    memory_bytes=2**31,
    read_bytes=1,
    written_bytes=2,
    received_bytes=3,
    sent_bytes=4,
    gpu_fraction=0.5,
    gpu_memory_bytes=2**36,
    memory_kills=1,
)
BARE = UsageSample(
    node="Knoten ü",
    at=1795285179.25,
    interval_s=0.5,
    cpu_cores=0.0,
    throttled_s=None,
    memory_bytes=0,
    read_bytes=0,
    written_bytes=0,
)


def test_samples_come_back_as_they_were(tmp_path: Path) -> None:
    # More than eight: what is missing is told by single bits.
    samples = [FULL, BARE, BARE, FULL, BARE] * 3
    write_usage(tmp_path / "usage.parquet", samples)
    assert read_usage(tmp_path / "usage.parquet") == samples


@pytest.mark.parametrize("samples", [[], [BARE], [FULL]], ids=["none", "nothing known", "all known"])
def test_extremes_come_back_too(tmp_path: Path, samples: list[UsageSample]) -> None:
    write_usage(tmp_path / "usage.parquet", samples)
    assert read_usage(tmp_path / "usage.parquet") == samples


def test_every_field_has_its_column() -> None:
    assert SCHEMA.names == [field.name for field in fields(UsageSample)]


def test_other_readers_see_what_is_missing_as_null(tmp_path: Path) -> None:
    write_usage(tmp_path / "usage.parquet", [FULL, BARE])
    table = pq.read_table(tmp_path / "usage.parquet")
    assert table.schema == SCHEMA
    assert table["throttled_s"].to_pylist() == [0.75, None]
    assert table["sent_bytes"].null_count == 1


def test_a_file_is_replaced_as_a_whole(tmp_path: Path) -> None:
    write_usage(tmp_path / "usage.parquet", [FULL, FULL])
    write_usage(tmp_path / "usage.parquet", [BARE])
    assert read_usage(tmp_path / "usage.parquet") == [BARE]
    assert [path.name for path in tmp_path.iterdir()] == ["usage.parquet"]


def test_damage_and_missing_columns_are_named(tmp_path: Path) -> None:
    path = tmp_path / "usage.parquet"
    path.write_bytes(b"PAR1 and then nothing")
    with pytest.raises(CorruptFileError, match="not a file of samples of utilisation"):
        read_usage(path)
    pq.write_table(pa.table({"node": ["node-0"]}), path)
    with pytest.raises(CorruptFileError, match="not a file of samples of utilisation"):
        read_usage(path)


def test_a_run_without_samples_has_none(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path)
    run = workspace.create_run("prepare", ClusterSpec(engine="local"))
    assert workspace.read_usage(run.run_id) == []
    workspace.write_usage(run.run_id, [FULL])
    assert workspace.read_usage(run.run_id) == [FULL]
    assert (workspace.run_dir(run.run_id) / "usage.parquet").is_file()


def test_writing_loads_no_pandas(tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from nodewise.workspace.usage import write_usage\n"
        "from nodewise.specs.usage import UsageSample\n"
        "sample = UsageSample(node='n', at=1.0, interval_s=1.0, cpu_cores=1.0, throttled_s=None, memory_bytes=1,\n"
        "                     read_bytes=0, written_bytes=0)\n"
        f"write_usage(Path({str(tmp_path / 'usage.parquet')!r}), [sample]); print('pandas' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "False\n"
