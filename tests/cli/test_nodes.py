from __future__ import annotations

import json
import subprocess
import sys


def nodes_list(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "nodewise", "nodes", "list", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_the_table_fits_80_columns_and_cuts_nothing() -> None:
    result = nodes_list()

    assert (result.returncode, result.stderr) == (0, "")
    lines = result.stdout.splitlines()
    assert max(map(len, lines)) <= 80
    assert "…" not in result.stdout
    assert (
        len([line for line in lines if " us-east-1 " in line or " eastus " in line or " us-central1 " in line]) == 272
    )


def test_a_row_gives_size_and_price_and_the_notes_give_source_and_date() -> None:
    output = nodes_list("--cloud", "azure", "--vcpus", "4").stdout

    row = next(line for line in output.splitlines() if line.startswith("Standard_DS3_v2 "))
    assert row.split() == ["Standard_DS3_v2", "azure", "eastus", "4", "14", "0.2930", "0.0322"]
    accelerated = next(line for line in output.splitlines() if line.startswith("Standard_NC4as_T4_v3 "))
    assert accelerated.split() == ["Standard_NC4as_T4_v3", "azure", "eastus", "4", "28", "1xT4", "0.5260", "0.0627"]
    assert "azure eastus: 2026-06-18, Azure/karpenter-provider-azure" in output
    assert "azure eastus: no date given, skypilot-org/skypilot-catalog" in output
    assert "m4.xlarge" not in output


def test_json_goes_to_standard_output_alone() -> None:
    result = nodes_list("--cloud", "azure", "--vcpus", "4", "--json", "-")

    written = json.loads(result.stdout)
    assert (written["ok"], written["error"], written["command"]) == (True, None, "nodes list")
    by_name = {row["name"]: row for row in written["result"]["node_types"]}
    assert by_name["Standard_DS3_v2"]["price_usd_per_hour"] == 0.293
    assert by_name["Standard_DS3_v2"]["price_date"] == "2026-06-18"
    assert by_name["Standard_DS3_v2"]["price_usd_per_hour_spot"] == 0.03223


def test_a_filter_that_nothing_passes_says_so() -> None:
    result = nodes_list("--vcpus", "5", "--cloud", "gcp")

    assert (result.returncode, result.stdout, result.stderr) == (0, "", "no node type has 5 vCPUs in gcp\n")
