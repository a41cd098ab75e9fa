"""The same work with and without the sampler: five workers, each a node of its own, that compute or prepare images.

``metered.py cpu|prepare on|off``. ``work_s`` is the time from when all workers are ready until the last has done its
part; ``sampler_cpu_fraction`` the CPU time of the sampler's thread over that time, in cores. Without control groups
each node is a family of processes, which costs more to read than a group does.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import sys
import threading
import time
from multiprocessing.synchronize import Barrier

import numpy as np

from nodewise.metering.sampler import Sampler
from nodewise.specs.place import NodePlace

NODES = 5
CPU_ROUNDS = 6000
IMAGES = 4000


def compute() -> None:
    values = np.arange(100_000, dtype=np.float64)
    for _ in range(CPU_ROUNDS):
        values = np.sqrt(values * 1.0001 + 1.0)


def prepare() -> None:
    import cv2
    import simplejpeg

    photo = np.random.default_rng(0).integers(0, 255, (240, 320, 3), dtype=np.uint8)
    data = simplejpeg.encode_jpeg(cv2.blur(photo, (9, 9)), quality=90)
    for _ in range(IMAGES):
        image = simplejpeg.decode_jpeg(data)
        simplejpeg.encode_jpeg(np.ascontiguousarray(cv2.resize(image, (256, 192))[:, 32:224]), quality=95)


def work(kind: str, ready: Barrier, done: Barrier) -> None:
    ready.wait()
    {"cpu": compute, "prepare": prepare}[kind]()
    done.wait()


class TimedSampler(Sampler):
    """Tells what its own thread has used."""

    cpu_s = 0.0

    def _run(self) -> None:
        try:
            super()._run()
        finally:
            self.cpu_s = time.thread_time()


def main() -> None:
    kind, metered = sys.argv[1], sys.argv[2] == "on"
    context = multiprocessing.get_context("fork")
    ready, done = context.Barrier(NODES + 1), context.Barrier(NODES + 1)
    workers = [context.Process(target=work, args=(kind, ready, done)) for _ in range(NODES)]
    for worker in workers:
        worker.start()
    places = [
        NodePlace(name=f"node-{number}", host="127.0.0.1", pids=(worker.pid or 0,), link="lo")
        for number, worker in enumerate(workers)
    ]
    sampler = TimedSampler([*places, NodePlace(name="driver", host="127.0.0.1", pids=(os.getpid(),))])
    if metered:
        sampler.start()
    ready.wait()
    began = time.perf_counter()
    done.wait()
    work_s = time.perf_counter() - began
    samples = sampler.stop()
    for worker in workers:
        worker.join()
    assert threading.active_count() == 1
    figures = {"work_s": work_s}
    if metered:
        figures |= {"samples": float(len(samples)), "sampler_cpu_fraction": sampler.cpu_s / work_s}
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
