"""``nodewise advise``: what is asked for, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from nodewise.cli.main import app
from nodewise.core.errors import InputError

JOB = """
name: nightly
jobs:
  command: {run: [python, work.py]}
scenarios:
  - {name: one, engine: local, nodes: 1, node_type: m5.large}
"""
M5 = ("--cloud", "aws", "--region", "us-east-1", "--family", "m5", "--max-nodes", "8")
STREAM = ("--stream", "--rate", "30000/m", "--p95", "2s", "--records-per-run", "100000")


@pytest.fixture(autouse=True)
def in_a_folder_with_a_job(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("job.yaml").write_text(JOB)


def advise(*arguments: str) -> str:
    command = ["advise", "job.yaml", "--no-run", *arguments]
    result = CliRunner().invoke(app, command, env={"COLUMNS": "80"}, catch_exceptions=False)
    assert result.exit_code == 0
    assert max(len(line) for line in result.output.splitlines() if not line.startswith("Report: ")) <= 80
    return " ".join(result.output.split())


def test_candidates_are_taken_from_the_table_and_counted() -> None:
    # Eight sizes of m5 on 1, 2, 3, 4, 6 and 8 nodes; an m5.large has 8 GiB and costs $0.096 an hour, others in
    # proportion to their vCPUs.
    text = advise(*M5, "--max-price", "0.40", "--min-memory", "16GiB")
    # Left are 2, 3 and 4 of m5.large, 1 and 2 of m5.xlarge and 1 of m5.2xlarge.
    assert "6 candidates; left out: 41 above $0.4 an hour; 1 with less than 16 GiB of memory in all." in text
    assert "Run next: " in text


def test_a_stream_is_read_with_its_units() -> None:
    text = advise(*M5, *STREAM, "--told", "2 x m5.xlarge = 6m", "--json", "advice.json")
    assert "No run was fast enough for 500/s with 95 % of the records done within 2.0 s yet" in text
    result = json.loads(Path("advice.json").read_text())["result"]
    assert result["stream"] == {"rate_per_s": 500.0, "p95_s": 2.0, "records_per_run": 100_000}
    (measured,) = (row for row in result["ranked"] if row["basis"] == "measured")
    assert measured["stream"]["records_per_s"] == pytest.approx(100_000 / 360)


def test_interruptions_are_read_with_their_units() -> None:
    spot = ("--spot", "--interruptions-per-hour", "0.1", "--checkpoint-every", "10m", "--restart-after", "90s")
    n2 = ("--family", "n2-standard", "--nodes", "2,4")
    text = advise(*n2, *spot, "--told", "2 x n2-standard-4 = 1h", "--json", "advice.json")
    assert "EXPECTED" in text
    result = json.loads(Path("advice.json").read_text())["result"]
    assert result["spot"] == {"interruptions_per_hour": 0.1, "checkpoint_s": 600.0, "restart_s": 90.0}
    assert result["choice"]["expected_s"] > 3600


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--spot",), "how often a cloud takes spot nodes back is in no price list"),
        (("--interruptions-per-hour", "1"), "interruptions and checkpoints are for spot prices"),
        (("--checkpoint-every", "5m"), "interruptions and checkpoints are for spot prices"),
        (("--spot", "--interruptions-per-hour", "1", "--checkpoint-every", "soon"), "--checkpoint-every: 'soon'"),
        (("--stream",), "a stream needs its rate"),
        (("--stream", "--rate", "5/s"), "a stream needs its rate, and what 95 %"),
        (("--rate", "5/s"), "are for a stream"),
        (("--records-per-run", "5"), "are for a stream"),
        (("--stream", "--rate", "5", "--p95", "1s"), "--rate: '5' is no rate of records"),
        (("--stream", "--rate", "many/s", "--p95", "1s"), "--rate: 'many/s' is no rate of records"),
        (("--stream", "--rate", "5/s", "--p95", "fast"), "--p95: 'fast' is no duration"),
        (("--stream", "--rate", "5/s", "--p95", "1s", "--minimise", "time"), "a stream goes with no goal"),
        (("--min-memory", "much"), "--min-memory: 'much' is no number of bytes"),
        (("--nodes", "2,few"), "--nodes 2,few is not a list of whole numbers"),
    ],
)
def test_what_does_not_go_together_is_refused(options: tuple[str, ...], message: str) -> None:
    with pytest.raises(InputError, match=message):
        advise(*options)
    assert not Path(".nodewise").exists()


def test_either_a_job_or_a_replay_is_given() -> None:
    with pytest.raises(InputError, match="either a comparison file or --replay"):
        CliRunner().invoke(app, ["advise"], catch_exceptions=False)
