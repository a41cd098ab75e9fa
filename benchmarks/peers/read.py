"""Reads shards of 192 x 192 images in batches through one reader: READER SHARDS.

READER is one of the functions below. Each returns a function that makes an iterator of batches (n, 192, 192, 3) for a
type and a batch size. Printed, as JSON: seconds of the import, seconds from there to the first batch of a process (32,
uint8), images per second of whole passes in batches of 32 (the best of three, after one that is not counted), and of
the coursework's smallest cell (three batches of two, median of 30).
"""

import json
import os
import sys
import time
from itertools import islice
from pathlib import Path
from statistics import median

CORES = len(os.sched_getaffinity(0))
SIDE = 192


def nodewise(shards):
    """nodewise's own, in the stored order."""
    from nodewise.shards.reader import ShardReader

    readers = {}

    def batches(dtype, batch_size):
        key = (dtype, batch_size)
        if key not in readers:
            readers[key] = ShardReader(shards, split="all", batch_size=batch_size, dtype=dtype, shuffle=False)
        return (batch.images for batch in readers[key])

    return batches


def nodewise_shuffled(shards):
    """nodewise's own, each epoch in an order of its own."""
    from nodewise.shards.reader import ShardReader

    readers = {}

    def batches(dtype, batch_size):
        key = (dtype, batch_size)
        if key not in readers:
            readers[key] = ShardReader(shards, split="all", batch_size=batch_size, dtype=dtype)
        return (batch.images for batch in readers[key])

    return batches


def nodewise_torch(shards):
    """nodewise's dataset in a DataLoader without worker processes: its threads decode."""
    from torch.utils.data import DataLoader

    from nodewise.shards.torch_dataset import ShardDataset

    def batches(dtype, batch_size):
        dataset = ShardDataset(shards, split="all", batch_size=batch_size, dtype=dtype, shuffle=False)
        return (images for images, _ in DataLoader(dataset, batch_size=None))

    return batches


def tfdata(shards, parallel="auto"):
    """tf.data over TFRecord files with AUTOTUNE, or with a sequential map."""
    import tensorflow as tf

    files = sorted(str(path) for path in Path(shards).glob("*.tfrec"))
    calls = tf.data.AUTOTUNE if parallel == "auto" else None
    features = {"image": tf.io.FixedLenFeature([], tf.string), "class": tf.io.FixedLenFeature([], tf.int64)}

    def parse(dtype):
        def one(record):
            image = tf.io.decode_jpeg(tf.io.parse_single_example(record, features)["image"], channels=3)
            image = tf.ensure_shape(image, (SIDE, SIDE, 3))
            return tf.cast(image, tf.float32) / 255.0 if dtype == "float32" else image

        return one

    made = {}

    def batches(dtype, batch_size):
        if (dtype, batch_size) not in made:
            records = tf.data.TFRecordDataset(files, num_parallel_reads=calls)
            dataset = records.map(parse(dtype), num_parallel_calls=calls).batch(batch_size)
            made[dtype, batch_size] = dataset.prefetch(calls) if calls else dataset
        # The coursework's cells take so many batches of the data set.
        return made[dtype, batch_size].as_numpy_iterator() if batch_size == 32 else take(made[dtype, batch_size])

    def take(dataset):
        return dataset.take(3).as_numpy_iterator()

    return batches


def tfdata_sequential(shards):
    """tf.data with nothing in parallel."""
    return tfdata(shards, parallel="none")


def webdataset(shards):
    """webdataset over tar files in a DataLoader with a worker per core."""
    import cv2
    import numpy as np
    import torch
    import webdataset as wds

    cv2.setNumThreads(1)
    files = sorted(str(path) for path in Path(shards).glob("*.tar"))

    def batches(dtype, batch_size):
        def decode(sample):
            image = cv2.imdecode(np.frombuffer(sample[0], np.uint8), cv2.IMREAD_COLOR_RGB)
            return image.astype(np.float32) / 255 if dtype == "float32" else image

        dataset = wds.WebDataset(files, shardshuffle=False, empty_check=False).to_tuple("jpg", "cls").map(decode)
        return iter(torch.utils.data.DataLoader(dataset, batch_size=batch_size, num_workers=CORES))

    return batches


def ray_data(shards):
    """Ray Data's iter_batches over TFRecord files."""
    import logging

    import cv2
    import numpy as np
    import ray

    ray.init(num_cpus=CORES, include_dashboard=False, log_to_driver=False, logging_level=logging.ERROR)
    ray.data.DataContext.get_current().enable_progress_bars = False
    cv2.setNumThreads(1)
    files = sorted(str(path) for path in Path(shards).glob("*.tfrec"))

    def batches(dtype, batch_size):
        def decode(batch):
            images = [cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR_RGB) for data in batch["image"]]
            stack = np.stack(images)
            return {"image": stack.astype(np.float32) / 255 if dtype == "float32" else stack}

        dataset = ray.data.read_tfrecords(files).map_batches(decode, batch_size=batch_size)
        return (batch["image"] for batch in dataset.iter_batches(batch_size=batch_size))

    return batches


def main():
    """Measure one reader."""
    name, shards = sys.argv[1:3]
    passes, cells = (1, 3) if name == "ray_data" else (3, 30)
    began = time.perf_counter()
    batches = globals()[name](shards)
    imported = time.perf_counter()
    next(iter(batches("uint8", 32)))
    figures = {"import_s": imported - began, "first_batch_s": time.perf_counter() - imported}
    for dtype in ("uint8", "float32"):
        rates = []
        for _ in range(passes + 1):
            began = time.perf_counter()
            images = sum(len(batch) for batch in batches(dtype, 32))
            rates.append(images / (time.perf_counter() - began))
        figures[f"{dtype}_per_s"] = max(rates[1:])
        figures[f"{dtype}_first_pass_per_s"] = rates[0]
    seconds = []
    for _ in range(cells + 1):
        began = time.perf_counter()
        images = sum(len(batch) for batch in islice(batches("uint8", 2), 3))
        seconds.append(time.perf_counter() - began)
        if images != 6:
            sys.exit(f"{name} delivered {images} images instead of six")
    figures["small_per_s"] = 6 / median(seconds[1:])
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
