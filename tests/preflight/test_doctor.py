"""What the doctor says of this machine."""

from __future__ import annotations

from pathlib import Path

import pytest

from nodewise.isolation.tiers import detect_tier
from nodewise.preflight.doctor import DoctorCheck, DoctorReport, machine_checks
from nodewise.workspace import Workspace


def by_name(report: DoctorReport) -> dict[str, DoctorCheck]:
    return {check.name: check for check in report.checks}


def test_every_check_that_fails_has_a_remedy_and_one_that_passes_none(tmp_path: Path) -> None:
    report = machine_checks(Workspace(tmp_path / "ws"))
    checks = by_name(report)
    assert {"Python", "Java", "pyspark", "ray", "torch", "CPU", "memory", "workspace", "clock"} <= checks.keys()
    assert all(check.detail for check in checks.values())
    assert all(check.remedy is None for check in checks.values() if check.ok)
    assert checks["Python"].ok
    assert report.ok
    assert not (tmp_path / "ws").exists()


def test_it_shows_what_was_found_about_isolation(tmp_path: Path) -> None:
    report, tier = machine_checks(Workspace(tmp_path / "ws")), detect_tier()
    assert report.emulation_tier == tier.tier
    for finding in tier.findings:
        assert by_name(report)[finding.name].ok == finding.ok


def test_missing_java_is_told_and_nothing_that_is_required(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JAVA_HOME", str(tmp_path))
    report = machine_checks(Workspace(tmp_path / "ws"))
    java = by_name(report)["Java"]
    assert not java.ok
    assert java.remedy is not None
    assert "openjdk-17" in java.remedy
    assert report.ok


def test_a_workspace_that_cannot_be_read_is_required(tmp_path: Path) -> None:
    (tmp_path / "nodewise.db").write_bytes(b"not a database" * 100)
    report = machine_checks(Workspace(tmp_path))
    assert not by_name(report)["workspace"].ok
    assert not report.ok
