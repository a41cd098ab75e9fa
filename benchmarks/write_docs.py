"""Write ``docs/benchmarks.md`` from the committed results. A test compares the two."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from docs_advise import advise_section
from docs_calibration import calibration_svg
from docs_figures import label, precise, rate, spread
from docs_forecast import forecast_section, whatif_section, whatif_validation_section
from docs_training import score_section, strategies_section, train_section
from nodewise.core.files import write_atomic

RESULTS = Path(__file__).parent / "results"
PAGE = Path(__file__).parent.parent / "docs" / "benchmarks.md"
CALIBRATION = PAGE.parent / "images" / "calibration.svg"

Results = dict[str, Any]


def main() -> None:
    write_atomic(PAGE, page())
    write_atomic(CALIBRATION, calibration_svg(json.loads((RESULTS / "forecast.json").read_text())))
    print(PAGE)


def page() -> str:
    """The whole page; a benchmark that has no committed results has no section."""
    sections = {
        "prepare": prepare_section,
        "read": read_section,
        "train": train_section,
        "strategies": strategies_section,
        "score": score_section,
        "advise": advise_section,
        "forecast": forecast_section,
        "whatif": whatif_section,
        "whatif_validation": whatif_validation_section,
        "emulation": emulation_section,
        "meter_overhead": meter_section,
    }
    paths = {name: RESULTS / f"{name}.json" for name in sections}
    found = {name: json.loads(path.read_text()) for name, path in paths.items() if path.is_file()}
    parts = [part for name, results in found.items() for part in sections[name](results)]
    return "\n\n".join([INTRODUCTION, machine(found["prepare"]), *parts]) + "\n"


INTRODUCTION = """\
# Benchmarks

`make bench` runs them and writes `benchmarks/results/*.json` and this page. Every side runs in processes of its own,
one after the other and never two at once; the order is turned by one place in each round. All sides use all cores.
Numbers are medians, in brackets the lowest and the highest of the runs. Compare ratios: another machine has other
rates, and this one is small and shared.

