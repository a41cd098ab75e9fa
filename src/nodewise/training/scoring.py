"""A network that is ready to score: loaded, laid out for the processor, with a batch size that suits it."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from nodewise.training.model_file import ModelInfo, load_model
from nodewise.training.precision import autocast, prepare_process, resolve_precision
from nodewise.training.records import to_input
from nodewise.training.score_batch import choose_batch_size

__all__ = ["Scorer", "load_scorer"]

_PROCESSOR = torch.device("cpu")


class Scorer:
    """A network and how it is best used in this process.

    Attributes:
        info: What the model file says beside its weights.
        precision: Of the network's products: ``bf16`` where the processor computes it faster, else ``float32``.
        batch_size: Records per forward pass.
        forward_records_per_cpu_s: What the network does with images in memory, per second of one core.
    """

    def __init__(self, network: nn.Module, info: ModelInfo, batch_size: int | None = None) -> None:
        # Images come with their channels last, as the processor's convolutions want them.
        self._network = network.eval().to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.info, self.precision = info, resolve_precision("auto")
        self.batch_size, self.forward_records_per_cpu_s = choose_batch_size(
            self._network, self.predict, info.image_shape, batch_size
        )

    def predict(self, images: NDArray[np.uint8]) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """The most probable class of each image and its probability.

        Args:
            images: RGB, shape (n, height, width, 3).

        Returns:
            Class numbers and probabilities by softmax, both of shape (n,).
        """
        with torch.inference_mode(), autocast(_PROCESSOR, self.precision):
            logits = self._network(to_input(torch.from_numpy(images)))
            best = torch.softmax(logits.float(), dim=1).max(dim=1)
        return best.indices.numpy(), best.values.numpy()


def load_scorer(path: Path, *, search_path: str = "", batch_size: int | None = None) -> Scorer:
    """The scorer of a model file; a process loads and measures each file once.

    Args:
        search_path: As in :func:`~nodewise.training.models.build_model`.
        batch_size: None: the fastest of a few.

    Raises:
        InputError, CorruptFileError: As :func:`~nodewise.training.model_file.load_model`.
    """
    # One that is missing is for the loader to complain about.
    changed_ns = path.stat().st_mtime_ns if path.exists() else 0
    return _load(path, changed_ns, search_path, batch_size)


@lru_cache(maxsize=1)
def _load(path: Path, _changed_ns: int, search_path: str, batch_size: int | None) -> Scorer:
    # A slot is one core.
    prepare_process(threads=1)
    network, info = load_model(path, search_path=search_path)
    return Scorer(network, info, batch_size)
