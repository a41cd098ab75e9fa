"""Tests of programs that are waited for."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from nodewise.clusters.daemons import Daemons
from nodewise.core.errors import NodewiseError


def test_nobody_waits_for_a_node_once_what_it_would_join_has_ended(tmp_path: Path) -> None:
    daemons = Daemons(tmp_path)
    try:
        daemons.start("head", ["sh", "-c", "echo out of luck; exit 3"], os.environ, essential=True)
        daemons.start("node-0", ["sleep", "600"], os.environ)
        with pytest.raises(NodewiseError, match="head ended with status 3: out of luck"):
            daemons.wait_for_text("node-0", "joined", 60)
    finally:
        daemons.kill()


def test_a_node_that_has_ended_keeps_nobody_from_waiting_for_another(tmp_path: Path) -> None:
    daemons = Daemons(tmp_path)
    try:
        daemons.start("node-0", ["false"], os.environ)
        daemons.start("node-1", ["sh", "-c", "sleep 0.3; echo joined; sleep 600"], os.environ)
        assert daemons.wait_for_text("node-1", "joined", 60) == "joined"
        assert list(daemons.ended()) == ["node-0"]
    finally:
        daemons.kill()