**The floor** (`benchmarks/floor.py`) is what the codecs alone allow: one process per core reads the photos from the
page cache, does nothing but call libjpeg-turbo and OpenCV, and writes nothing. It is measured in the same rounds."""


def machine(results: Results) -> str:
    versions = ", ".join(f"{name} {version}" for name, version in results["versions"].items())
    gib = results["memory_bytes"] / 2**30
    return (
        f"Measured on {results['date']}: {results['machine']}, {results['cores']} cores, {gib:.0f} GiB, "
        f"Python {results['python']}; {versions}."
    )


# --- prepare ---------------------------------------------------------------------------------------------------------


def prepare_section(results: Results) -> list[str]:
    sides, photos = results["sides"], results["photos"]
    peer, own = sides["tf.data autotune"], sides["nodewise"]
    floor = sides["floor"]["prepare_per_s"]["median"]
    rows = [
        "| Side | Photos/s, whole command | without start | x tf.data, whole command | without start | Runs |",
        "|---|---|---|---|---|---|",
    ]
    for name, side in sides.items():
        if name == "floor":
            continue
        ratios = (peer[figure]["median"] / side[figure]["median"] for figure in ("wall_s", "work_s"))
        cells = [rate(photos, side["wall_s"]), rate(photos, side["work_s"]), *(f"{ratio:.2f}" for ratio in ratios)]
        cells.append(str(side["wall_s"]["n"]))
        rows.append(f"| {label(name)} | " + " | ".join(cells) + " |")
    local_rate = photos / own["work_s"]["median"]
    engines = ", ".join(
        f"{name.removeprefix('nodewise on ')} {own['work_s']['median'] / sides[name]['work_s']['median']:.2f}"
        for name in sides
        if name.startswith("nodewise on ")
    )
    return [
        "## prepare: photos to shards",
        f"{photos:,} photos (the 800 of the test data repeated to the number of the whole Flowers set; mean 66 kB, 0.1 "
        "megapixels) become 192 x 192 JPEGs of quality 95, 4:4:4, in TFRecord files (Ray Data's in Parquet, which it "
        "writes faster). *Without start* leaves out imports, engine and JVM; of the peers on Spark and Ray, imports in "
        "their workers are not start but work. `benchmarks/prepare.py`.",
        "\n".join(rows),
        f"The floor is {floor:,.0f} photos/s with the standard's Huffman tables and "
        f"{sides['floor']['optimize_per_s']['median']:,.0f} with tables per image: nodewise reaches "
        f"**{local_rate / floor:.2f}** of the first without start. The rest is what the floor leaves out: writing "
        "100 MB to the page cache and to the disk, checksums (CRC-32C of every record, SHA-256 of every shard), the "
        "last shards, when one core has nothing left to do, and the interpreter, whose code each picture drives from "
        "the caches.",
        f"Once started, the other engines reach these parts of the local engine's rate: {engines}.",
        "### The pictures",
        "Next to tf.data's own output for the 800 different photos (mean bytes; median PSNR between the two):",
        quality_table(results["quality"]),
        "`antialias` averages over all pixels that become one, so it differs from tf.data's bilinear on purpose; its "
        "PSNR says how much, not how good it is.",
    ]


def quality_table(quality: dict[str, dict[str, float]]) -> str:
    rows = ["| Output | Mean bytes | x tf.data | PSNR against tf.data |", "|---|---|---|---|"]
    for name, facts in quality.items():
        likeness = f"{facts['median_psnr_db']:.1f} dB" if "median_psnr_db" in facts else ""
        rows.append(f"| {label(name)} | {facts['mean_bytes']:,.0f} | {facts['bytes_ratio']:.3f} | {likeness} |")
    return "\n".join(rows)


# --- read ------------------------------------------------------------------------------------------------------------


def read_section(results: Results) -> list[str]:
    sides = results["sides"]
    peer = sides["tf.data autotune"]
    floor = sides["floor"]["decode_per_s"]["median"]
    rows = [
        "| Side | uint8, images/s | x tf.data | float32, images/s | x tf.data | 3 batches of 2, images/s | x tf.data "
        "| Import, s | First batch after it, s |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for name, side in sides.items():
        if name == "floor":
            continue
        cells = []
        for figure in ("uint8_per_s", "float32_per_s", "small_per_s"):
            cells += [spread(side[figure]), f"{side[figure]['median'] / peer[figure]['median']:.2f}"]
        cells += [f"{side[figure]['median']:.2f}" for figure in ("import_s", "first_batch_s")]
        rows.append(f"| {label(name)} | " + " | ".join(cells) + " |")
    own = sides["nodewise"]["uint8_per_s"]["median"]

    def first_pass(name: str) -> str:
        return f"{sides[name]['uint8_first_pass_per_s']['median']:,.0f}"

    return [
        "## Reading shards",
        f"{results['photos']:,} images of 192 x 192 in shards of 230, from the page cache, in batches of "
        f"{results['batch_size']}; JPEG unless the name says raw. `float32` is from 0 to 1. A rate is the best of "
        "three passes of a process after one that does not count. The small cell is the coursework's smallest: an "
        "iteration of three batches of two, its start included. `benchmarks/read.py`.",
        "\n".join(rows),
        f"Decoding alone, on all cores, is {floor:,.0f} images/s: nodewise reaches **{own / floor:.2f}** of it. Raw "
        "pixels need no decoding; what bounds them is one copy of 110 kB for each image. nodewise compares a record "
        "with its checksum when it reads it first, tf.data each time: in the first pass of a process, which does not "
        f"count above, nodewise reads {first_pass('nodewise')} JPEG and {first_pass('nodewise raw')} raw images/s, "
        f"tf.data {first_pass('tf.data autotune')} JPEG images/s.",
    ]


# --- emulated nodes, and the meter ----------------------------------------------------------------------------------


def emulation_section(results: Results) -> list[str]:
    rows = [
        "| Cluster | Stage, s | Speedup | CPUs that a node had | Start-up, s | Runs |",
        "|---|---|---|---|---|---|",
    ]
    for name, side in results["sides"].items():
        speedup = precise(side["speedup"]) if "speedup" in side else "1"
        figures = (side[figure] for figure in ("stage_s", "cpus_of_a_node", "start_up_s"))
        stage, cpus, start_up = map(precise, figures)
        rows.append(f"| {label(name)} | {stage} | {speedup} | {cpus} | {start_up} | {side['stage_s']['n']} |")
    work = f"{results['tasks']} equal tasks of {results['task_cpu_s']} CPU seconds"
    return [
        "## Emulated nodes",
        f"{work} on nodes of {results['cpus_per_node']} CPUs, kept apart by {results['emulation_tier']}. Timed is the "
        "stage, on a cluster that is up; every run has a cluster of its own. Speedup is against one node in the same "
        f"round. Measured on {results['date']}. `benchmarks/emulation.py`.",
        "\n".join(rows),
    ]


def meter_section(results: Results) -> list[str]:
    rows = ["| Work | Overhead, % | CPU of the meter, % of a core | Pairs |", "|---|---|---|---|"]
    for kind, overhead in results["overhead"].items():
        own = results["sides"][f"{kind} metered"]["sampler_cpu_fraction"]
        rows.append(f"| {kind} | {precise(overhead, 100)} | {precise(own, 100)} | {overhead['n']} |")
    return [
        "## The meter",
        f"{results['nodes']} nodes, a sample of each every {results['interval_s']:g} s. The same work with and without "
        "it, in pairs; overhead is time with over time without, less 1. It lies within the spread of "
        f"this machine; the meter's own CPU time does not. Measured on {results['date']}. "
        "`benchmarks/meter_overhead.py`.",
        "\n".join(rows),
    ]


if __name__ == "__main__":
    main()
