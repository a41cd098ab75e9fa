"""The built-in jobs and their settings."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Literal

__all__ = [
    "STRICT",
    "CommandSpec",
    "Encoding",
    "Fit",
    "PrepareSpec",
    "ProgramChoice",
    "ProgramKind",
    "Resample",
    "ScoreSpec",
    "ShardFormat",
    "SpeedtestSpec",
    "Split",
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
        model: ``cnn``, or ``package.module:function`` that returns an ``nn.Module``.
        epochs: Passes over the training records.
        batch_size: Records per step over all workers together, so that a cluster takes the same steps as one node.
        learning_rate: Of Adam.
        seed: Of the initial weights and of the order of the records.
    """

    __pydantic_config__: ClassVar[dict[str, Any]] = STRICT

    model: str = "cnn"
    epochs: int = 5
    batch_size: int = 32
    learning_rate: float = 1e-3
    seed: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoreSpec:
    """Shards and a model -> predictions.

    Attributes:
        split: Which records: ``test`` (all of them if nothing was held out), ``train`` or ``all``.
        batch_size: Records per forward pass.
    """

    __pydantic_config__: ClassVar[dict[str, Any]] = STRICT

    split: Literal["test", "train", "all"] = "test"
    batch_size: int = 256


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
