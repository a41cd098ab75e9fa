"""How fast could photos be prepared and read if there were nothing but the codecs?

One process per core, pinned to it, reads its share of the files from the page cache and does nothing with each but call
the codecs' C functions into memory that it has already used: libjpeg-turbo decodes (simplejpeg), OpenCV resizes,
libjpeg-turbo encodes (OpenCV). Nothing is written. What Python adds is a few microseconds an image. Run by the other
benchmarks in the rounds of their sides:

    python benchmarks/floor.py PHOTOS [--passes N]

prints one line of JSON: images per second over all cores for ``prepare`` (standard Huffman tables), ``optimize``
(tables per image), ``decode`` (192 x 192 squares).
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import time
from collections.abc import Callable
from multiprocessing.synchronize import Barrier
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import simplejpeg

SIZE = 192
QUALITY = 95
JPEG = [cv2.IMWRITE_JPEG_QUALITY, QUALITY, cv2.IMWRITE_JPEG_SAMPLING_FACTOR, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444]
FIGURES = ("prepare", "optimize", "decode")


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("photos", type=Path)
    parser.add_argument("--passes", type=int, default=3)
    options = parser.parse_args()
    paths = sorted(options.photos.glob("*/*.jpg"))
    cores = sorted(os.sched_getaffinity(0))
    context = multiprocessing.get_context("spawn")
    barrier = context.Barrier(len(cores))
    results: Any = context.SimpleQueue()
    workers = [
        context.Process(target=work, args=(core, paths[index :: len(cores)], options.passes, barrier, results))
        for index, core in enumerate(cores)
    ]
    for worker in workers:
        worker.start()
    rates = [results.get() for _ in workers]
    for worker in workers:
        worker.join()
    print(json.dumps({f"{name}_per_s": sum(rate[name] for rate in rates) for name in FIGURES}))


def work(core: int, paths: list[Path], passes: int, barrier: Barrier, results: Any) -> None:
    os.sched_setaffinity(0, {core})
    cv2.setNumThreads(1)
    photos = [str(path) for path in paths]
    large = np.empty(max(decoded_bytes(path.read_bytes()) for path in paths), np.uint8)
    resized = np.empty(SIZE * SIZE * 3 * 16, np.uint8)

    def prepare(path: str, tables: list[int]) -> bytes:
        descriptor = os.open(path, os.O_RDONLY)
        photo = os.read(descriptor, os.fstat(descriptor).st_size)
        os.close(descriptor)
        pixels = simplejpeg.decode_jpeg(photo, colorspace="BGR", fastdct=True, strict=False, buffer=large)
        height, width = pixels.shape[:2]
        new_height, new_width = (SIZE, width * SIZE // height) if height <= width else (height * SIZE // width, SIZE)
        target = resized[: new_height * new_width * 3].reshape(new_height, new_width, 3)
        cv2.resize(pixels, (new_width, new_height), dst=target, interpolation=cv2.INTER_LINEAR)
        top, left = (new_height - SIZE) // 2, (new_width - SIZE) // 2
        return cv2.imencode(".jpg", target[top : top + SIZE, left : left + SIZE], tables)[1].tobytes()

    standard, optimised = [*JPEG, cv2.IMWRITE_JPEG_OPTIMIZE, 0], [*JPEG, cv2.IMWRITE_JPEG_OPTIMIZE, 1]
    squares = [prepare(photo, standard) for photo in photos]
    calls: dict[str, tuple[Callable[[Any], object], list[Any]]] = {
        "prepare": (lambda photo: prepare(photo, standard), photos),
        "optimize": (lambda photo: prepare(photo, optimised), photos),
        "decode": (lambda square: simplejpeg.decode_jpeg(square, "RGB", fastdct=True, buffer=large), squares),
    }
    rates = {}
    for name in FIGURES:
        call, inputs = calls[name]
        seconds = []
        for _ in range(passes):
            barrier.wait()
            began = time.perf_counter()
            for data in inputs:
                call(data)
            seconds.append(time.perf_counter() - began)
        rates[name] = len(inputs) / min(seconds)
    results.put(rates)


def decoded_bytes(photo: bytes) -> int:
    height, width, _, _ = simplejpeg.decode_jpeg_header(photo)
    return int(height * width * 3)


if __name__ == "__main__":
    main()
