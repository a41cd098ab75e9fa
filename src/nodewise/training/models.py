"""Networks by name."""

from __future__ import annotations

import importlib
import inspect

import torch
from torch import nn

from nodewise.core.errors import InputError, JobFailedError, MissingDependencyError, SpecError

__all__ = ["ImageShape", "build_model", "smallest_side"]

ImageShape = tuple[int, int, int]
"""Channels, height, width."""


def smallest_side() -> int:
    """The smallest side that the ``cnn`` takes: two halvings and three 3x3 convolutions without padding."""
    return 18


def build_model(name: str, *, num_classes: int, image_shape: ImageShape) -> nn.Module:
    """Build a network with fresh weights.

    Args:
        name: ``cnn``, or ``package.module:function``; the function is called with the keywords ``num_classes`` and
            ``image_shape`` (channels, height, width) and returns an ``nn.Module`` that maps float32 images in [0, 1],
            shape (n, channels, height, width), to logits, shape (n, num_classes).

    Raises:
        SpecError: The images are too small, or the name is of no such form.
        MissingDependencyError: The module cannot be imported.
        JobFailedError: The function raised, or returned something else.
    """
    if name == "cnn":
        return _cnn(num_classes, image_shape)
    module_name, _, function_name = name.partition(":")
    try:
        function = getattr(importlib.import_module(module_name), function_name)
    except ImportError as error:
        raise MissingDependencyError(
            f"model {name!r} cannot be imported: {error}", hint="is its folder on PYTHONPATH, on every node?"
        ) from None
    except AttributeError:
        raise InputError(f"model {name!r}: module {module_name} has no {function_name!r}") from None
    try:
        inspect.signature(function).bind(num_classes=num_classes, image_shape=image_shape)
    except (TypeError, ValueError):
        raise InputError(
            f"model {name!r} does not take num_classes and image_shape",
            hint=f"define it as {function_name}(num_classes, image_shape)",
        ) from None
    model = function(num_classes=num_classes, image_shape=image_shape)
    if not isinstance(model, nn.Module):
        raise JobFailedError(f"model {name!r} returned {type(model).__name__}, not an nn.Module")
    with torch.no_grad():
        shape = tuple(model.eval()(torch.zeros(1, *image_shape)).shape)
    if shape != (1, num_classes):
        raise JobFailedError(f"model {name!r} maps one image to shape {shape}; expected (1, {num_classes})")
    return model.train()


def _cnn(num_classes: int, image_shape: ImageShape) -> nn.Module:
    """The network of TensorFlow's image classification tutorial (https://www.tensorflow.org/tutorials/images/cnn)."""
    channels, height, width = image_shape
    if min(height, width) < smallest_side():
        raise SpecError(
            f"images of {width} x {height} are too small for the model 'cnn', which needs {smallest_side()} x "
            f"{smallest_side()}",
            hint="prepare them with --size 32",
        )
    sides = [((side - 2) // 2 - 2) // 2 - 2 for side in (height, width)]
    return nn.Sequential(
        nn.Conv2d(channels, 32, 3),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(32, 64, 3),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(64, 64, 3),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(64 * sides[0] * sides[1], 64),
        nn.ReLU(),
        nn.Linear(64, num_classes),
    )
