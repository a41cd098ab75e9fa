"""Networks by name."""

from __future__ import annotations

import importlib
import inspect
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn

from nodewise.core.errors import InputError, JobFailedError, MissingDependencyError, SpecError

__all__ = ["ImageShape", "build_model", "smallest_side"]

ImageShape = tuple[int, int, int]
"""Channels, height, width."""


def smallest_side() -> int:
    """The smallest side that the ``cnn`` takes: two halvings and three 3x3 convolutions without padding."""
    return 18


def build_model(name: str, *, num_classes: int, image_shape: ImageShape, search_path: str = "") -> nn.Module:
    """Build a network with fresh weights.

    Args:
        name: ``cnn``, or ``package.module:function``; the function is called with the keywords ``num_classes`` and
            ``image_shape`` (channels, height, width) and returns an ``nn.Module`` that maps float32 images in [0, 1],
            shape (n, channels, height, width), to logits, shape (n, num_classes).
        search_path: Folder to look for the module in, after all others: where the user stood.

    Raises:
        SpecError: The images are too small, or the name is of no such form.
        MissingDependencyError: The module cannot be imported.
        JobFailedError: The function raised, or returned something else.
    """
    if name == "cnn":
        return _cnn(num_classes, image_shape)
    module_name, _, function_name = name.partition(":")
    if search_path and search_path not in sys.path:
        sys.path.append(search_path)
    try:
        module = importlib.import_module(module_name)
    except ImportError as error:
        raise MissingDependencyError(
            f"model {name!r} cannot be imported: {error}", hint="is its folder on PYTHONPATH, on every node?"
        ) from None
    except Exception as error:
        raise _users_failure(name, error) from error
    function = getattr(module, function_name, None)
    if not callable(function):
        raise InputError(f"model {name!r}: module {module_name} has no function {function_name!r}")
    try:
        inspect.signature(function).bind(num_classes=num_classes, image_shape=image_shape)
    except (TypeError, ValueError):
        raise InputError(
            f"model {name!r} does not take num_classes and image_shape",
            hint=f"define it as {function_name}(num_classes, image_shape)",
        ) from None
    with _users_code(name):
        model = function(num_classes=num_classes, image_shape=image_shape)
    if not isinstance(model, nn.Module):
        raise JobFailedError(f"model {name!r} returned {type(model).__name__}, not an nn.Module")
    with _users_code(name), torch.no_grad():
        logits = model.eval()(torch.zeros(1, *image_shape))
    shape = tuple(logits.shape) if isinstance(logits, torch.Tensor) else type(logits).__name__
    if shape != (1, num_classes):
        raise JobFailedError(f"model {name!r} maps one image to {shape}; expected shape (1, {num_classes})")
    return model.train()


@contextmanager
def _users_code(name: str) -> Iterator[None]:
    try:
        yield
    except Exception as error:
        raise _users_failure(name, error) from error


def _users_failure(name: str, error: Exception) -> JobFailedError:
    """What the user's network raised is the user's, and told with its place."""
    frame = traceback.extract_tb(error.__traceback__)[-1]
    where = f"{frame.filename}:{frame.lineno}"
    message = f"model {name!r} failed: {type(error).__name__}: {error} ({where})"
    return JobFailedError(message, where=where, detail="".join(traceback.format_exception(error)))


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
