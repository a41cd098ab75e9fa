"""All checks of a start in one call."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from pathlib import Path

from nodewise.core.errors import InputError, PreflightError
from nodewise.core.findings import Finding
from nodewise.core.progress import SILENT, Progress
from nodewise.preflight.dependencies import missing_for_engine
from nodewise.preflight.imports import check_imports, check_libraries
from nodewise.preflight.inputs import check_inputs, check_room
from nodewise.preflight.machine import check_machine, check_tasks
from nodewise.preflight.money import check_money, check_quota
from nodewise.preflight.plan import Plan

__all__ = ["check", "require"]


def check(plan: Plan) -> list[Finding]:
    """Everything that would go wrong, errors first; nothing is started, made or changed."""
    findings = [
        *_check_engine(plan),
        *_check_definition(plan),
        *check_inputs(plan),
        *check_imports(plan),
        *check_libraries(plan),
        *check_room(plan),
        *check_machine(plan),
        *check_tasks(plan),
        *check_quota(plan),
        *check_money(plan),
    ]
    prefix = f"{plan.name}: " if plan.name else ""
    named = [dataclasses.replace(finding, what=prefix + finding.what) for finding in findings]
    return sorted(named, key=lambda finding: finding.level != "error")


def require(plans: Sequence[Plan], progress: Progress = SILENT) -> None:
    """Check what will be started one after another; warnings go to ``progress``.

    Raises:
        PreflightError: There are errors; it carries them all, and the warnings.
    """
    findings = list(dict.fromkeys(finding for plan in plans for finding in check(plan)))
    if any(finding.level == "error" for finding in findings):
        raise PreflightError(findings)
    for finding in findings:
        progress.note(f"{finding.text} ({finding.remedy})")


def _check_engine(plan: Plan) -> Iterator[Finding]:
    missing = missing_for_engine(plan.cluster.engine)
    if missing is not None:
        yield Finding(level="error", what=missing.message, remedy=missing.hint or "")


def _check_definition(plan: Plan) -> Iterator[Finding]:
    definition = plan.definition
    if definition is None or plan.is_up:
        return
    try:
        definition.environment_from(plan.variables)
    except InputError as error:
        yield Finding(level="error", what=error.message, remedy=error.hint or "")
    script = definition.init_script
    if script is not None and not Path(script).is_file():
        yield Finding(
            level="error",
            what=f"the init script {script} does not exist",
            remedy="its path is relative to the file of the definition",
        )
