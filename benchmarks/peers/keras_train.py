"""The assignment's CNN in Keras on CIFAR-10 in memory: DATA EPOCHS SEED THREADS.

DATA is a file of NumPy arrays: uint8 images (n, 32, 32, 3) and labels, of training and test. Conv 32, pool, conv 64,
pool, conv 64, dense 64, dense 10, as in TensorFlow's image classification tutorial; Adam, batches of 32, images from 0
to 1. Printed, as JSON: seconds of each epoch's training (what Keras does at an epoch's first step included) and of its
evaluation, and the test accuracy after it.
"""

import json
import os
import sys
import time

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"

import numpy as np
import tensorflow as tf
from tensorflow import keras

SPLITS = ("train", "test")


def network():
    """The tutorial's network, with the loss and the optimiser that it has there."""
    layers = keras.layers
    model = keras.Sequential(
        [
            layers.Input((32, 32, 3)),
            layers.Conv2D(32, 3, activation="relu"),
            layers.MaxPooling2D(),
            layers.Conv2D(64, 3, activation="relu"),
            layers.MaxPooling2D(),
            layers.Conv2D(64, 3, activation="relu"),
            layers.Flatten(),
            layers.Dense(64, activation="relu"),
            layers.Dense(10),
        ]
    )
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(optimizer="adam", loss=loss, metrics=["accuracy"])
    return model


class Clock(keras.callbacks.Callback):
    """Times training and evaluation of each epoch apart."""

    def __init__(self):
        super().__init__()
        self.epochs = []

    def on_epoch_begin(self, *_):
        """Training begins."""
        self.began = time.perf_counter()

    def on_test_begin(self, *_):
        """Evaluation begins."""
        self.trained = time.perf_counter()

    def on_epoch_end(self, _epoch, logs):
        """Both are over."""
        self.epochs.append(
            {
                "train_s": self.trained - self.began,
                "evaluate_s": time.perf_counter() - self.trained,
                "accuracy": logs["val_accuracy"],
            }
        )


def main():
    """Train and print what each epoch took and came to."""
    data, epochs, seed, threads = sys.argv[1], *map(int, sys.argv[2:])
    tf.config.threading.set_intra_op_parallelism_threads(threads)
    tf.config.threading.set_inter_op_parallelism_threads(threads)
    keras.utils.set_random_seed(seed)
    with np.load(data) as arrays:
        train, test = ((arrays[f"{split}_images"] / np.float32(255), arrays[f"{split}_labels"]) for split in SPLITS)
    clock = Clock()
    network().fit(*train, batch_size=32, epochs=epochs, validation_data=test, verbose=0, callbacks=[clock])
    print(json.dumps({"epochs": clock.epochs}))


if __name__ == "__main__":
    main()
