"""Planted secrets are in nothing that a command shows or keeps."""

from __future__ import annotations

from pathlib import Path

from .conftest import Cli

SECRET = "Zq7" + "Kv2mW9xR4tLb8N"


def everything_in(folder: Path) -> bytes:
    return b"".join(path.read_bytes() for path in folder.rglob("*") if path.is_file())


def test_a_secret_in_the_arguments_is_neither_shown_nor_kept(cli: Cli, tmp_path: Path) -> None:
    done = cli("prepare", f"https://user:{SECRET}@host/a.tar?sig={SECRET}", "shards", "--json", "out.json")
    assert done.returncode == 2
    assert "***" in done.stderr
    done_too = cli("prepare", "digits", "shards", "--tag", f"token={SECRET}")
    assert done_too.returncode == 2
    assert "tags.token looks like a secret" in done_too.stderr
    shown = done.stdout + done.stderr + done_too.stdout + done_too.stderr
    assert SECRET not in shown
    assert SECRET.encode() not in everything_in(tmp_path)


def test_a_secret_of_the_environment_is_not_shown_when_an_error_repeats_it(cli: Cli, tmp_path: Path) -> None:
    done = cli("prepare", f"folder-{SECRET}", "shards", "--json", "-", env={"STORAGE_TOKEN": SECRET})
    assert done.returncode == 2
    assert "folder-***" in done.stderr
    assert SECRET not in done.stdout + done.stderr
    assert SECRET.encode() not in everything_in(tmp_path)


def test_a_run_keeps_none_of_its_secrets(cli: Cli, tmp_path: Path) -> None:
    arguments = ["--size", "8", "--sample", "0.02", "--json", f"token={SECRET}.json"]
    done = cli("prepare", "digits", "shards", *arguments, env={"STORAGE_TOKEN": SECRET})
    assert done.returncode == 0, done.stderr
    assert SECRET.encode() not in everything_in(tmp_path / "ws")
    shown = cli("runs", "list", "--json", "-").stdout
    assert SECRET not in shown
    assert "token=***" in shown
