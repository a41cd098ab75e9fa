"""What a network alone does: every core computes with one thread on images that are in its memory: MODEL SHARDS.

The images are decoded and made into the network's input beforehand. Nothing is read, converted or written while the
time runs, not even what follows from the logits. The batch size and the precision are those that scoring chose here.
Printed, as JSON: images per second of all processes together, the median of three passes, and the batch size.
"""

import json
import multiprocessing
import multiprocessing.connection
import os
import sys
import time
from pathlib import Path
from statistics import median

CORES = len(os.sched_getaffinity(0))
MOST_BYTES = 1 << 30
"""Of a process's images."""


def compute(model, shards, rank, barrier, results):
    """One process: its share of the images, three times."""
    import numpy as np
    import torch

    from nodewise.metering.meter import TaskMeter
    from nodewise.shards.manifest import read_manifest
    from nodewise.training.model_file import load_model
    from nodewise.training.precision import autocast
    from nodewise.training.records import to_input
    from nodewise.training.score_input import read_batches
    from nodewise.training.score_parts import cut_parts
    from nodewise.training.scoring import load_scorer

    scorer = load_scorer(Path(model))
    network = load_model(Path(model))[0].to(memory_format=torch.channels_last)
    shape = scorer.info.image_shape
    inputs, held_bytes = [], 0
    for part in cut_parts(read_manifest(Path(shards)).shards, CORES)[rank::CORES]:
        for images, _ in read_batches(Path(shards), part, shape, scorer.batch_size, TaskMeter()):
            if held_bytes < MOST_BYTES:
                inputs.append(to_input(torch.from_numpy(np.array(images))))
                held_bytes += inputs[-1].nbytes
    count = sum(map(len, inputs))
    rates = []
    with torch.inference_mode(), autocast(torch.device("cpu"), scorer.precision):
        for _ in range(4):
            barrier.wait()
            began = time.perf_counter()
            for one in inputs:
                network(one)
            rates.append(count / (time.perf_counter() - began))
    # The first pass is not counted.
    results.put((rates[1:], scorer.batch_size))


def main():
    """Measure all processes at the same time."""
    context = multiprocessing.get_context("spawn")
    barrier, results = context.Barrier(CORES), context.Queue()
    processes = [
        context.Process(target=compute, args=(*sys.argv[1:3], rank, barrier, results)) for rank in range(CORES)
    ]
    for process in processes:
        process.start()
    # Watched, as one that fails would be waited for in vain by the other, which stands at the barrier.
    while alive := [process for process in processes if process.is_alive()]:
        multiprocessing.connection.wait([process.sentinel for process in alive], timeout=1)
        if any(process.exitcode for process in processes):
            for process in processes:
                process.terminate()
            sys.exit("a process failed; see above")
    rates, sizes = zip(*(results.get() for _ in processes), strict=True)
    print(json.dumps({"records_per_s": median(map(sum, zip(*rates, strict=True))), "batch_size": median(sizes)}))


if __name__ == "__main__":
    main()
