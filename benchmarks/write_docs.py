"""Write ``docs/benchmarks.md`` from the committed results. A test compares the two."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from nodewise.core.files import write_atomic

RESULTS = Path(__file__).parent / "results"
PAGE = Path(__file__).parent.parent / "docs" / "benchmarks.md"

Results = dict[str, Any]


def main() -> None:
    write_atomic(PAGE, page())
    print(PAGE)


def page() -> str:
    """The whole page; a benchmark that has no committed results has no section."""
    sections = {
        "prepare": prepare_section,
        "read": read_section,
        "train": train_section,
        "strategies": strategies_section,
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


def rate(photos: int, seconds: dict[str, float]) -> str:
    return f"{photos / seconds['median']:,.0f} ({photos / seconds['max']:,.0f}-{photos / seconds['min']:,.0f})"


def spread(figure: dict[str, float]) -> str:
    return f"{figure['median']:,.0f} ({figure['min']:,.0f}-{figure['max']:,.0f})"


def label(name: str) -> str:
    command, _, option = name.partition(" --")
    return f"{command} `--{option}`" if option else name


# --- training --------------------------------------------------------------------------------------------------------

MARKS = ("70", "80", "90", "94")


def train_section(results: Results) -> list[str]:
    sides, accuracy, epochs = results["sides"], results["mean_accuracy"], results["keras_epochs"]
    peer = sides["Keras"]
    own = next(side for name, side in sides.items() if name.startswith("nodewise"))
    return [
        "## Training on one node",
        "CIFAR-10 (50,000 images, 10,000 more to test; the JPEG copy), the assignment's network, the same pixels for "
        f"both sides, {results['threads']} threads. Keras has the images decoded, in memory: batches of 32, Adam, "
        f"{epochs} epochs, as in the assignment. nodewise reads shards and trains with its defaults, the recipe "
        "`standard`. *Training* is every epoch without its evaluation; of nodewise with its checkpoints, of Keras with "
        f"building its graph. *x Keras* is the time over that of Keras in the same round, of all of its {epochs} "
        "epochs but for the column of one epoch. Accuracy is that of the test images at the end, in the mean over the "
        "seeds. "
        f"Measured on {results['date']}. `benchmarks/train.py`.",
        train_table(sides, accuracy),
        f"After {epochs} epochs Keras is right about {percent(accuracy['Keras'])} % of the test images. nodewise "
        f"passes this after {precise(own['reached_s'])} s of training, looked at after each epoch: "
        f"**{precise(own['reached_s_ratio'])}** of Keras's {precise(peer['total_s'])} s. An epoch takes "
        f"**{precise(own['epoch_s_ratio'])}** of Keras's.",
        "### The recipe `fast`",
        "A network and augmentation of its own (`nodewise train --recipe fast`), for several numbers of epochs, since "
        "the schedule is stretched over all of them. A time to an accuracy is training up to the end of the first "
        "epoch after which that share of the test images is right; there is none where not every seed came so far. "
        + (f"The GPU is one {results['gpu']}." if results["gpu"] else "No GPU was there to run it on."),
        fast_table(sides, accuracy),
    ]


def train_table(sides: Results, accuracy: dict[str, float]) -> str:
    rows = [
        "| Side | Epoch, s | x Keras | Training, s | x Keras | Whole command, s | x Keras | Accuracy, % | Seeds |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for name, side in sides.items():
        if name.startswith("fast"):
            continue
        cells = []
        for figure in ("epoch_s", "total_s", "wall_s"):
            cells += [precise(side[figure]), precise(side[f"{figure}_ratio"]) if name != "Keras" else "1"]
        cells += [mean_accuracy(accuracy[name], side), str(side["accuracy"]["n"])]
        rows.append(f"| {name} | " + " | ".join(cells) + " |")
    return "\n".join(rows)


def fast_table(sides: Results, accuracy: dict[str, float]) -> str:
    rows = [
        "| Run | Training, s | Whole command, s | Accuracy, % | "
        + " | ".join(f"To {mark} %, s" for mark in MARKS)
        + " |",
        "|---|---|---|---|" + "---|" * len(MARKS),
    ]
    for name, side in sides.items():
        if name.startswith("fast"):
            times = [precise(side[f"to_{mark}_s"]) if f"to_{mark}_s" in side else "" for mark in MARKS]
            cells = [precise(side["total_s"]), precise(side["wall_s"]), mean_accuracy(accuracy[name], side), *times]
            rows.append(f"| {name} | " + " | ".join(cells) + " |")
    return "\n".join(rows)


def mean_accuracy(value: float, side: Results) -> str:
    low, high = (percent(side["accuracy"][name]) for name in ("min", "max"))
    return f"{percent(value)} ({low} to {high})"


def percent(share: float) -> str:
    return f"{share * 100:.1f}"


def strategies_section(results: Results) -> list[str]:
    rows = [
        "| Engine | Strategy | Nodes | Compression | Training, s | x single | Sent per step, kB "
        "| Exchange, % of the time | Accuracy, % |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for name, side in results["sides"].items():
        setup = results["setups"][name]
        cells = [
            setup["engine"],
            setup["strategy"] + (", async" if setup["is_async"] else ""),
            str(setup["nodes"]),
            setup["compression"],
            precise(side["train_s"]),
            f"{side['speedup']['median']:.2f}",
            f"{side['sent_bytes_per_step']['median'] / 1000:,.0f}",
            percent(side["communicate_share"]["median"]),
            percent(side["accuracy"]["median"]),
        ]
        rows.append("| " + " | ".join(cells) + " |")
    runs = next(iter(results["sides"].values()))["train_s"]["n"]
    return [
        "## Strategies of training",
        f"The assignment's network on {results['records']:,.0f} images of CIFAR-10, {results['epochs']} epochs, on "
        f"nodes of {results['cpus_per_node']} CPUs, kept apart by {results['emulation_tier']}; `average` every "
        f"{results['average_every']} steps, {results['servers']} parameter server. Every training has a cluster of its "
        "own; timed is the slowest worker of each epoch, without evaluation, reading and start-up. *x single* is the "
        "speedup over one node on the same engine. *Sent* is what all workers together hand to the exchange. So few "
        f"steps make no good network: accuracies are there to be compared. Runs: {runs}. Measured on "
        f"{results['date']}. `benchmarks/strategies.py`.",
        "\n".join(rows),
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


def precise(figure: dict[str, float], factor: float = 1) -> str:
    """Median, and in brackets the lowest and the highest."""
    middle, low, high = (f"{figure[name] * factor:.2f}" for name in ("median", "min", "max"))
    return f"{middle} ({low} to {high})"


if __name__ == "__main__":
    main()
