"""Reader ``tf.data``, as TensorFlow's guides recommend it: parallel reads and maps, AUTOTUNE."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

import tensorflow as tf

from nodewise.readers.base import ReadBatch, ReaderOptions, ReadSource

__all__ = ["TensorFlowReader"]


class TensorFlowReader:
    """Image files are decoded, scaled to fill the square and cut; TFRecord is parsed and decoded."""

    def __init__(self, source: ReadSource, options: ReaderOptions) -> None:
        # Before TensorFlow is used for the first time; later it refuses.
        if tf.config.threading.get_inter_op_parallelism_threads() != options.threads:
            tf.config.threading.set_inter_op_parallelism_threads(options.threads)
        paths = [str(path) for path in source.paths]
        if source.kind == "images":
            named = tf.data.Dataset.from_tensor_slices((paths, list(source.files)))
            dataset = named.map(_file_loader(source.shape[0]), num_parallel_calls=tf.data.AUTOTUNE)
        else:
            records = tf.data.TFRecordDataset(paths, num_parallel_reads=tf.data.AUTOTUNE)
            dataset = records.map(_record_parser(source), num_parallel_calls=tf.data.AUTOTUNE)
        self._dataset = dataset

    def batches(self, batch_size: int, batch_count: int) -> Generator[ReadBatch, None, None]:
        return self._read(self._dataset.batch(batch_size).take(batch_count).prefetch(tf.data.AUTOTUNE))

    @staticmethod
    def _read(dataset: Any) -> Generator[ReadBatch, None, None]:
        for pixels, ids in dataset.as_numpy_iterator():
            yield ReadBatch(pixels, ids)

    def close(self) -> None:
        del self._dataset


def _file_loader(size: int) -> Any:
    def load(path: Any, name: Any) -> tuple[Any, Any]:
        image = tf.io.decode_image(tf.io.read_file(path), channels=3, expand_animations=False)
        shape = tf.cast(tf.shape(image)[:2], tf.float32)
        new_shape = tf.cast(tf.round(shape * (size / tf.reduce_min(shape))), tf.int32)
        image = tf.image.resize_with_crop_or_pad(tf.image.resize(image, new_shape), size, size)
        return tf.cast(tf.round(image), tf.uint8), name

    return load


def _record_parser(source: ReadSource) -> Any:
    features = {"image": tf.io.FixedLenFeature([], tf.string), "key": tf.io.FixedLenFeature([], tf.string)}

    def parse(record: Any) -> tuple[Any, Any]:
        example = tf.io.parse_single_example(record, features)
        match source.encoding:
            case "raw":
                image = tf.io.decode_raw(example["image"], tf.uint8)
            case "png":
                image = tf.io.decode_png(example["image"], channels=3)
            case "webp":
                image = tf.io.decode_webp(example["image"], channels=3)
            case "jpeg":
                image = tf.io.decode_jpeg(example["image"], channels=3)
            case _:
                image = tf.io.decode_image(example["image"], channels=3, expand_animations=False)
        return tf.reshape(image, source.shape), example["key"]

    return parse
