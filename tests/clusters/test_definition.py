"""Tests of what a definition asks for beside nodes: libraries, environment and an init script, on every node."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Any

import pytest
from tests.clusters.conftest import Site
from tests.engines import tasks
from tests.engines.clusters import on_no_cluster

from nodewise.clusters.lifecycle import create_cluster
from nodewise.clusters.link import take_cluster
from nodewise.clusters.plan import ClusterPlan, environments_folder
from nodewise.core.errors import InputError
from nodewise.engines.registry import create_engine
from nodewise.specs.cluster import ClusterSpec, EngineName
from nodewise.specs.clusters import ClusterState


@pytest.fixture(autouse=True)
def _no_other_engine(engine: None) -> None:
    tasks.carry_by_value()


def wheel(folder: Path, name: str, source: str) -> str:
    """A library made by hand; its path."""
    path = folder / f"{name}-1.0-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(f"{name}.py", source)
        info = f"{name}-1.0.dist-info"
        archive.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
        archive.writestr(
            f"{info}/WHEEL", "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        archive.writestr(f"{info}/RECORD", "")
    return str(path)


@pytest.mark.parametrize(
    ("engine", "name"),
    [pytest.param(None, name, id=name, marks=on_no_cluster(name).args[1][0].marks) for name in ("spark", "ray")],
    indirect=["engine"],
)
@pytest.mark.slow("spark")
def test_every_node_has_what_its_definition_asks_for(
    site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: EngineName
) -> None:
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("SECRET_OF_MINE", "sesame-4711")
    script = tmp_path / "init.sh"
    script.write_text(f'echo "$GREETING" > "{tmp_path}/$NODEWISE_NODE"\n')
    spec = ClusterSpec(engine=name, nodes=2)
    plan = ClusterPlan(
        cluster=spec,
        libraries=(wheel(tmp_path, "nwgreeter", "ANSWER = 42\n"),),
        environment={"GREETING": "hello", "PASSWORD": "${SECRET_OF_MINE}"},
        init_script=str(script),
    )
    told: list[str] = []
    record = create_cluster(site.workspace, "full", plan, told.append)
    assert "install 1 library" in told
    assert [(tmp_path / node).read_text() for node in ("node-0", "node-1")] == ["hello\n", "hello\n"]
    _, link = take_cluster(site.workspace, "full", "run", "prepare", {})
    engine = create_engine(spec, link.access)
    try:
        engine.start()
        found: list[Any] = [result.value for result in engine.map("look", tasks.look, [("nwgreeter", "ANSWER")] * 4)]
    finally:
        engine.stop()
        link.close()
    python = str(environments_folder(site.workspace.root))
    assert all(answer == 42 and executable.startswith(python) for answer, executable, _ in found)
    assert {(variables["GREETING"], variables["PASSWORD"]) for _, _, variables in found} == {("hello", "sesame-4711")}
    assert "sesame-4711" not in str(site.workspace.clusters.get(record.cluster_id))


@on_no_cluster("local")
def test_nodes_without_a_process_of_their_own_take_none_of_it(site: Site) -> None:
    plan = ClusterPlan(cluster=ClusterSpec(engine="local", nodes=2), environment={"A": "b"})
    with pytest.raises(InputError, match="'local' run the command's own processes: they take no libraries"):
        create_cluster(site.workspace, "mine", plan)
    failed = site.workspace.clusters.get("mine")
    assert failed.state is ClusterState.FAILED
