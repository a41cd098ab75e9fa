"""What does metering cost? The same work with and without the sampler, at one sample per second and node.

Pairs of runs, one with and one without, of two kinds of work by five nodes on this machine: arithmetic that only
computes, and what ``prepare`` does to an image (decode, resize, encode). See ``peers/metered.py``. The overhead is the
median over the pairs of time with / time without - 1; what the sampler's own thread used is measured beside it. Writes
``results/meter_overhead.json``.
"""

from __future__ import annotations

from harness import Side, chosen_sides, interleave, options, peer, summarise, write

KINDS = ("cpu", "prepare")


def main() -> None:
    chosen = options(__doc__ or "", rounds=20)
    measured = interleave(chosen_sides(all_sides(), chosen.only), chosen.rounds)
    overheads = {}
    for kind in KINDS:
        if {f"{kind} metered", f"{kind} alone"} <= measured.keys():
            pairs = zip(measured[f"{kind} metered"]["work_s"], measured[f"{kind} alone"]["work_s"], strict=True)
            overheads[kind] = summarise([with_s / without_s - 1 for with_s, without_s in pairs])
    write("meter_overhead", {"nodes": 5, "interval_s": 1.0, "overhead": overheads}, measured, chosen.output)


def all_sides() -> dict[str, Side]:
    return {
        "cpu alone": lambda: peer("metered", "cpu", "off"),
        "cpu metered": lambda: peer("metered", "cpu", "on"),
        "prepare alone": lambda: peer("metered", "prepare", "off"),
        "prepare metered": lambda: peer("metered", "prepare", "on"),
    }


if __name__ == "__main__":
    main()
