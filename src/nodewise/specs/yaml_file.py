"""YAML that a person typed, as plain data and then as a spec.

YAML is read as a tree of nodes and never as objects, so that every problem can name its line, a key that stands twice
is seen, and aliases cannot grow without bound. Types follow YAML 1.1 as PyYAML has it, with two changes that spare the
usual traps: dates stay text, and ``1e-3`` is a number (as in YAML 1.2). pydantic then checks types and coerces none.
"""

from __future__ import annotations

import dataclasses
import difflib
import json
import re
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, get_args, get_type_hints

import yaml

from nodewise.core.errors import SpecError
from nodewise.core.secrets import is_secret_name
from nodewise.specs.problems import Key, Problem, format_key

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails

__all__ = ["load_spec"]

MAX_FILE_BYTES = 1 << 20
MAX_VALUES = 10_000
"""Values in a file with its aliases written out; some hundred scenarios need a tenth of it."""

Spec = TypeVar("Spec")


def load_spec(
    path: Path, kind: type[Spec], what: str, needs: str, problems_of: Callable[[Spec], Iterable[Problem]]
) -> Spec:
    """Read a file that holds one spec.

    Args:
        kind: The dataclass of the spec.
        what: What such a file is called: ``comparison file``.
        needs: The keys that it must have, in words.
        problems_of: What no type says, asked once the types are right.

    Raises:
        SpecError: The file is missing or unreadable, is not YAML, has an unknown or missing key, or a value of the
            wrong type or out of range. The message names file, line and key of the first problem and counts the others.
    """
    from pydantic import TypeAdapter, ValidationError

    source = _YamlFile(path, what, needs)
    try:
        # JSON, because strict validation of Python values would refuse a list where a tuple is declared.
        spec = TypeAdapter(kind).validate_json(json.dumps(source.data))
    except ValidationError as error:
        raise source.error(_problems_of_types(kind, error.errors(include_url=False))) from None
    problems = list(problems_of(spec))
    if problems:
        raise source.error(problems)
    return spec


class _Loader(yaml.SafeLoader):
    """SafeLoader without dates and with numbers like ``1e-3``."""


_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:timestamp"]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"[-+]?(?:\d+(?:\.\d*)?|\.\d+)[eE][-+]?\d+$"), list("-+.0123456789")
)
_SCALARS = tuple(f"tag:yaml.org,2002:{name}" for name in ("str", "int", "float", "bool", "null"))


class _YamlFile:
    """A YAML file as plain data, which remembers the line of every key."""

    def __init__(self, path: Path, what: str, needs: str) -> None:
        self.path = path
        self._what = what
        self._lines: dict[Key, int] = {}
        self._values = 0
        try:
            loader = _Loader(self._read())
            node = loader.get_single_node()
            if node is None:
                raise SpecError(f"{path} is empty", hint=f"a {what} needs at least {needs}")
            self.data = self._plain(loader, node, ())
        except yaml.MarkedYAMLError as error:
            mark = error.problem_mark or error.context_mark
            words = " ".join(filter(None, (error.context, error.problem)))
            raise self._refusal(mark, f"not valid YAML: {words}") from None
        except yaml.YAMLError as error:
            raise SpecError(f"{path}: not valid YAML: {' '.join(str(error).split())}") from None
        except RecursionError:
            raise SpecError(f"{path}: nested too deeply") from None
        if not isinstance(self.data, dict):
            raise SpecError(f"{path}, line 1: the file must be a mapping (key: value), not {_describe(self.data)}")

    def error(self, problems: list[Problem]) -> SpecError:
        """One error for all problems, the first in the file named in full."""
        placed = sorted(problems, key=lambda problem: self._line(problem.key))
        first, more = placed[0], len(placed) - 1
        rest = f" (and {more} more {'problem' if more == 1 else 'problems'})" if more else ""
        place = f"{self.path}, line {self._line(first.key)}: {format_key(first.key)}"
        return SpecError(f"{place} {first.text}{rest}", hint=first.hint)

    def _refusal(self, mark: yaml.Mark | None, text: str) -> SpecError:
        place = f", line {mark.line + 1}, column {mark.column + 1}" if mark else ""
        return SpecError(f"{self.path}{place}: {text}")

    def _read(self) -> str:
        try:
            if self.path.stat().st_size > MAX_FILE_BYTES:
                raise SpecError(f"{self.path}: longer than {MAX_FILE_BYTES:,} bytes, so not a {self._what}")
            return self.path.read_bytes().decode("utf-8-sig")
        except FileNotFoundError:
            raise SpecError(f"{self.path} does not exist", hint=f"give the path of a {self._what} (YAML)") from None
        except IsADirectoryError:
            raise SpecError(f"{self.path} is a folder", hint=f"give the path of a {self._what} (YAML)") from None
        except UnicodeDecodeError as error:
            raise SpecError(f"{self.path}: not text in UTF-8 (byte {error.start})") from None
        except OSError as error:
            raise SpecError(f"{self.path} cannot be read: {error.strerror}") from None

    def _plain(self, loader: _Loader, node: yaml.Node, key: Key) -> Any:
        self._values += 1
        self._lines.setdefault(key, node.start_mark.line + 1)
        if self._values > MAX_VALUES:
            raise self._refusal(node.start_mark, f"more than {MAX_VALUES:,} values, aliases written out")
        if isinstance(node, yaml.SequenceNode) and node.tag == "tag:yaml.org,2002:seq":
            return [self._plain(loader, item, (*key, index)) for index, item in enumerate(node.value)]
        if isinstance(node, yaml.MappingNode) and node.tag == "tag:yaml.org,2002:map":
            return self._mapping(loader, node, key)
        if isinstance(node, yaml.ScalarNode) and node.tag in _SCALARS:
            try:
                return loader.construct_object(node)
            except (ValueError, KeyError):
                raise self._refusal(node.start_mark, f"{node.value[:40]!r} is not a value of its type") from None
        raise self._refusal(node.start_mark, f"the tag {node.tag!r} has no place here")

    def _mapping(self, loader: _Loader, node: yaml.MappingNode, key: Key) -> dict[str, Any]:
        result: dict[str, Any] = {}
        for key_node, value_node in node.value:
            mark = key_node.start_mark
            if key_node.tag == "tag:yaml.org,2002:merge":
                problem = "merge keys (<<) are not supported; write the keys out, or name the whole value with an alias"
                raise self._refusal(mark, problem)
            if not isinstance(key_node, yaml.ScalarNode):
                raise self._refusal(mark, "a key must be text")
            # A key is text however it looks: `on:` or `2026:` among the tags would else be a truth value or a number.
            name: str = key_node.value
            if name in result:
                raise self._refusal(mark, f"the key {name!r} stands already in line {self._lines[(*key, name)]}")
            self._lines[(*key, name)] = mark.line + 1
            result[name] = self._plain(loader, value_node, (*key, name))
        return result

    def _line(self, key: Key) -> int:
        while key not in self._lines:
            key = key[:-1]
        return self._lines[key]


