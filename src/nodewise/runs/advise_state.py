"""The runs of a search, kept in the workspace so that it can go on later: one JSON file for each job."""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import asdict
from pathlib import Path
from typing import Any

from nodewise.core.errors import CorruptFileError
from nodewise.core.files import write_atomic
from nodewise.specs.advice import AdviceStep, ConfigurationName
from nodewise.specs.codec import to_json
from nodewise.specs.scenario import CompareSpec
from nodewise.workspace import Workspace

__all__ = ["SearchState", "slug_of"]


class SearchState:
    """The runs of the search for one job.

    A job is known by its name, its settings, its data and its engine; with others it is another job.

    Raises:
        CorruptFileError: The file is damaged; so too from :meth:`load`.
    """

    def __init__(self, spec: CompareSpec, workspace: Workspace) -> None:
        self._workspace = workspace
        facts = json.dumps(to_json([spec.jobs, spec.dataset, spec.scenarios[0].engine]), sort_keys=True)
        self._fingerprint = hashlib.sha256(facts.encode()).hexdigest()
        self._slug = slug_of(spec.name)
        self.path = workspace.root / "advice" / f"{self._slug}-{self._fingerprint[:8]}.json"

    def load(self) -> list[AdviceStep]:
        """The runs so far, in their order."""
        return _load(self.path) if self.path.is_file() else []

    def of_same_name(self) -> list[list[AdviceStep]]:
        """The runs of the other jobs of this name, with other settings or other data; those of each job.

        Raises:
            CorruptFileError: A file is damaged.
        """
        paths = self.path.parent.glob(f"{self._slug}-{'[0-9a-f]' * 8}.json")
        return [_load(path) for path in sorted(paths) if path != self.path]

    def records_per_run(self) -> int | None:
        """Images that a run of the search handled, the newest one that ended well; None: nobody knows of any."""
        ids = {step.run_id for step in self.load() if step.is_ok and step.run_id is not None}
        # Of what a program handles its record does not tell.
        found = (
            stage.records
            for run in self._workspace.list_runs()
            if run.run_id in ids
            for stage in run.stages
            if stage.name == "prepare"
        )
        return next(found, None)

    def save(self, steps: list[AdviceStep]) -> None:
        """Keep them, whole or not at all."""
        self._workspace.create()
        self.path.parent.mkdir(exist_ok=True)
        facts = {"fingerprint": self._fingerprint, "steps": [asdict(step) for step in steps]}
        write_atomic(self.path, json.dumps(facts, indent=2) + "\n")


def slug_of(name: str) -> str:
    """A name such as a file may have."""
    return re.sub(r"[^a-z0-9]+", "-", name.casefold()).strip("-")[:40] or "job"


def _load(path: Path) -> list[AdviceStep]:
    try:
        kept = json.loads(path.read_text(encoding="utf-8"))
        return [_step(step) for step in kept["steps"]]
    except (ValueError, KeyError, TypeError) as error:
        raise CorruptFileError(
            str(path), f"no search can be read from it: {error}", hint="remove it, or begin anew with --anew"
        ) from None


def _step(kept: dict[str, Any]) -> AdviceStep:
    return AdviceStep(**{**kept, "configuration": ConfigurationName(**kept["configuration"])})
