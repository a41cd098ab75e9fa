"""Networks by name."""

from __future__ import annotations

import importlib
import inspect
import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import pairwise

import torch
from torch import nn

from nodewise.core.errors import InputError, JobFailedError, MissingDependencyError, SpecError

__all__ = ["ImageShape", "build_model", "smallest_side"]

ImageShape = tuple[int, int, int]
"""Channels, height, width."""


def smallest_side() -> int:
    """The smallest side that the built-in networks take: two halvings and three 3x3 convolutions without padding."""
    return 18


def build_model(name: str, *, num_classes: int, image_shape: ImageShape, search_path: str = "") -> nn.Module:
    """Build a network with fresh weights.

    Args:
        name: ``cnn``, ``resnet``, or ``package.module:function``; the function is called with the keywords
            ``num_classes`` and ``image_shape`` (channels, height, width) and returns an ``nn.Module`` that maps float32
            images in [0, 1], shape (n, channels, height, width), to logits, shape (n, num_classes).
        search_path: Folder to look for the module in, after all others: where the user stood.

    Raises:
        SpecError: The images are too small, or the name is of no such form.
        MissingDependencyError: The module cannot be imported.
        JobFailedError: The function raised, or returned something else.
    """
    if name in _BUILT_IN:
        _, height, width = image_shape
        if min(height, width) < smallest_side():
            raise SpecError(
                f"images of {width} x {height} are too small for the model {name!r}, which needs {smallest_side()} x "
                f"{smallest_side()}",
                hint="prepare them with --size 32",
            )
        return _BUILT_IN[name](num_classes, image_shape)
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


class _Normalised(nn.Sequential):
    """Modules one after another, on images whose channels are brought to about mean 0 and deviation 1 first."""

    # Of ImageNet, as usual for photos.
    MEAN, DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)

    def __init__(self, *modules: nn.Module) -> None:
        super().__init__(*modules)
        # Not in the model's file, since they never change.
        self._mean: torch.Tensor
        self._deviation: torch.Tensor
        self.register_buffer("_mean", torch.tensor(self.MEAN).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("_deviation", torch.tensor(self.DEVIATION).view(1, 3, 1, 1), persistent=False)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        result: torch.Tensor = super().forward((images - self._mean) / self._deviation)  # type: ignore[no-untyped-call]
        return result


def _cnn(num_classes: int, image_shape: ImageShape) -> nn.Module:
    """The network of TensorFlow's image classification tutorial (https://www.tensorflow.org/tutorials/images/cnn)."""
    channels, height, width = image_shape
    sides = [((side - 2) // 2 - 2) // 2 - 2 for side in (height, width)]
    # Pooled before ReLU: the same function, as both are monotone, with a quarter of the work.
    return _Normalised(
        nn.Conv2d(channels, 32, 3),
        nn.MaxPool2d(2),
        nn.ReLU(inplace=True),
        nn.Conv2d(32, 64, 3),
        nn.MaxPool2d(2),
        nn.ReLU(inplace=True),
        nn.Conv2d(64, 64, 3),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(64 * sides[0] * sides[1], 64),
        nn.ReLU(),
        nn.Linear(64, num_classes),
    )


def _resnet(num_classes: int, image_shape: ImageShape) -> nn.Module:
    """A small residual network that learns in few epochs: the one of the recipe ``fast``.

    After Page's ResNet-9 (2019, https://www.myrtle.ai/learn/how-to-train-your-resnet) and Jordan's networks (2024,
    arXiv:2404.00498), with widths for processors: few filters of 2 x 2 on the whole image, three blocks that halve it
    before they go on, the greatest value of each channel over the image, scaled logits. Images may be of any size.

    Its batch norms see the records of one worker only, so several workers do not learn exactly what one would.
    """
    widths = (24, 32, 96, 128)
    first = nn.Conv2d(image_shape[0], widths[0], 2)
    blocks = [_Block(*pair) for pair in pairwise(widths)]
    return _Normalised(first, nn.ReLU(inplace=True), *blocks, _Head(widths[-1], num_classes))


class _Block(nn.Module):
    """Halves the image, and adds what a second convolution finds in it."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        # Pooled first, since all that follows is then a quarter of the work.
        self.halve = nn.Sequential(_convolution(inputs, outputs), nn.MaxPool2d(2), *_activation(outputs))
        self.refine = nn.Sequential(_convolution(outputs, outputs), *_activation(outputs))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        halved = self.halve(images)
        result: torch.Tensor = halved + self.refine(halved)
        return result


def _convolution(inputs: int, outputs: int) -> nn.Module:
    return nn.Conv2d(inputs, outputs, 3, padding=1, bias=False)


def _activation(channels: int) -> tuple[nn.Module, nn.Module]:
    return nn.BatchNorm2d(channels), nn.ReLU(inplace=True)


class _Head(nn.Module):
    """The greatest value of each channel over the image, to logits that start small."""

    SCALE = 0.25

    def __init__(self, channels: int, num_classes: int) -> None:
        super().__init__()
        self.linear = nn.Linear(channels, num_classes, bias=False)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        result: torch.Tensor = self.linear(images.amax((2, 3))) * self.SCALE
        return result


_BUILT_IN: dict[str, Callable[[int, ImageShape], nn.Module]] = {"cnn": _cnn, "resnet": _resnet}
