"""The sections of ``docs/benchmarks.md`` on training and scoring."""

from __future__ import annotations

from typing import Any

from docs_figures import percent, precise, spread

__all__ = ["score_section", "strategies_section", "train_section"]

Results = dict[str, Any]
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
        f"{results['date']}. `benchmarks/strategies.py`. {results.get('note', '')}".rstrip(),
        "\n".join(rows),
    ]


def score_section(results: Results) -> list[str]:
    """What `score` reaches of the network's own speed."""
    sides = results["sides"]
    rows = [
        "| Images | Side | Images/s | Share of the network alone | Batch | Start-up, s | Runs |",
        "|---|---|---|---|---|---|---|",
    ]
    names = {
        "photos": f"photos, 192 x 192, {results['photos']:,}",
        "more photos": f"photos, 192 x 192, {results['more_photos']:,}",
        "cifar": "CIFAR-10, 32 x 32",
        "cifar raw": "CIFAR-10, plain pixels",
    }
    for kind, images in names.items():
        own, alone = sides[f"score {kind}"], sides[f"network alone {kind}"]
        runs = str(own["records_per_s"]["n"])
        cells = [spread(own["records_per_s"]), precise(results["ratio"][kind])]
        cells += [f"{own['batch_size']['median']:.0f}", precise(own["start_up_seconds"]), runs]
        rows.append(f"| {images} | `nodewise score` | " + " | ".join(cells) + " |")
        rows.append(f"| | network alone | {spread(alone['records_per_s'])} | 1 | | | {runs} |")
    return [
        "## Scoring",
        "From shards in the page cache, JPEG but for the plain pixels, to predictions in Parquet, with the network "
        "`cnn` on one node: the rate of the whole stage, with loading the network and finding the size of the batches, "
        "without the start of the workers. *Network alone* is the same network in as many processes, on input that is "
        f"in memory already; shares are by round. Measured on {results['date']}. `benchmarks/score.py`.",
        "\n".join(rows),
    ]
