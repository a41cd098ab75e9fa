"""Whether the nodes will have what a user's program imports, told from its syntax tree; nothing of it is run."""

from __future__ import annotations

import ast
import difflib
import functools
import importlib.metadata
import importlib.util
import json
import re
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from nodewise.core.findings import Finding
from nodewise.preflight.plan import Plan

__all__ = ["check_imports", "check_libraries"]

# What a library is imported as, where that is not its name; used for those that are not installed here.
_IMPORTED_AS = {
    "beautifulsoup4": "bs4",
    "google-cloud-bigquery": "google.cloud.bigquery",
    "google-cloud-storage": "google.cloud.storage",
    "grpcio": "grpc",
    "imbalanced-learn": "imblearn",
    "msgpack-python": "msgpack",
    "opencv-contrib-python": "cv2",
    "opencv-python": "cv2",
    "opencv-python-headless": "cv2",
    "pillow": "PIL",
    "protobuf": "google.protobuf",
    "psycopg2-binary": "psycopg2",
    "pycryptodome": "Crypto",
    "pyjwt": "jwt",
    "python-dateutil": "dateutil",
    "python-dotenv": "dotenv",
    "pyyaml": "yaml",
    "pyzmq": "zmq",
    "scikit-image": "skimage",
    "scikit-learn": "sklearn",
    "tensorflow-cpu": "tensorflow",
}
# What the nodes' engine and nodewise itself are; another version of them would not fit the driver's.
_FIXED = ("nodewise", "pyspark", "ray", "cloudpickle")


@dataclass(frozen=True, slots=True)
class _Import:
    """``names``: what is taken from the module; ``is_relative``: it is of the program's own, named from its folder."""

    module: str
    line: int
    may_be_missing: bool
    names: tuple[str, ...] = ()
    is_relative: bool = False

    @property
    def top(self) -> str:
        return self.module.partition(".")[0]


def check_imports(plan: Plan) -> Iterator[Finding]:
    """Every module that the script imports, and every module beside it that it imports, will be there.

    What stands in ``try ... except ImportError`` may be missing, and is a warning.
    """
    # What a cluster elsewhere has is not known here.
    if plan.script is None or not plan.cluster.emulated:
        return
    if not plan.script.is_file():
        yield Finding(level="error", what=f"{plan.script} does not exist", remedy="give the path of the program")
        return
    known = {_imported_as(line) for line in plan.libraries} - {""}
    waiting, seen = [plan.script], {plan.script}
    while waiting:
        file = waiting.pop()
        try:
            found = _imports_of(file, plan.script.parent)
        except (SyntaxError, ValueError, OSError, RecursionError) as error:
            line = f", line {error.lineno}" if isinstance(error, SyntaxError) and error.lineno else ""
            reason = error.msg if isinstance(error, SyntaxError) else str(error)
            yield Finding(level="error", what=f"{file}{line}: not valid Python", detail=reason, remedy="correct it")
            continue
        for one in found:
            beside = _beside(plan.script.parent, one.module)
            if beside is not None:
                waiting += [path for path in beside if path not in seen]
                seen |= set(beside)
            elif not one.is_relative:
                yield from _missing(file, one, known)


def check_libraries(plan: Plan) -> Iterator[Finding]:
    """No library asks for another version of what the nodes and the driver must have in common."""
    from packaging.requirements import InvalidRequirement, Requirement

    for line in plan.libraries:
        try:
            requirement = Requirement(re.sub(r"\s#.*", "", line))
        except InvalidRequirement:
            # A path, which pip understands.
            continue
        name = _normal(requirement.name)
        if name not in _FIXED:
            continue
        try:
            here = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
        if not requirement.specifier.contains(here, prereleases=True):
            yield Finding(
                level="error",
                what=f"the library {line!r} would replace {name} {here}",
                detail="nodes and driver must have the same version",
                remedy=f"leave it out of the libraries, or install it here first: pip install '{line}'",
            )


def _imports_of(file: Path, folder: Path) -> list[_Import]:
    """What a file imports, wherever the import stands; ``folder`` is the script's."""
    found: list[_Import] = []
    # Nodes, and whether a missing module is expected there.
    waiting: list[tuple[ast.AST, bool]] = [(ast.parse(_source_of(file), filename=str(file)), False)]
    while waiting:
        node, guarded = waiting.pop()
        match node:
            case ast.Import():
                found += [_Import(alias.name, node.lineno, guarded) for alias in node.names]
            case ast.ImportFrom(module=str(module), level=0):
                found.append(_Import(module, node.lineno, guarded, tuple(alias.name for alias in node.names)))
            case ast.ImportFrom():
                above = file.relative_to(folder).parts[: -node.level]
                modules = [node.module] if node.module else [alias.name for alias in node.names]
                found += [_Import(".".join((*above, name)), node.lineno, guarded, is_relative=True) for name in modules]
            case ast.If(test=ast.Name(id="TYPE_CHECKING") | ast.Attribute(attr="TYPE_CHECKING")):
                # The body is never run.
                waiting += [(child, guarded) for child in node.orelse]
            case ast.Try(handlers=handlers) if any(map(_catches_missing, handlers)):
                waiting += [(child, True) for child in (*node.body, *handlers)]
                waiting += [(child, guarded) for child in (*node.orelse, *node.finalbody)]
            case _:
                waiting += [(child, guarded) for child in ast.iter_child_nodes(node)]
    return sorted(found, key=lambda one: one.line)


