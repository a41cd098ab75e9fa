"""Checkpoints: all that a training needs to go on where it stopped, in one file that holds no code.

A file is a safetensors file: weights, the optimiser's tensors and the state of the random numbers, with the rest as
JSON in its header. It appears under its name when it is whole. The two newest are kept, so that one is left if the
other turns out to be damaged.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
import torch

from nodewise.core.errors import CorruptFileError, InputError
from nodewise.core.files import write_atomic
from nodewise.specs.results import EpochResult

__all__ = ["Checkpoint", "newest_checkpoint_bytes", "parse_checkpoint", "remove_checkpoints", "save_checkpoint"]

KEPT = 2
_KEY = "nodewise-checkpoint"
_NAME = re.compile(r"step-(\d{9})\.safetensors")


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkpoint:
    """The state after a step.

    Attributes:
        step: Steps done since the beginning of the training.
        epoch: In which the next step lies, from 1.
        epoch_step: Steps done of that epoch.
        losses, right: Sums over the records of that epoch so far.
        epochs: What the finished epochs came to.
        fingerprint: Of the data and the settings; another training must not go on from here.
        model: The model's state.
        optimizer: The optimiser's state, as its ``state_dict()`` gives it.
        random: State of PyTorch's random numbers.
    """

    step: int
    epoch: int
    epoch_step: int
    losses: float
    right: float
    epochs: tuple[EpochResult, ...]
    fingerprint: str
    model: dict[str, torch.Tensor]
    optimizer: dict[str, Any]
    random: torch.Tensor


def save_checkpoint(folder: Path, checkpoint: Checkpoint) -> Path:
    """Write ``folder/step-000000123.safetensors``, then remove all but the newest two.

    Raises:
        DiskFullError: There is no space; the earlier ones stay.
    """
    tensors = {f"model/{name}": tensor for name, tensor in checkpoint.model.items()}
    tensors["random"] = checkpoint.random
    numbers: dict[str, Any] = {}
    for parameter, state in checkpoint.optimizer["state"].items():
        for name, value in state.items():
            key = f"optimizer/{parameter}/{name}"
            if isinstance(value, torch.Tensor):
                tensors[key] = value
            else:
                numbers[key] = value
    header = {
        "step": checkpoint.step,
        "epoch": checkpoint.epoch,
        "epoch_step": checkpoint.epoch_step,
        "losses": checkpoint.losses,
        "right": checkpoint.right,
        "epochs": [asdict(epoch) for epoch in checkpoint.epochs],
        "fingerprint": checkpoint.fingerprint,
        "numbers": numbers,
        "groups": checkpoint.optimizer["param_groups"],
    }
    path = folder / f"step-{checkpoint.step:09d}.safetensors"
    whole = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    write_atomic(path, safetensors.torch.save(_unshared(whole), {_KEY: json.dumps(header)}))
    for old in _files(folder)[:-KEPT]:
        old.unlink(missing_ok=True)
    return path


def newest_checkpoint_bytes(folder: Path, fingerprint: str) -> bytes | None:
    """The newest one that is whole, for :func:`parse_checkpoint`; None: there is none.

    Raises:
        InputError: It is of another training.
    """
    for path in reversed(_files(folder)):
        with suppress(CorruptFileError, OSError):
            data = path.read_bytes()
            if parse_checkpoint(data, str(path)).fingerprint != fingerprint:
                raise InputError(
                    f"{path} was made with other settings or other records",
                    hint="give the settings of that training, or train anew without --resume",
                )
            return data
    return None


def parse_checkpoint(data: bytes, where: str) -> Checkpoint:
    """Read the bytes of a checkpoint; no code in them is run.

    Args:
        where: They were found, for the error.

    Raises:
        CorruptFileError: They are damaged, or no checkpoint.
    """
    try:
        tensors = safetensors.torch.load(data)
        length = int.from_bytes(data[:8], "little")
        header = json.loads(json.loads(data[8 : 8 + length])["__metadata__"][_KEY])
        state: dict[int, dict[str, Any]] = {}
        for key, value in [*tensors.items(), *header["numbers"].items()]:
            kind, _, rest = key.partition("/")
            if kind == "optimizer":
                parameter, _, name = rest.partition("/")
                state.setdefault(int(parameter), {})[name] = value
        return Checkpoint(
            step=int(header["step"]),
            epoch=int(header["epoch"]),
            epoch_step=int(header["epoch_step"]),
            losses=float(header["losses"]),
            right=float(header["right"]),
            epochs=tuple(EpochResult(**epoch) for epoch in header["epochs"]),
            fingerprint=str(header["fingerprint"]),
            model={key.removeprefix("model/"): value for key, value in tensors.items() if key.startswith("model/")},
            optimizer={"state": state, "param_groups": list(header["groups"])},
            random=tensors["random"],
        )
    except (safetensors.SafetensorError, KeyError, TypeError, ValueError) as error:
        raise CorruptFileError(where, f"not a checkpoint that nodewise wrote ({type(error).__name__})") from None


def remove_checkpoints(folder: Path) -> None:
    """Remove the checkpoints in a folder, and the folder if nothing else is in it."""
    for path in _files(folder):
        path.unlink(missing_ok=True)
    with suppress(OSError):
        folder.rmdir()


def _files(folder: Path) -> list[Path]:
    """Checkpoints, the oldest first."""
    return sorted(path for path in folder.glob("step-*.safetensors") if _NAME.fullmatch(path.name))


def _unshared(tensors: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Copies of tensors that share memory, which safetensors refuses to write."""
    seen: set[int] = set()
    result: dict[str, torch.Tensor] = {}
    for name, tensor in tensors.items():
        place = tensor.data_ptr()
        result[name] = tensor.clone() if place in seen else tensor
        seen.add(place)
    return result
