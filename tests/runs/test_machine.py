"""The evidence of a run."""

from __future__ import annotations

import json
import sys

import pytest

from nodewise.runs.machine import provenance


def test_the_command_line_is_kept_without_its_secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    secret = "Zq7" + "Kv2mW9xR4tLb8N"
    arguments = [
        "prepare",
        f"https://u:{secret}@h/a.tar",
        "shards",
        "--token",
        secret,
        f"--sas={secret}",
        "--nodes",
        "2",
    ]
    monkeypatch.setattr(sys, "argv", ["/bin/nodewise", *arguments])
    facts = provenance()
    assert secret not in json.dumps(facts)
    assert facts["command"] == [
        *("nodewise", "prepare", "https://u:***@h/a.tar", "shards", "--token", "***", "--sas=***", "--nodes", "2")
    ]
