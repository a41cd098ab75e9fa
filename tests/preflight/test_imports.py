"""What a program imports is compared with what the nodes will have; the program is not run."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from nodewise.core.findings import Finding
from nodewise.preflight.imports import check_imports, check_libraries
from nodewise.preflight.plan import Plan
from nodewise.specs.cluster import ClusterSpec
from nodewise.workspace import Workspace


def findings(tmp_path: Path, source: str, *libraries: str, name: str = "job.py") -> list[Finding]:
    (tmp_path / name).write_text(source)
    plan = Plan(
        cluster=ClusterSpec(engine="local"),
        workspace=Workspace(tmp_path / "ws"),
        script=tmp_path / name,
        libraries=libraries,
    )
    return list(check_imports(plan))


def missing(tmp_path: Path, source: str, *libraries: str, name: str = "job.py") -> list[str]:
    return [finding.what for finding in findings(tmp_path, source, *libraries, name=name)]


@pytest.mark.parametrize(
    "module",
    [
        "os",
        "xml.etree.ElementTree",
        "numpy",
        "cv2",
        "sklearn.linear_model",
        "PIL",
        "yaml",
        "google.protobuf",
        "_thread",
    ],
)
def test_what_is_installed_or_standard_is_there(tmp_path: Path, module: str) -> None:
    assert missing(tmp_path, f"import {module}\nfrom {module} import *\n") == []


def test_what_is_not_there_is_named_with_its_line_and_its_library(tmp_path: Path) -> None:
    (finding,) = findings(tmp_path, "import os\n\ndef work(row):\n    import no_such_module.part\n")
    assert finding.level == "error"
    assert finding.what == "job.py, line 4: the nodes will have no module 'no_such_module.part'"
    assert finding.remedy == ("add no_such_module to the libraries of the cluster, or pip install no_such_module here")


def test_a_module_of_another_name_than_its_library_is_remedied_by_the_library(tmp_path: Path) -> None:
    (finding,) = findings(tmp_path, "import bs4")
    assert finding.remedy.startswith("add beautifulsoup4 to the libraries")
    (finding,) = findings(tmp_path, "from google.cloud import storage\n")
    assert finding.what.endswith("'google.cloud.storage'")
    assert finding.remedy.startswith("add google-cloud-storage to the libraries")
    assert missing(tmp_path, "from google.cloud import storage\n", "google-cloud-storage") == []
    (finding,) = findings(tmp_path, "import nunpy")
    assert finding.remedy.startswith("did you mean 'numpy'? Else add nunpy")


@pytest.mark.parametrize(
    ("module", "library"),
    [
        ("bs4", "beautifulsoup4>=4.12"),
        ("google.cloud.storage", "google-cloud-storage"),
        ("no_such_module", "no-such.module[extra]==1.0; python_version >= '3.8'"),
        ("no_such_module.part", "no_such_module @ https://example.org/x.whl"),
        ("no_such_module", "no_such_module-1.0-py3-none-any.whl"),
    ],
)
def test_the_libraries_of_the_cluster_will_be_there(tmp_path: Path, module: str, library: str) -> None:
    assert len(missing(tmp_path, f"import {module}")) == 1
    assert missing(tmp_path, f"import {module}", library) == []


def test_an_import_that_may_fail_is_a_warning(tmp_path: Path) -> None:
    source = (
        "try:\n    import no_such_a\nexcept ImportError:\n    import no_such_b\nelse:\n    import no_such_c\n"
        "try:\n    import no_such_d\nexcept OSError:\n    pass\n"
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import no_such_e\n"
    )
    found = {finding.what.split("'")[1]: finding.level for finding in findings(tmp_path, source)}
    assert found == {"no_such_a": "warning", "no_such_b": "warning", "no_such_c": "error", "no_such_d": "error"}


def test_modules_beside_the_script_are_known_and_looked_into(tmp_path: Path) -> None:
    (tmp_path / "helper.py").write_text("import no_such_x\nimport job\n")
    package = tmp_path / "package"
    (package / "deep").mkdir(parents=True)
    (package / "__init__.py").write_text("from . import part\nfrom .deep import leaf\nfrom . import __version__\n")
    (package / "part.py").write_text("import no_such_y\n")
    (package / "deep" / "leaf.py").write_text("from ..part import thing\nfrom .. import other\nimport no_such_z\n")
    (package / "other.py").write_text("import os\n")
    source = "import helper\nimport package.deep.leaf\n"
    assert sorted(missing(tmp_path, source)) == [
        "helper.py, line 1: the nodes will have no module 'no_such_x'",
        "leaf.py, line 3: the nodes will have no module 'no_such_z'",
        "part.py, line 1: the nodes will have no module 'no_such_y'",
    ]


def test_a_folder_of_data_beside_the_script_is_no_module(tmp_path: Path) -> None:
    (tmp_path / "no_such_module").mkdir()
    (tmp_path / "no_such_module" / "a.jpg").touch()
    assert len(missing(tmp_path, "import no_such_module")) == 1


def test_a_program_that_is_not_python_is_named_with_its_line(tmp_path: Path) -> None:
    assert missing(tmp_path, "import os\nprint 'x'\n")[0].endswith("job.py, line 2: not valid Python")
    assert missing(tmp_path, "a\0b")[0].endswith("not valid Python")
    assert missing(tmp_path, "x = " + "(" * 5000) != []


def test_nothing_of_the_program_is_run(tmp_path: Path) -> None:
    assert missing(tmp_path, f"open({str(tmp_path / 'ran')!r}, 'w')\nraise SystemExit\n") == []
    assert not (tmp_path / "ran").exists()


def test_a_notebook_is_read_without_its_commands(tmp_path: Path) -> None:
    cells = [
        {"cell_type": "markdown", "source": ["import no_such_text"]},
        {"cell_type": "code", "source": ["%pip install x\n", "!ls\n", "import os, no_such_module\n"]},
        {"cell_type": "code", "source": ["%%bash\n", "import not python"]},
        {"cell_type": "code", "source": "for x in y:\n    !echo $x\n"},
    ]
    assert missing(tmp_path, json.dumps({"cells": cells}), name="job.ipynb") == [
        "job.ipynb, line 3: the nodes will have no module 'no_such_module'"
    ]


def test_a_script_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    plan = Plan(cluster=ClusterSpec(engine="local"), workspace=Workspace(tmp_path), script=tmp_path / "no.py")
    assert [finding.what for finding in check_imports(plan)] == [f"{tmp_path}/no.py does not exist"]


def test_what_a_cluster_elsewhere_has_is_not_known(tmp_path: Path) -> None:
    (tmp_path / "job.py").write_text("import no_such_module")
    cluster = ClusterSpec(engine="ray", address="ray://h:10001")
    assert not list(check_imports(Plan(cluster=cluster, workspace=Workspace(tmp_path), script=tmp_path / "job.py")))


@pytest.mark.parametrize("line", ["pyspark==3.5.0", "ray<2", "PySpark[sql]==3.5.0  # old", "nodewise>99"])
def test_a_library_may_not_replace_what_nodes_and_driver_share(tmp_path: Path, line: str) -> None:
    plan = Plan(cluster=ClusterSpec(engine="local"), workspace=Workspace(tmp_path), libraries=(line,))
    (finding,) = check_libraries(plan)
    assert finding.level == "error"
    assert finding.what.startswith(f"the library {line!r} would replace ")


def test_other_libraries_and_fitting_versions_pass(tmp_path: Path) -> None:
    libraries = ("pyspark>=4", "ray", "pandas==1.0", "./local.whl", "no such line")
    plan = Plan(cluster=ClusterSpec(engine="local"), workspace=Workspace(tmp_path), libraries=libraries)
    assert list(check_libraries(plan)) == []
