"""tf.data: JPEG -> resize to fill -> crop -> JPEG -> TFRecord, as in the coursework: PHOTOS DEST auto|sequential."""

import json
import sys
import time
from pathlib import Path

BEGAN = time.perf_counter()

import tensorflow as tf  # noqa: E402

IMPORTED = time.perf_counter()
SIZE = 192
CLASSES = ("daisy", "dandelion", "roses", "sunflowers", "tulips")


def decode(path):
    """The pixels of a file and its class's name."""
    return tf.image.decode_jpeg(tf.io.read_file(path), channels=3), tf.strings.split(path, "/")[-2]


def resize_and_crop(image, label):
    """Fill the square, cut out the centre."""
    width, height = tf.shape(image)[1], tf.shape(image)[0]
    image = tf.cond(
        width < height,
        lambda: tf.image.resize(image, [height * SIZE // width, SIZE]),
        lambda: tf.image.resize(image, [SIZE, width * SIZE // height]),
    )
    height, width = tf.shape(image)[0], tf.shape(image)[1]
    top, left = (height - SIZE) // 2, (width - SIZE) // 2
    return tf.image.crop_to_bounding_box(image, top, left, SIZE, SIZE), label


def encode(image, label):
    """JPEG of quality 95, 4:4:4, as the coursework has it."""
    image = tf.cast(image, tf.uint8)
    return tf.image.encode_jpeg(image, optimize_size=True, chroma_downsampling=False), label


def example(image, label):
    """One serialised record."""
    features = {
        "image": tf.train.Feature(bytes_list=tf.train.BytesList(value=[image])),
        "class": tf.train.Feature(int64_list=tf.train.Int64List(value=[CLASSES.index(label.decode())])),
    }
    return tf.train.Example(features=tf.train.Features(feature=features)).SerializeToString()


def main():
    """Prepare all photos and print what it took."""
    photos, dest, mode = sys.argv[1:4]
    parallel = tf.data.AUTOTUNE if mode == "auto" else None
    Path(dest).mkdir(parents=True, exist_ok=True)
    files = tf.data.Dataset.list_files(f"{photos}/*/*.jpg", seed=0)
    dataset = files
    for step in (decode, resize_and_crop, encode):
        dataset = dataset.map(step, num_parallel_calls=parallel)
    dataset = dataset.batch(230)
    if parallel is not None:
        dataset = dataset.prefetch(parallel)
    records = 0
    for number, (images, labels) in enumerate(dataset):
        with tf.io.TFRecordWriter(f"{dest}/flowers{number:02d}-{len(images)}.tfrec") as out:
            for image, label in zip(images.numpy(), labels.numpy(), strict=True):
                out.write(example(image, label))
        records += len(images)
    print(json.dumps({"records": records, "work_s": time.perf_counter() - IMPORTED, "import_s": IMPORTED - BEGAN}))


if __name__ == "__main__":
    main()
