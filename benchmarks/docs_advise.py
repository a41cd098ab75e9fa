"""The section on advice of ``docs/benchmarks.md``."""

from __future__ import annotations

from typing import Any

__all__ = ["advise_section"]

Results = dict[str, Any]

NAMES = {"scout": "Scout", "bbo": "bbo-arena", "c3o": "C3O", "ibm": "IBM multi-cloud", "lynceus": "Lynceus"}
METHODS = {"random": "random, 10 runs", "tpe": "TPE (Optuna), 10 runs", "cherrypick": "CherryPick, with its stop rule"}
OTHERS = "nodewise, with jobs of other applications"
OWN = {"nodewise": "**nodewise**", "nodewise, with a library": "nodewise, with a library", OTHERS: OTHERS}
UNSEEN = {
    name: f"nodewise, {name}"
    for part in ("application", "source")
    for name in (f"fitted without the {part}", f"fitted without the {part}, no broad half")
}


def advise_section(results: Results) -> list[str]:
    """How many runs a search takes, and where it ends."""
    searches, seeds = results["searches"], results["seeds"]
    methods = [(title, searches[name]) for name, title in {**METHODS, **OWN, **UNSEEN}.items() if name in searches]
    ablations = [(name, found) for name, found in searches.items() if name not in {**METHODS, **OWN, **UNSEEN}]
    return [
        "## Advice",
        "`nodewise advise --replay` on run times that others measured: a run is a look-up, and the choice is the "
        "cheapest configuration that was run. In each cell the runs of a search, the cost of the choice over that of "
        f"the optimum in the mean, and in brackets what 90 % of the searches stay under. {seeds} seeds of each "
        "workload for the methods that draw at random; nodewise draws nothing. *With a library*: the other jobs of the "
        "same file, of which those of the same application on other data are counted on; *with jobs of "
        "other applications*: those are, as if they were its own, which nodewise does not do. The packaged knowledge "
        "is fitted to all these jobs but Lynceus's, so the row of nodewise alone flatters it: **what to expect of a "
        "job that was never seen is in the rows *fitted without***, where knowledge was fitted without any job of the "
        "same application, or of the whole source; *no broad half*: and used without the broad prior that has half the "
        f"weight. Made on {results['date']}. `benchmarks/advise.py`.",
        _table("Method", methods, results),
        "Each without one part of what nodewise knows:",
        _table("Ablation", [("nodewise", searches["nodewise"]), *ablations], results),
    ]


def _table(head: str, rows: list[tuple[str, dict[str, dict[str, float]]]], results: Results) -> str:
    sources = [source for source in NAMES if source in results["workloads"]]
    sizes = [(results["workloads"][source], results["configurations"][source]) for source in sources]
    headers = [f"{NAMES[source]}, {count} x {mean:.0f}" for source, (count, mean) in zip(sources, sizes, strict=True)]
    lines = [f"| {head} | {' | '.join(headers)} |", "|" + "---|" * (len(sources) + 1)]
    for title, found in rows:
        cells = [
            f"{found[source]['runs']:.1f} -> {found[source]['mean']:.2f} ({found[source]['p90']:.2f})"
            if source in found
            else ""
            for source in sources
        ]
        lines.append(f"| {title} | {' | '.join(cells)} |")
    return "\n".join(lines)
