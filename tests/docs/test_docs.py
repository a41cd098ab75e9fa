"""What the documentation says can be typed, opened and found."""

from __future__ import annotations

import ast
import dataclasses
import inspect
import re
import shlex
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_type_hints

import pytest
import typer.main

import nodewise
from nodewise.api import RunOptions
from nodewise.cli.main import app
from nodewise.metering.prices import node_type_names
from nodewise.specs.codec import load_compare, load_definition
from nodewise.specs.definition import ClusterDefinition
from nodewise.training.models import build_model

ROOT = Path(__file__).parents[2]
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")])
CLI: Any = typer.main.get_command(app)


def names_of(paths: list[Path]) -> list[str]:
    return [str(path.relative_to(ROOT)) for path in paths]


def blocks(path: Path, language: str) -> list[str]:
    """The fenced blocks of a language in a page."""
    return re.findall(rf"^```{language}\n(.*?)^```", path.read_text(), re.MULTILINE | re.DOTALL)


def parse_command(line: str) -> str:
    """Parse a command line as nodewise would and run nothing; the command's name. Unknown options raise."""
    words = shlex.split(line, comments=True)
    ends = [index for index, word in enumerate(words) if word in ("|", ">", "&&", ";")]
    arguments = words[1 : ends[0] if ends else None]
    context, names = None, []
    command = CLI
    while True:
        context = command.make_context(command.name, arguments, parent=context)
        if not hasattr(command, "resolve_command"):
            return " ".join(names)
        name, command, arguments = command.resolve_command(context, [*context._protected_args, *context.args])
        names.append(name)


def all_commands() -> Iterator[tuple[str, Any]]:
    """Every command that does something, by its full name."""

    def walk(group: Any, prefix: str) -> Iterator[tuple[str, Any]]:
        for name, command in group.commands.items():
            if hasattr(command, "commands"):
                yield from walk(command, f"{prefix}{name} ")
            else:
                yield f"{prefix}{name}", command

    return walk(CLI, "")


COMMANDS = dict(all_commands())
DOCUMENTED_LINES = [
    pytest.param(line.removeprefix("$ "), id=f"{path.name}: {line.removeprefix('$ nodewise ')}")
    for path in PAGES
    for block in blocks(path, "console")
    for line in block.splitlines()
    if line.removeprefix("$ ").startswith("nodewise")
]


@pytest.fixture(autouse=True)
def in_an_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize("line", DOCUMENTED_LINES)
def test_a_documented_command_line_can_be_typed(line: str) -> None:
    assert parse_command(line) in COMMANDS


@pytest.mark.parametrize("line", ["nodewise prepare photos shards --sizes 64", "nodewise train --epochs many shards"])
def test_a_wrong_command_line_would_be_found(line: str) -> None:
    with pytest.raises(typer.BadParameter.__bases__[0]):
        parse_command(line)


@pytest.mark.parametrize("name", COMMANDS)
def test_the_help_of_every_command_has_an_example_that_can_be_typed(name: str) -> None:
    example = re.fullmatch(r"Example: (nodewise .*)", COMMANDS[name].epilog)
    assert example is not None
    assert parse_command(example[1]) == name


def test_every_command_is_in_the_readme_or_the_docs() -> None:
    text = "\n".join(path.read_text() for path in PAGES)
    assert [name for name in COMMANDS if f"nodewise {name}" not in text] == []


@pytest.mark.parametrize("page", names_of(PAGES))
def test_every_relative_link_leads_somewhere(page: str) -> None:
    path = ROOT / page
    text = re.sub(r"^```.*?^```", "", path.read_text(), flags=re.MULTILINE | re.DOTALL)
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if re.match(r"[a-z]+:", target):
            continue
        name, _, anchor = target.partition("#")
        linked = (path.parent / name).resolve() if name else path
        assert linked.exists(), f"{page}: {target}"
        assert not anchor or anchor in anchors(linked), f"{page}: {target}"


