"""The sections of ``docs/benchmarks.md`` on forecasts and on replays of recorded runs."""

from __future__ import annotations

from typing import Any

from docs_figures import percent, precise

__all__ = ["forecast_section", "whatif_section", "whatif_validation_section"]

Results = dict[str, Any]
Errors = dict[str, float]
SHOWN = ("0.5", "0.8", "0.9")
"""Of the intervals; the plot has them all."""


# --- forecasts --------------------------------------------------------------------------------------------------------


def forecast_section(results: Results) -> list[str]:
    return [
        "## Forecasts of run times that others measured",
        f"From the {results['train_smallest']} smallest node counts of each node type to all larger ones, on the "
        "development part of the public traces (`nodewise forecast --replay`). Errors are absolute, as a share of the "
        "measured time: mean / median over all rows, in %. Ernest and `a + b/n` are fitted for each node type, with "
        "coefficients that are not negative, once to absolute and once to relative deviations: the better one counts. "
        f"Measured on {results['date']}. `benchmarks/forecast.py`.",
        errors_table(results["sources"]),
        "The constants of the prior are round numbers that were chosen with these traces at hand. *One application "
        "left out*: each constant is halved and doubled, the variant that does best on all other applications is "
        "chosen, and tried on the one that was left out; the last column puts these together.",
        "### How honest the intervals are",
        "Share of the measured times within the interval, in %. Of C3O and TU Berlin the times are medians of five and "
        "seven runs, which scatter less than the one run that an interval is for, and of most workloads there is one "
        "node type, so that three runs are all that is known.",
        coverage_table({**results["sources"], **results["training"]}),
        "![Share of the measured times within each interval, by source](images/calibration.svg)",
        "### Training on GPUs",
        "From 1, 2 and 4 GPUs, on however many nodes, to 8 and 16, on however many: Pollux's measurements of T4 (BERT, "
        "ImageNet, recommendation) and Gavel's of V100, P100 and K80 (ResNet-50, language model). The laws see numbers "
        "of GPUs alone. *Rate* is the error of samples per second, which grows faster than that of the time where that "
        "is predicted too short.",
        training_table(results["training"]),
    ]


def errors_table(sources: dict[str, Results]) -> str:
    rows = [
        "| Source | Workloads | Rows | Ernest | a + b/n | nodewise | Over the better law | One application left out |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for name, source in sources.items():
        errors = source["errors"]
        better = min(errors["Ernest"]["mean"], errors["a + b/n"]["mean"])
        cells = [str(source["workloads"]), str(source["rows"]), *(both(errors[side]) for side in errors)]
        cells += [f"{errors['nodewise']['mean'] / better:.2f}", both(source["chosen_without"])]
        rows.append(f"| {name} | " + " | ".join(cells) + " |")
    return "\n".join(rows)


def coverage_table(sources: dict[str, Results]) -> str:
    shares = [share for share in next(iter(sources.values()))["covered"] if share in SHOWN]
    rows = [
        "| Source | " + " | ".join(f"of the {float(share) * 100:.0f} % interval" for share in shares) + " |",
        "|---|" + "---|" * len(shares),
    ]
    for name, source in sources.items():
        rows.append(f"| {name} | " + " | ".join(f"{source['covered'][share] * 100:.0f}" for share in shares) + " |")
    return "\n".join(rows)


def training_table(sources: dict[str, Results]) -> str:
    rows = ["| Source | Jobs | Rows | Ernest | a + b/n | nodewise | Rate, nodewise |", "|---|---|---|---|---|---|---|"]
    for name, source in sources.items():
        cells = [str(source["jobs"]), str(source["rows"]), *(both(errors) for errors in source["errors"].values())]
        rows.append(f"| {name} | " + " | ".join([*cells, both(source["errors_of_rates"])]) + " |")
    return "\n".join(rows)


def both(errors: Errors) -> str:
    """Mean / median."""
    return f"{percent(errors['mean'])} / {percent(errors['median'])}"


# --- replays ----------------------------------------------------------------------------------------------------------


def whatif_section(results: Results) -> list[str]:
    rows = ["| Program | Replay, s | Accounting, s | Peak memory, MiB | Runs |", "|---|---|---|---|---|"]
    for name, side in results["sides"].items():
        tasks, _, nodes = name.partition(" tasks on ")
        title = f"{int(tasks):,} tasks on {int(nodes.removesuffix(' nodes')):,} nodes"
        cells = [precise(side["replay_s"]), precise(side["account_s"]), precise(side["peak_memory_bytes"], 2**-20)]
        rows.append(f"| {title} | " + " | ".join(cells) + f" | {side['replay_s']['n']} |")
    return [
        "## Replays of recorded runs",
        f"Made programs of {results['stages']} stages, two at a time, on nodes of {results['cores_per_node']} cores, "
        "each in a process of its own. *Replay* schedules every task, *accounting* says what the core-hours went to. "
        f"Measured on {results['date']}. `benchmarks/whatif.py`.",
        "\n".join(rows),
    ]


def whatif_validation_section(results: Results) -> list[str]:
    rows = [
        "| Engine, nodes | Measured work, s | Predicted from one node, s | Off by, % | With start and stop, % | Runs |",
        "|---|---|---|---|---|---|",
    ]
    for name, side in results["sides"].items():
        if "error" not in side:
            continue
        cells = [precise(side["work_s"]), precise(side["predicted_work_s"])]
        cells += [precise(side["error"], 100), precise(side["billed_error"], 100), str(side["error"]["n"])]
        rows.append(f"| {name.replace(' x', ', ')} | " + " | ".join(cells) + " |")
    return [
        "### What one node foretells of several",
        f"{results['photos']:,} photos are prepared on emulated nodes of {results['cpus_per_node']} CPUs; the run on "
        "one node is replayed on more (`nodewise forecast --from`). *Work* is without starting and stopping the "
        f"cluster, in which emulated nodes take this machine's {results['cores']} cores from each other: the last but "
        f"one column has that, too. Measured on {results['date']}. `benchmarks/whatif.py --validate`.",
        "\n".join(rows),
    ]
