"""Models that were given a name in the registry."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime

__all__ = ["ModelVersion", "RegisteredModel"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelVersion:
    """One version of a named model.

    Attributes:
        version: From 1; a number is never given twice.
        uri: What ``nodewise score --model`` and MLflow take: ``models:/flowers/3``.
        aliases: Names that stand for this version at present: ``models:/flowers@champion``.
        run_id: The run of nodewise that trained it; empty for a version that something else registered.
        mlflow_run_id: The same run in MLflow.
        accuracy: Of the records that were held out from its training.
        data_fingerprint: Of the shards that it was trained on: the same for the same images, settings and seed.
        sha256: Of the model file; empty for a version that something else registered.
        source: Where MLflow keeps it.
    """

    name: str
    version: int
    uri: str
    created_at: datetime
    aliases: tuple[str, ...] = ()
    description: str = ""
    run_id: str = ""
    mlflow_run_id: str = ""
    accuracy: float | None = None
    data_fingerprint: str = ""
    sha256: str = ""
    source: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class RegisteredModel:
    """A named model: ``versions``, the newest first."""

    name: str
    description: str = ""
    versions: tuple[ModelVersion, ...] = ()
    aliases: dict[str, int] = field(default_factory=dict)