def _describe(value: Any) -> str:
    match value:
        case None:
            return "empty"
        case bool():
            return "true" if value else "false"
        case int() | float():
            return f"the number {value}"[:50]
        case str():
            return f"the text {value[:40]!r}"
        case dict():
            return "a mapping"
        case _:
            return "a list"


_EXPECTED = {
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "string_type": "text",
    "bool_type": "true or false",
    "decimal_type": "a number",
    "decimal_parsing": "a number",
    "tuple_type": "a list",
    "dict_type": "a mapping (key: value)",
    "dataclass_type": "a mapping (key: value)",
}


def _problems_of_types(spec: type, errors: list[ErrorDetails]) -> list[Problem]:
    problems: dict[Key, Problem] = {}
    for details in errors:
        # `source` is text or a list, and pydantic reports what is wrong with either, under a name for each.
        if details["loc"][-1:] == ("str",) and isinstance(details["input"], list):
            continue
        location = tuple(part for part in details["loc"] if part not in ("str", "tuple[str, ...]"))
        problems.setdefault(location, _problem_of(spec, location, details))
    return list(problems.values())


def _problem_of(spec: type, key: Key, details: ErrorDetails) -> Problem:
    """pydantic's error in nodewise's words."""
    kind, value = details["type"], details["input"]
    if kind == "unexpected_keyword_argument":
        known = _known_keys(spec, key[:-1])
        near = difflib.get_close_matches(str(key[-1]), known, n=1, cutoff=0.5)
        hint = f"did you mean {near[0]!r}?" if near else f"known keys here: {', '.join(known)}"
        return Problem(key, "is not a known key", hint)
    if kind in ("missing", "missing_argument", "missing_keyword_only_argument"):
        return Problem(key, "is missing")
    if kind == "literal_error":
        expected = details["ctx"]["expected"]
        near = difflib.get_close_matches(str(value), re.findall(r"'(.*?)'", expected), n=1, cutoff=0.5)
        meant = f"did you mean {near[0]!r}?" if near else None
        return Problem(key, f"must be {expected}, not {_describe(value)}", meant)
    expected = _EXPECTED.get(kind, details["msg"])
    if key == ("dataset", "source"):
        expected = "text or a list of texts"
    quotes = 'put it in quotes: "..."' if kind == "string_type" and isinstance(value, int | float) else None
    # What a key such as PASSWORD holds is never shown.
    shown = "what stands there" if is_secret_name(str(key[-1])) else _describe(value)
    return Problem(key, f"must be {expected}, not {shown}", quotes)


def _known_keys(spec: Any, key: Key) -> list[str]:
    """The fields of the spec that stands at ``key`` of another."""
    for part in key:
        hint = get_type_hints(spec)[part] if isinstance(part, str) else spec
        classes = [hint, *get_args(hint)]
        spec = next(cls for cls in classes if dataclasses.is_dataclass(cls))
    return [field.name for field in dataclasses.fields(spec)]
