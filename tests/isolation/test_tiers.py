"""Which tier a machine allows, and why."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

from nodewise.core.errors import UnknownNameError
from nodewise.isolation.leftovers import leftovers
from nodewise.isolation.places import Isolation
from nodewise.isolation.tiers import NEEDS, detect_tier
from nodewise.specs.place import EmulationTier, NodeLimits

from .conftest import require_tier

TRY = """
import dataclasses, json
from nodewise.isolation.tiers import detect_tier
report = detect_tier()
print(json.dumps([report.tier, [dataclasses.asdict(found) for found in report.findings]]))
"""


def detect_elsewhere(code: str = TRY, **settings: object) -> tuple[str, dict[str, dict[str, object]]]:
    """Tier and findings by name, from a process of its own."""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, **settings)
    assert done.returncode == 0, done.stderr
    tier, findings = json.loads(done.stdout)
    return tier, {found["name"]: found for found in findings}


def test_the_tier_is_the_best_whose_needs_were_found_working() -> None:
    report = detect_tier()
    working = {found.name for found in report.findings if found.ok}
    assert report.tier == next(tier for tier, needs in NEEDS.items() if needs <= working)
    assert all(found.detail for found in report.findings)
    assert all((found.remedy is None) == found.ok for found in report.findings)
    assert all("\n" not in found.detail for found in report.findings)


def test_finding_out_leaves_nothing_behind() -> None:
    code = TRY + "import os; print(os.getpid())"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    pid = done.stdout.split()[-1]
    assert [found for found in leftovers() if found.cluster_id.startswith(f"probe-{pid}-")] == []


def test_what_a_process_left_that_was_killed_while_it_found_out_is_removed_by_the_next() -> None:
    require_tier(EmulationTier.NAMESPACES)
    ended = subprocess.Popen(["sleep", "60"])
    dead = Isolation(f"probe-{ended.pid}-0a1b2c", EmulationTier.NAMESPACES)
    live = Isolation(f"probe-{os.getpid()}-0a1b2c", EmulationTier.NAMESPACES)
    try:
        dead.add_node("node-0", NodeLimits())
        # Only now: any other process that looks would remove it half-made.
        ended.kill()
        ended.wait()
        detect_elsewhere()
        ids = {found.cluster_id for found in leftovers()}
        assert f"probe-{ended.pid}-0a1b2c" not in ids
        assert f"probe-{os.getpid()}-0a1b2c" in ids
    finally:
        ended.kill()
        ended.wait()
        dead.close()
        live.close()


@pytest.mark.parametrize("cap", list(EmulationTier))
def test_the_variable_caps_the_tier(cap: EmulationTier, monkeypatch: pytest.MonkeyPatch) -> None:
    require_tier(cap)
    monkeypatch.setenv("NODEWISE_EMULATION_TIER", cap)
    assert detect_tier().tier == cap
    assert detect_tier(EmulationTier.PROCESSES).tier == EmulationTier.PROCESSES


@pytest.mark.parametrize("wanted", list(EmulationTier))
def test_no_better_tier_is_taken_than_was_asked_for(wanted: EmulationTier) -> None:
    require_tier(wanted)
    assert detect_tier(wanted).tier == wanted


def test_an_unknown_tier_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NODEWISE_EMULATION_TIER", "cgroup")
    with pytest.raises(UnknownNameError, match="unknown emulation tier 'cgroup' in NODEWISE_EMULATION_TIER"):
        detect_tier()


def test_without_the_programs_for_networks_nodes_share_the_machines() -> None:
    require_tier(EmulationTier.CGROUPS)
    tier, findings = detect_elsewhere(env={**os.environ, "PATH": ""})
    assert tier == "cgroups"
    assert findings["network namespaces"]["detail"] == "the program 'ip' is not on this machine"


def test_what_cannot_be_removed_for_want_of_a_program_is_no_reason_to_fail() -> None:
    require_tier(EmulationTier.NAMESPACES)
    ended = subprocess.Popen(["true"])
    ended.wait()
    dead = Isolation(f"probe-{ended.pid}-0a1b2c", EmulationTier.NAMESPACES)
    try:
        dead.add_node("node-0", NodeLimits())
        tier, _ = detect_elsewhere(env={**os.environ, "PATH": ""})  # another process may remove it meanwhile
        assert tier == "cgroups"
    finally:
        dead.close()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_an_ordinary_user_is_told_what_is_missing() -> None:
    # After the import: root's Python may lie where others cannot read.
    become = "import os; os.setgroups([]); os.setgid(65534); os.setuid(65534)\n"
    tier, findings = detect_elsewhere(TRY.replace("report =", become + "report ="))
    assert tier == "processes"
    for name in ("control groups: cpu", "control groups: memory", "network namespaces"):
        assert not findings[name]["ok"]
        assert findings[name]["remedy"]
