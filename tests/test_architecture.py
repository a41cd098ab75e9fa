"""What the folder names promise: who imports whom, and that importing nodewise loads nothing heavy."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

SOURCE = Path(__file__).parent.parent / "src" / "nodewise"

# A folder may import itself and what its row names.
MAY_IMPORT = {
    "core": set(),
    "specs": {"core"},
    "metering": {"core", "specs"},
    "images": {"core", "specs"},
    "data": {"core", "specs", "images"},
    "shards": {"core", "specs", "images", "data"},
    "readers": {"core", "specs", "images", "data", "shards"},
    "analysis": {"core", "specs"},
    "advice": {"core", "specs"},
    "workspace": {"core", "specs"},
    "eventlogs": {"core", "specs"},
    "whatif": {"core", "specs", "eventlogs"},
    "isolation": {"core", "specs"},
    "billing": {"core", "specs", "metering", "workspace"},
    "clusters": {"core", "specs", "metering", "isolation", "workspace", "billing"},
    "engines": {"core", "specs", "metering", "isolation"},
    "preflight": {"core", "specs", "metering", "isolation", "images", "data", "workspace", "billing", "clusters"},
    "report": {"core", "specs", "analysis"},
    "training": {"core", "specs", "metering", "images", "shards"},
    "tracking": {"core", "specs", "training", "workspace"},
    "jobs": {"core", "specs", "metering", "images", "data", "shards", "readers", "training"},
    "runs": {
        "core",
        "specs",
        "metering",
        "images",
        "data",
        "shards",
        "training",
        "jobs",
        "isolation",
        "eventlogs",
        "whatif",
        "billing",
        "clusters",
        "preflight",
        "engines",
        "analysis",
        "advice",
        "report",
        "tracking",
        "workspace",
    },
}


def imported_folders(path: Path) -> set[str]:
    """The folders of nodewise that a module imports from, wherever the import stands."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("nodewise."):
            names.add(node.module.split(".")[1])
        elif isinstance(node, ast.Import):
            names |= {alias.name.split(".")[1] for alias in node.names if alias.name.startswith("nodewise.")}
    return names


@pytest.mark.parametrize("folder", MAY_IMPORT)
def test_a_folder_imports_only_what_lies_below_it(folder: str) -> None:
    modules = sorted((SOURCE / folder).rglob("*.py"))
    assert modules
    for module in modules:
        beyond = imported_folders(module) - MAY_IMPORT[folder] - {folder}
        assert not beyond, f"{module.name} imports from {sorted(beyond)}"


def test_every_folder_has_its_row() -> None:
    folders = {path.relative_to(SOURCE).parts[0] for path in SOURCE.glob("*/**/*.py")}
    assert folders == {*MAY_IMPORT, "cli"}


def test_importing_nodewise_loads_nothing_heavy() -> None:
    code = "import sys, nodewise, nodewise.cli.main; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    heavy = {"cv2", "httpx", "matplotlib", "numpy", "pandas", "pyarrow", "pydantic", "pyspark", "ray", "sklearn"}
    heavy |= {"mlflow", "sqlalchemy", "tensorflow", "torch", "yaml"}
    assert heavy.isdisjoint(loaded), sorted(heavy.intersection(loaded))
