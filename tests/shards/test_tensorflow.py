"""TensorFlow reads what is written here, and the other way round. It runs in a process of its own."""

import importlib.util
import json
import os
import subprocess
import sys

import numpy as np
import pytest

from nodewise.images.codecs import decode_image, encode_jpeg, encode_png
from nodewise.images.transform import resize
from nodewise.shards.examples import Example, encode_example
from nodewise.shards.files import read_shard, write_shards

pytestmark = pytest.mark.skipif(importlib.util.find_spec("tensorflow") is None, reason="TensorFlow is not installed")


def run_tensorflow(code, folder):
    program = "import json, sys\nimport numpy as np\nimport tensorflow as tf\n" + code
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=folder,
        env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": "-1"},
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return json.loads(done.stdout) if done.stdout else None


def gradient(height, width):
    rows, columns = np.mgrid[0:height, 0:width]
    return np.stack([rows * 255 // height, columns * 255 // width, (rows + columns) % 256], axis=-1).astype(np.uint8)


def test_tensorflow_reads_a_shard_unchanged(tmp_path):
    images = [encode_jpeg(gradient(24, 24), 95), encode_png(gradient(7, 9)), encode_jpeg(gradient(24, 24)[::-1], 80)]
    labels = [3, 0, -(2**63)]
    (info,) = write_shards(tmp_path, "train", 0, map(Example, images, labels))
    found = run_tensorflow(
        f"""
spec = {{"image": tf.io.FixedLenFeature([], tf.string), "class": tf.io.FixedLenFeature([], tf.int64)}}
rows = []
for raw in tf.data.TFRecordDataset({info.path!r}):
    row = tf.io.parse_single_example(raw, spec)
    copy = tf.train.Example.FromString(raw.numpy()).SerializeToString(deterministic=True)
    pixels = tf.io.decode_image(row["image"])
    rows.append([row["image"].numpy().hex(), int(row["class"]), list(pixels.shape), copy == raw.numpy(),
                 int(tf.reduce_sum(tf.cast(pixels, tf.int64)))])
print(json.dumps(rows))
""",
        tmp_path,
    )
    assert [row[0] for row in found] == [image.hex() for image in images]
    assert [row[1] for row in found] == labels
    assert [row[2] for row in found] == [[24, 24, 3], [7, 9, 3], [24, 24, 3]]
    assert all(row[3] for row in found)
    # The PNG is the same pixel by pixel; JPEG decoders may differ by rounding.
    assert found[1][4] == int(gradient(7, 9).sum())
    for row, image in zip(found, images, strict=True):
        assert row[4] == pytest.approx(int(decode_image(image).sum()), rel=0.01)


def test_shard_that_tensorflow_wrote_is_read(tmp_path):
    run_tensorflow(
        """
with tf.io.TFRecordWriter("train-00000-3.tfrec") as writer:
    for label, image in ((5, b"abc"), (-1, b""), (2**40, bytes(range(256)) * 40)):
        features = {
            "image": tf.train.Feature(bytes_list=tf.train.BytesList(value=[image])),
            "class": tf.train.Feature(int64_list=tf.train.Int64List(value=[label])),
            "weight": tf.train.Feature(float_list=tf.train.FloatList(value=[0.5, 2.0])),
        }
        writer.write(tf.train.Example(features=tf.train.Features(feature=features)).SerializeToString())
""",
        tmp_path,
    )
    assert list(read_shard(tmp_path, "train-00000-3.tfrec")) == [
        Example(b"abc", 5),
        Example(b"", -1),
        Example(bytes(range(256)) * 40, 2**40),
    ]


def test_raw_pixels_are_read_by_tensorflow(tmp_path):
    image = gradient(5, 7)
    (info,) = write_shards(tmp_path, "train", 3, [Example(image.tobytes(), 1, (5, 7, 3))])
    found = run_tensorflow(
        f"""
spec = {{"image": tf.io.FixedLenFeature([], tf.string), "shape": tf.io.FixedLenFeature([3], tf.int64),
        "key": tf.io.FixedLenFeature([], tf.string)}}
(raw,) = tf.data.TFRecordDataset({info.path!r})
row = tf.io.parse_single_example(raw, spec)
pixels = tf.reshape(tf.io.decode_raw(row["image"], tf.uint8), row["shape"])
print(json.dumps([pixels.numpy().tolist(), row["key"].numpy().decode()]))
""",
        tmp_path,
    )
    assert found == [image.tolist(), "train-00003-000000"]


def test_examples_and_resize_are_those_of_tensorflow(tmp_path):
    image = gradient(50, 31)
    np.save(tmp_path / "image.npy", image)
    found = run_tensorflow(
        """
def serialise(image, label, key=None, shape=None):
    features = {"image": tf.train.Feature(bytes_list=tf.train.BytesList(value=[image])),
                "class": tf.train.Feature(int64_list=tf.train.Int64List(value=[label]))}
    if key:
        features["key"] = tf.train.Feature(bytes_list=tf.train.BytesList(value=[key]))
    if shape:
        features["shape"] = tf.train.Feature(int64_list=tf.train.Int64List(value=shape))
    example = tf.train.Example(features=tf.train.Features(feature=features))
    return example.SerializeToString(deterministic=True).hex()

examples = [serialise(b"some image", -7), serialise(b"x" * 300, 200, b"train-00007-000003"),
            serialise(b"x" * 60000, 1, b"train-00007-000003", [100, 200, 3]),
            serialise(b"xyz", 1, b"k" * 200, [1, 1, 3])]
resized = tf.image.resize(np.load("image.npy"), [26, 16])[5:21, :, :]
print(json.dumps([examples, resized.numpy().tolist()]))
""",
        tmp_path,
    )
    assert found[0] == [
        encode_example(example).hex()
        for example in (
            Example(b"some image", -7),
            Example(b"x" * 300, 200, None, "train-00007-000003"),
            Example(b"x" * 60000, 1, (100, 200, 3), "train-00007-000003"),
            Example(b"xyz", 1, (1, 1, 3), "k" * 200),
        )
    ]
    # 50 * 16 / 31 = 25.8, so 26 rows, of which (26 - 16) // 2 = 5 go at the top. OpenCV rounds to whole values.
    assert np.abs(resize(image, 16) - np.array(found[1])).max() <= 1.0
