"""A trained model in one file: weights as safetensors, and what scoring needs to know in its header.

Reading one runs no code from the file. It may name a function of an installed package (``package.module:function``), as
the user did when the model was trained; that function is called to build the network.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
from torch import nn

from nodewise.core.errors import CorruptFileError, InputError
from nodewise.core.files import write_atomic
from nodewise.training.models import ImageShape, build_model

__all__ = ["ModelInfo", "load_model", "read_model_info", "save_model"]

_KEY = "nodewise"
_VERSION = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelInfo:
    """What a model file says beside its weights.

    Attributes:
        model: ``cnn`` or ``package.module:function``.
        image_shape: Channels, height, width of the images that it was trained on.
        transform: How they were made, from the manifest of its shards.
    """

    model: str
    classes: tuple[str, ...]
    image_shape: ImageShape
    transform: dict[str, Any]


def save_model(path: Path, network: nn.Module, info: ModelInfo) -> None:
    """Write a model; the file is whole or absent."""
    tensors = {name: tensor.detach().clone().contiguous() for name, tensor in network.state_dict().items()}
    header = {_KEY: json.dumps({"version": _VERSION, **asdict(info)})}
    write_atomic(path, safetensors.torch.save(tensors, header))


def read_model_info(path: Path) -> ModelInfo:
    """Read what a model file says beside its weights.

    Raises:
        InputError: There is no such file.
        CorruptFileError: It is not a model that nodewise wrote.
    """
    if not path.is_file():
        raise InputError(f"{path}: no such model file", hint="make one with `nodewise train SHARDS`")
    try:
        with safetensors.safe_open(path, framework="pt") as stored:
            header = json.loads((stored.metadata() or {})[_KEY])
        if header["version"] > _VERSION:
            raise CorruptFileError(str(path), "written by a newer nodewise", hint="update nodewise")
        channels, height, width = map(int, header["image_shape"])
        return ModelInfo(
            model=str(header["model"]),
            classes=tuple(map(str, header["classes"])),
            image_shape=(channels, height, width),
            transform=dict(header["transform"]),
        )
    except (safetensors.SafetensorError, KeyError, TypeError, ValueError) as error:
        raise CorruptFileError(str(path), f"not a model that nodewise wrote ({type(error).__name__})") from None


def load_model(path: Path, *, search_path: str = "") -> tuple[nn.Module, ModelInfo]:
    """The trained network, ready to score, and what its file says.

    Args:
        search_path: As in :func:`~nodewise.training.models.build_model`.

    Raises:
        InputError, CorruptFileError: As :func:`read_model_info`; also when the weights do not fit the network.
    """
    info = read_model_info(path)
    network = build_model(
        info.model, num_classes=len(info.classes), image_shape=info.image_shape, search_path=search_path
    )
    try:
        network.load_state_dict(safetensors.torch.load_file(path))
    except (safetensors.SafetensorError, RuntimeError) as error:
        raise CorruptFileError(
            str(path), f"its weights do not fit the model {info.model!r}: {str(error).splitlines()[0]}"
        ) from None
    return network.eval(), info
