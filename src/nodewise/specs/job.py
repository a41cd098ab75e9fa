"""The built-in jobs and their settings."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Literal

__all__ = [
    "STRICT",
    "CommandSpec",
    "Compression",
    "Encoding",
    "Fit",
    "Optimizer",
    "Precision",
    "PrepareSpec",
    "ProgramChoice",
    "ProgramKind",
    "Recipe",
    "Resample",
    "ScaleRule",
    "Schedule",
    "ScoreSpec",
    "ShardFormat",
    "SpeedtestSpec",
    "Split",
    "Strategy",
    "Subsampling",
    "TrainSpec",
]

STRICT: dict[str, Any] = {"extra": "forbid", "strict": True}
"""Read by the codec: a key that a person typed and that no field has is an error, and no type is coerced."""

ProgramKind = Literal["spark", "ray", "notebook", "program"]
ProgramChoice = Literal["auto", "spark", "ray", "notebook", "program"]
Split = Literal["train", "test"]
ShardFormat = Literal["tfrecord", "webdataset"]
Encoding = Literal["jpeg", "png", "webp", "raw"]
Fit = Literal["cover", "contain", "stretch"]
Resample = Literal["bilinear", "antialias"]
Subsampling = Literal["444", "422", "420"]
Strategy = Literal["single", "all-reduce", "parameter-server", "average"]
Recipe = Literal["standard", "fast"]
ScaleRule = Literal["linear", "sqrt", "none"]
Optimizer = Literal["muon", "adam", "sgd"]
Schedule = Literal["one-cycle", "constant"]
Precision = Literal["auto", "float32", "bf16"]
Compression = Literal["none", "bf16"]


@dataclass(frozen=True, slots=True, kw_only=True)
class PrepareSpec:
    """Images -> shards.

    Attributes:
        size: Side of the square that images are brought to, in pixels. None: 192, except that a source of CIFAR-size
            images (at most 32 x 32) keeps each image as it is.
        fit: How an image that is not square comes to be one: ``cover`` fills the square and cuts off what sticks out,
            ``contain`` shows all of it between black bars, ``stretch`` distorts it.
        resample: ``bilinear`` between pixel centres, as ``tf.image.resize`` does by default; ``antialias`` averages
            over all the pixels that become one (the better picture when images shrink).
        sample: Share of the images to take, in (0, 1].
        test_fraction: Share held out per class when the source does not bring a test set of its own, in [0, 1).
        seed: Of the sample, the held-out part and the order of the records.
        shard_format: ``tfrecord``: ``tf.train.Example`` in TFRecord files; ``webdataset``: tar files.
        shard_records: Records in a shard (the last one of a split may have fewer).
        shard_bytes: Most bytes in a shard, instead of ``shard_records``; a longer record has a shard of its own.
        encoding: What an image is stored as; ``raw`` is its pixels. An image that has the right size already keeps its
            bytes if they are of this encoding. None: JPEG where images are resized, else each as it is.
        quality: Of ``jpeg`` and ``webp``, 1 to 100.
        subsampling: Of the colour channels of a JPEG: ``444`` has them for every pixel.
        optimize: Compute the Huffman tables of each JPEG anew: about 6 % fewer bytes, about twice the encoding time.
        max_pixels: Images of more pixels are refused before they are decoded.
        max_bad: Share of the images that may be undecodable, in [0, 1]; above it the run stops.
        strict: Fail on the first image that cannot be decoded, instead of listing it.
    """

    __pydantic_config__: ClassVar[dict[str, Any]] = STRICT

    size: int | None = None
    fit: Fit = "cover"
    resample: Resample = "bilinear"
    sample: float = 1.0
    test_fraction: float = 0.2
    seed: int = 0
    shard_format: ShardFormat = "tfrecord"
    shard_records: int = 230
    shard_bytes: int | None = None
    encoding: Encoding | None = None
    quality: int = 95
    subsampling: Subsampling = "444"
    optimize: bool = False
    max_pixels: int = 100_000_000
    max_bad: float = 0.01
    strict: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainSpec:
    """Shards -> a model.

    Attributes:
        model: ``cnn``, ``resnet``, or ``package.module:function`` that returns an ``nn.Module``.
        recipe: ``standard`` trains any model on the images as they are; ``fast`` brings a model, a schedule and
            augmentation of its own that reach a given accuracy in less time. See :mod:`nodewise.training.recipe`.
        strategy: ``single``: one worker. ``all-reduce``: gradients are averaged over the workers at every step.
            ``parameter-server``: workers send gradients to servers that hold the weights (engine ``ray``).
            ``average``: each worker trains alone on its part, and the weights are averaged now and then.
            None: ``single`` on one node, ``all-reduce`` on several.
        epochs: Passes over the training records.
        batch_size: Records per step over all workers together, so that a cluster takes the same steps as one node.
        learning_rate: For a batch of 128 records; ``scale_lr`` makes it that of ``batch_size``. None: the optimiser's.
        scale_lr: ``linear``: x batch_size / 128. ``sqrt``: x its square root. ``none``: as it is.
        optimizer: ``muon`` (see :mod:`nodewise.training.optimizers`), ``adam``, or plain ``sgd`` without momentum.
        schedule: Of the learning rate. ``one-cycle``: up from a 25th over ``warmup``, then down to 0 along a cosine.
            ``constant``, after ``warmup``.
        warmup: Share of all steps in which the learning rate rises, in [0, 1).
        precision: Of the network's products: ``float32``, ``bf16``, or ``auto``: ``bf16`` where the processor computes
            it faster.
        compression: Of what is exchanged between workers: ``none`` (float32) or ``bf16``.
        servers: Parameter servers; each holds a part of the weights.
        workers_per_node: Of the parameter server strategy.
        is_async: Servers apply each gradient when it comes, instead of the mean of all workers'.
        max_staleness: How many steps a worker may be ahead of the slowest one if ``is_async``.
        average_every: Steps between two averages; None: once, at the end.
        checkpoint_every: Steps between two checkpoints; None: at the end of each epoch; 0: never.
        max_restarts: How often a group that lost a worker starts again from its last checkpoint.
        seed: Of the initial weights and of the order of the records.
    """

    __pydantic_config__: ClassVar[dict[str, Any]] = STRICT

    model: str = "cnn"
    recipe: Recipe = "standard"
    strategy: Strategy | None = None
    epochs: int = 5
    batch_size: int = 128
    learning_rate: float | None = None
    scale_lr: ScaleRule = "sqrt"
    optimizer: Optimizer = "muon"
    schedule: Schedule = "one-cycle"
    warmup: float = 0.2
    precision: Precision = "auto"
    compression: Compression = "none"
    servers: int = 1
    workers_per_node: int = 1
    is_async: bool = False
    max_staleness: int = 4
    average_every: int | None = None
    checkpoint_every: int | None = None
    max_restarts: int = 3
    seed: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoreSpec:
    """Shards and a model -> predictions.

    Attributes:
        split: Which records: ``test`` (all of them if nothing was held out), ``train`` or ``all``.
        batch_size: Records per forward pass; None: the fastest of a few, measured on each worker.
    """

    __pydantic_config__: ClassVar[dict[str, Any]] = STRICT

    split: Literal["test", "train", "all"] = "test"
    batch_size: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class CommandSpec:
    """Any program.

    Attributes:
        run: The program and its arguments; no shell looks at them.
        kind: What kind of program it is; ``auto`` looks at what the script imports.
    """

    __pydantic_config__: ClassVar[dict[str, Any]] = STRICT

    run: tuple[str, ...]
    kind: ProgramChoice = "auto"


@dataclass(frozen=True, slots=True, kw_only=True)
class SpeedtestSpec:
    """Reading speed over batch size x batch count x repetition.

    Attributes:
        batch_sizes: Images per batch.
        batch_counts: Batches per measurement.
        repeat: Measurements of each combination.
        readers: Names of readers (see :mod:`nodewise.jobs.speedtest`); None: all that are installed.
        size: Side of the square that image files are brought to, in pixels.
        cold: True: drop the files from the page cache before each measurement, and refuse if that is not permitted.
            False: read them once before the first measurement. None: take the cache as it is. What came from it is
            measured in every case.
        cache: On Spark, keep the measurements for the averages that follow; without it they are measured again.
        seed: Of the order in which the measurements are made.
    """

    __pydantic_config__: ClassVar[dict[str, Any]] = STRICT

    batch_sizes: tuple[int, ...] = (2, 4, 6, 8)
    batch_counts: tuple[int, ...] = (3, 6, 12, 18)
    repeat: int = 3
    readers: tuple[str, ...] | None = None
    size: int = 192
    cold: bool | None = None
    cache: bool = True
    seed: int = 0