def anchors(path: Path) -> set[str]:
    """As GitHub makes them from headings."""
    headings = re.findall(r"^#+ (.+)$", path.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_every_page_of_docs_is_linked_from_the_readme() -> None:
    readme = (ROOT / "README.md").read_text()
    pages = names_of([path for path in PAGES if path.parent.name == "docs"])
    assert pages
    assert [page for page in pages if f"]({page}" not in readme] == []


def test_dependencies_are_those_of_the_project_no_more_and_no_fewer() -> None:
    content = tomllib.loads((ROOT / "pyproject.toml").read_text())
    project = content["project"]
    requirements = [
        *content["build-system"]["requires"],
        *project["dependencies"],
        *(one for extra in project["optional-dependencies"].values() for one in extra),
    ]
    wanted = {re.match(r"[\w.-]+", requirement)[0].lower() for requirement in requirements} - {"nodewise"}  # type: ignore[index]
    rows = re.findall(r"^\| (`.*?) \|", (ROOT / "docs" / "dependencies.md").read_text(), re.MULTILINE)
    assert {name.lower() for row in rows for name in re.findall(r"`([\w.-]+)`", row)} == wanted


@pytest.mark.parametrize("page", names_of([path for path in PAGES if blocks(path, "yaml")]))
def test_documented_comparisons_and_definitions_are_valid(page: str, tmp_path: Path) -> None:
    for number, block in enumerate(blocks(ROOT / page, "yaml")):
        file = tmp_path / f"{number}.yaml"
        file.write_text(block)
        if "scenarios:" in block:
            assert len(load_compare(file, node_type_names=node_type_names()).scenarios) > 1
        else:
            assert load_definition(file, node_type_names=node_type_names()).max_nodes > 1


def test_every_key_of_a_definition_is_documented() -> None:
    page = (ROOT / "docs" / "clusters.md").read_text()
    section = page.partition("## Definition\n")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| `(\w+)` \|", section, re.MULTILINE)
    assert rows == [field.name for field in dataclasses.fields(ClusterDefinition)]


def test_the_readme_has_a_comparison_file_and_python() -> None:
    assert blocks(ROOT / "README.md", "yaml")
    assert blocks(ROOT / "README.md", "python")


@pytest.mark.parametrize("page", names_of([path for path in PAGES if blocks(path, "python")]))
def test_documented_python_calls_functions_and_reads_fields_that_exist(page: str) -> None:
    for block in blocks(ROOT / page, "python"):
        tree = ast.parse(block)
        results: dict[str, type] = {}
        for node in ast.walk(tree):
            if isinstance(node, ast.Call) and (name := nodewise_function(node)):
                check_call(getattr(nodewise, name), node)
            if isinstance(node, ast.Assign) and isinstance(node.value, ast.Call):
                name = nodewise_function(node.value)
                if name and isinstance(node.targets[0], ast.Name):
                    results[node.targets[0].id] = get_type_hints(getattr(nodewise, name))["return"]
        for node in ast.walk(tree):
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id in results:
                kind = results[node.value.id]
                assert node.attr in {field.name for field in dataclasses.fields(kind)}, f"{kind.__name__}.{node.attr}"


def nodewise_function(call: ast.Call) -> str | None:
    """``x`` of ``nodewise.x(...)``."""
    function = call.func
    if isinstance(function, ast.Attribute) and isinstance(function.value, ast.Name) and function.value.id == "nodewise":
        return function.attr
    return None


def check_call(function: Any, call: ast.Call) -> None:
    signature = inspect.signature(function)
    keywords = {keyword.arg: None for keyword in call.keywords if keyword.arg}
    signature.bind(*call.args, **keywords)
    # The rest of the options is a TypedDict, which bind takes for anything.
    assert keywords.keys() <= signature.parameters.keys() | RunOptions.__annotations__.keys()


def test_the_documented_network_can_be_trained(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (source,) = blocks(ROOT / "docs" / "jobs.md", "python")
    (tmp_path / "my_networks.py").write_text(source)
    monkeypatch.syspath_prepend(tmp_path)
    network = build_model("my_networks:small_net", num_classes=5, image_shape=(3, 64, 48))
    # 3x3 weights and biases: 3 * 16 * 9 + 16, 16 * 32 * 9 + 32; dense: 32 * 4 * 4 * 5 + 5.
    assert sum(weights.numel() for weights in network.parameters()) == 448 + 4640 + 2565
