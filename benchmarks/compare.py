"""How long does each stage of the demo take in each scenario on this machine, and how much does that vary?

The demo's comparison is run several times (``--repeat``), each time in a fresh process with a workspace of its own. The
scenarios are interleaved, and each round begins with another one, so that none always has the cold or the warm place.
Writes medians and ranges with machine, versions and date to ``benchmarks/results/compare.json``, and prints a table.
Nothing else should run on the machine meanwhile.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from collections import defaultdict
from datetime import UTC, datetime
from importlib.resources import files
from pathlib import Path
from statistics import median
from typing import Any

import yaml

from nodewise.core.files import write_atomic
from nodewise.runs.machine import provenance

RESULTS = Path(__file__).parent / "results" / "compare.json"
DEMO = Path(str(files("nodewise").joinpath("demo.yaml")))

Measured = dict[str, dict[str, list[float]]]
"""Seconds by scenario and stage, one per round."""


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--repeat", type=int, default=3, metavar="N", help="rounds (default: 3)")
    parser.add_argument("--spec", type=Path, default=DEMO, help="another comparison file, to try this script")
    parser.add_argument("--output", type=Path, default=RESULTS, help="file for the result")
    options = parser.parse_args()
    if options.repeat < 1:
        parser.error("--repeat must be at least 1")
    spec = yaml.safe_load(options.spec.read_text())
    measured: Measured = defaultdict(lambda: defaultdict(list))
    for number in range(options.repeat):
        print(f"round {number + 1} of {options.repeat}", file=sys.stderr)
        for scenario in run_round(rotate(spec, number)):
            for stage, seconds in stages_of(scenario).items():
                measured[scenario["name"]][stage].append(seconds)
    summary = {
        name: {stage: summarise(seconds) for stage, seconds in measured[name].items()}
        for name in (scenario["name"] for scenario in spec["scenarios"])
        if name in measured
    }
    write_atomic(options.output, json.dumps(document(spec["name"], options.repeat, summary), indent=2) + "\n")
    print_table(summary)
    print(f"\n{options.output}")


def rotate(spec: dict[str, Any], number: int) -> dict[str, Any]:
    """The comparison with its scenarios moved up by so many places; the baseline stays the same."""
    scenarios = spec["scenarios"]
    place = number % len(scenarios)
    return {"baseline": scenarios[0]["name"], **spec, "scenarios": scenarios[place:] + scenarios[:place]}


def run_round(spec: dict[str, Any]) -> list[dict[str, Any]]:
    """Run the comparison once, in a process of its own; its scenarios as ``--json`` gives them."""
    with tempfile.TemporaryDirectory(prefix="nodewise-bench-") as name:
        folder = Path(name)
        (folder / "spec.yaml").write_text(yaml.safe_dump(spec))
        command = [sys.executable, "-m", "nodewise", "compare", "spec.yaml", "--json", "result.json"]
        subprocess.run([*command, "--workspace", "ws"], cwd=folder, check=True, stdout=subprocess.DEVNULL)
        result = json.loads((folder / "result.json").read_text())["result"]
    for left_out, reason in result["left_out"].items():
        print(f"left out: {left_out}: {reason}", file=sys.stderr)
    scenarios: list[dict[str, Any]] = result["scenarios"]
    return scenarios


def stages_of(scenario: dict[str, Any]) -> dict[str, float]:
    """Seconds by stage, in order; ``total`` is the billed time."""
    stages = {stage["name"]: stage["seconds"] for stage in scenario["stages"]}
    return {
        "start-up": scenario["start_up_seconds"],
        **stages,
        "stop": scenario["stop_seconds"],
        "total": scenario["seconds"],
    }


def summarise(seconds: list[float]) -> dict[str, float]:
    return {"median_s": median(seconds), "min_s": min(seconds), "max_s": max(seconds)}


def document(name: str, rounds: int, summary: dict[str, Any]) -> dict[str, Any]:
    facts = {key: value for key, value in provenance().items() if key != "command"}
    return {"comparison": name, "date": f"{datetime.now(UTC):%Y-%m-%d}", "n": rounds, **facts, "scenarios": summary}


def print_table(summary: dict[str, dict[str, dict[str, float]]]) -> None:
    stages = list(dict.fromkeys(stage for row in summary.values() for stage in row))
    print("median seconds (range)".ljust(24) + "".join(stage.rjust(22) for stage in stages))
    for name, row in summary.items():
        cells = (f"{s['median_s']:.2f} ({s['min_s']:.2f}-{s['max_s']:.2f})" for s in map(row.__getitem__, stages))
        print(name.ljust(24) + "".join(cell.rjust(22) for cell in cells))


if __name__ == "__main__":
    main()
