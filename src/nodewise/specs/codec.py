"""Files and JSON to specs and back: strict for what a person typed, lenient for what nodewise stored."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Collection
from datetime import datetime
from decimal import Decimal
from enum import Enum
from pathlib import Path, PurePath
from typing import Any, TypeVar

from nodewise.core.errors import SpecError
from nodewise.specs.checks import problems_of_compare
from nodewise.specs.cluster_checks import problems_of_definition
from nodewise.specs.definition import ClusterDefinition
from nodewise.specs.run import RunRecord
from nodewise.specs.scenario import CompareSpec
from nodewise.specs.yaml_file import load_spec

__all__ = [
    "definition_from_json",
    "definition_to_json",
    "load_compare",
    "load_definition",
    "run_from_json",
    "run_to_json",
    "to_json",
]

Stored = TypeVar("Stored")

# --- from a file -----------------------------------------------------------------------------------------------------


def load_compare(path: Path, *, node_type_names: Collection[str] | None = None) -> CompareSpec:
    """Read a comparison file.

    Args:
        path: The YAML file.
        node_type_names: The node types that exist; None leaves the names unchecked.

    Raises:
        SpecError: See :func:`~nodewise.specs.yaml_file.load_spec`.
    """
    return load_spec(
        path,
        CompareSpec,
        "comparison file",
        "name, dataset and scenarios",
        lambda spec: problems_of_compare(spec, node_type_names),
    )


def load_definition(path: Path, *, node_type_names: Collection[str] | None = None) -> ClusterDefinition:
    """Read the definition of a cluster; its ``init_script`` becomes an absolute path.

    Args:
        path: The YAML file.
        node_type_names: The node types that exist; None leaves the names unchecked.

    Raises:
        SpecError: See :func:`~nodewise.specs.yaml_file.load_spec`; also for a secret in clear.
    """
    spec = load_spec(
        path,
        ClusterDefinition,
        "cluster definition",
        "name and engine",
        lambda spec: problems_of_definition(spec, node_type_names),
    )
    if spec.init_script is None:
        return spec
    return dataclasses.replace(spec, init_script=str(path.absolute().parent / spec.init_script))


# --- JSON ------------------------------------------------------------------------------------------------------------


def to_json(value: Any) -> Any:  # noqa: PLR0911 - one line per kind of value
    """Plain data that ``json.dumps`` takes and every JSON reader understands.

    Dataclasses become objects, tuples lists, instants ISO 8601, paths and enumerations text. A Decimal becomes a float
    (results are for reading; the store keeps money as text), and a float that JSON has no word for (nan, inf) null.
    """
    match value:
        case Enum():
            return to_json(value.value)
        case bool() | int() | str() | None:
            return value
        case float():
            return value if math.isfinite(value) else None
        case Decimal():
            return float(value)
        case datetime():
            return value.isoformat()
        case PurePath():
            return str(value)
        case dict():
            return {str(key): to_json(item) for key, item in value.items()}
        case list() | tuple() | set() | frozenset():
            return [to_json(item) for item in value]
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: to_json(getattr(value, field.name)) for field in dataclasses.fields(value)}
    raise TypeError(f"no JSON for a value of type {type(value).__name__}")


def run_to_json(run: RunRecord) -> dict[str, Any]:
    """A run as stored: :func:`to_json`, except that the cost stays exact, as text."""
    data: dict[str, Any] = to_json(run)
    data["cost_usd"] = None if run.cost_usd is None else str(run.cost_usd)
    return data


def run_from_json(data: dict[str, Any]) -> RunRecord:
    """The run that :func:`run_to_json` wrote. Keys that this version does not know are passed over.

    Raises:
        SpecError: A field is missing or holds what it cannot.
    """
    return _from_json(RunRecord, data, f"stored run {data.get('run_id')!r}")


def definition_to_json(definition: ClusterDefinition) -> dict[str, Any]:
    """A definition as stored: :func:`to_json`, except that the budget stays exact, as text."""
    data: dict[str, Any] = to_json(definition)
    data["budget_usd"] = None if definition.budget_usd is None else str(definition.budget_usd)
    return data


def definition_from_json(data: dict[str, Any]) -> ClusterDefinition:
    """The definition that :func:`definition_to_json` wrote. Keys that this version does not know are passed over.

    Raises:
        SpecError: A field is missing or holds what it cannot.
    """
    known = {field.name: data[field.name] for field in dataclasses.fields(ClusterDefinition) if field.name in data}
    return _from_json(ClusterDefinition, known, f"stored cluster {data.get('name')!r}")


def _from_json(kind: type[Stored], data: dict[str, Any], what: str) -> Stored:
    from pydantic import TypeAdapter, ValidationError

    try:
        return TypeAdapter(kind).validate_json(json.dumps(data))
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        place = ".".join(map(str, first["loc"]))
        raise SpecError(f"{what}: {place}: {first['msg']}") from None
