"""The built-in jobs and their settings."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Literal

__all__ = ["STRICT", "PrepareSpec", "ScoreSpec", "Split", "TrainSpec"]

STRICT: dict[str, Any] = {"extra": "forbid", "strict": True}
"""Read by the codec: a key that a person typed and that no field has is an error, and no type is coerced."""

Split = Literal["train", "test"]


@dataclass(frozen=True, slots=True, kw_only=True)
class PrepareSpec:
    """Images -> shards.

    Attributes:
        size: Side of the square that images are resized to fill and cropped to, in pixels. None: 192, except that a
            source of CIFAR-size images (at most 32 x 32) keeps each image as it is.
        sample: Share of the images to take, in (0, 1].
        test_fraction: Share held out per class when the source does not bring a test set of its own, in [0, 1).
        seed: Of the sample, the held-out part and the order of the records.
        shard_records: Records in a shard (the last one of a split may have fewer).
        quality: JPEG quality, 1 to 100.
        strict: Fail on the first image that cannot be decoded, instead of listing it.
    """

    __pydantic_config__: ClassVar[dict[str, Any]] = STRICT

    size: int | None = None
    sample: float = 1.0
    test_fraction: float = 0.2
    seed: int = 0
    shard_records: int = 230
    quality: int = 95
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
