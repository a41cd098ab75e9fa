"""The coursework's own: an RDD of file names, TensorFlow per element, TFRecords per partition: PHOTOS DEST CORES."""

import glob
import json
import os
import sys
import time

BEGAN = time.perf_counter()

from pyspark import SparkConf, SparkContext  # noqa: E402

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
os.environ["PYTHONPATH"] = sys.path[0]
os.environ["PYSPARK_PYTHON"] = sys.executable


def prepare(path):
    """One file through the coursework's three functions."""
    from tfdata_prepare import decode, encode, resize_and_crop

    image, label = encode(*resize_and_crop(*decode(path)))
    return image.numpy(), label.numpy()


def write(number, pairs, dest):
    """The records of a partition as one file."""
    import tensorflow as tf
    from tfdata_prepare import example

    path, count = f"{dest}/flowers{number:02d}.tfrec", 0
    with tf.io.TFRecordWriter(path) as out:
        for image, label in pairs:
            out.write(example(image, label))
            count += 1
    return [(path, count)]


def main():
    """Prepare all photos and print what it took; the work begins when the context is up."""
    photos, dest, cores = sys.argv[1:4]
    os.makedirs(dest, exist_ok=True)
    settings = {"spark.ui.enabled": "false", "spark.driver.host": "127.0.0.1", "spark.driver.bindAddress": "127.0.0.1"}
    conf = SparkConf().setMaster(f"local[{cores}]").setAll(list(settings.items()))
    context = SparkContext(conf=conf)
    context.setLogLevel("ERROR")
    started = time.perf_counter()
    paths = sorted(glob.glob(f"{photos}/*/*.jpg"))
    files = context.parallelize(paths, 16).map(prepare)
    written = files.mapPartitionsWithIndex(lambda number, pairs: write(number, pairs, dest)).collect()
    work_s = time.perf_counter() - started
    context.stop()
    print(json.dumps({"records": sum(count for _, count in written), "work_s": work_s, "import_s": started - BEGAN}))


if __name__ == "__main__":
    main()