def _catches_missing(handler: ast.ExceptHandler) -> bool:
    if handler.type is None:
        return True
    names = {node.id for node in ast.walk(handler.type) if isinstance(node, ast.Name)}
    return not names.isdisjoint({"ImportError", "ModuleNotFoundError", "Exception", "BaseException"})


def _source_of(file: Path) -> str:
    if file.suffix != ".ipynb":
        return file.read_text(encoding="utf-8-sig")
    cells = json.loads(file.read_text(encoding="utf-8")).get("cells", [])
    code = ["".join(cell.get("source", "")) for cell in cells if cell.get("cell_type") == "code"]
    # Commands of the notebook itself, such as %pip and !ls, are no Python.
    return "\n".join(re.sub(r"(?m)^(\s*)[%!].*$", r"\1pass", text) for text in code if not text.startswith("%%"))


def _beside(folder: Path, module: str) -> list[Path] | None:
    """The files of a module that lies in the script's folder; None if it lies elsewhere."""
    top, *rest = module.split(".")
    if (folder / f"{top}.py").is_file():
        return [folder / f"{top}.py"]
    package = folder / top
    # A folder of data beside the script is no package.
    if not package.is_dir() or not (any(package.glob("*.py")) or (rest and (package / rest[0]).is_dir())):
        return None
    files = [package / "__init__.py"]
    for name in rest:
        files += [package / f"{name}.py", package / name / "__init__.py"]
        package /= name
    return [file for file in files if file.is_file()]


def _is_installed(module: str) -> bool:
    """Whether it can be imported here; nothing is run for it."""
    top, *rest = module.split(".")
    try:
        spec = importlib.util.find_spec(top)
    except (ImportError, ValueError):
        return False
    if spec is None:
        return False
    # A package without __init__, such as google, is there as soon as any part of it is.
    places = [] if spec.origin else [Path(place) for place in spec.submodule_search_locations or ()]
    for name in rest if places else ():
        if any(any(place.glob(f"{name}.*")) for place in places):
            return True
        places = [place / name for place in places if (place / name).is_dir()]
    return bool(places or spec.origin)


def _missing(file: Path, one: _Import, known: set[str]) -> Iterator[Finding]:
    if one.top in sys.stdlib_module_names or one.top == "__main__":
        return
    # What is taken from a package without __init__ can only be a module.
    modules = (one.module, *(f"{one.module}.{name}" for name in one.names))
    if any(name in (*modules, one.top) or one.module.startswith(f"{name}.") for name in known):
        return
    absent = next((module for module in modules if not _is_installed(module)), None)
    if absent is None:
        return
    libraries = [name for name, imported in _IMPORTED_AS.items() if imported in (absent, one.module, one.top)]
    library = libraries[-1] if libraries else one.top
    near = difflib.get_close_matches(one.top, _installed_names(), n=1, cutoff=0.8)
    remedy = f"add {library} to the libraries of the cluster, or pip install {library} here"
    yield Finding(
        level="warning" if one.may_be_missing else "error",
        what=f"{file.name}, line {one.line}: the nodes will have no module {absent!r}",
        remedy=f"did you mean {near[0]!r}? Else {remedy}" if near and near[0] != one.top else remedy,
    )


def _imported_as(line: str) -> str:
    """What a requirement is imported as, as far as that can be told from its name."""
    text = line.partition("@")[0].strip()
    # The name of a wheel file begins with that of its library.
    text = text.rpartition("/")[2].partition("-")[0] if text.endswith(".whl") else text
    match = re.match(r"[A-Za-z0-9][\w.-]*", text)
    if match is None:
        return ""
    name = _normal(match[0])
    modules = [module for module, names in _installed_names().items() if name in map(_normal, names)]
    return _IMPORTED_AS.get(name) or (modules[0] if modules else name.replace("-", "_"))


@functools.cache
def _installed_names() -> Mapping[str, list[str]]:
    """Modules and the names of the distributions that they belong to."""
    return importlib.metadata.packages_distributions()


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()
