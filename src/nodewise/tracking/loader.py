"""What MLflow calls to load a model that nodewise logged: ``mlflow.pyfunc.load_model``, ``mlflow models serve``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from nodewise.core.errors import InputError
from nodewise.training.model_file import load_model
from nodewise.training.records import to_input

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from numpy.typing import NDArray

__all__ = ["Classifier"]

_BATCH = 256


class Classifier:
    """Predicts classes with the network of a model file, which is read without running anything in it."""

    def __init__(self, path: Path) -> None:
        self._network, self._info = load_model(path)

    def predict(self, images: NDArray[np.uint8], params: dict[str, Any] | None = None) -> pd.DataFrame:  # noqa: ARG002
        """The class of each image and its probability.

        Args:
            images: uint8, shape (n, height, width, channels).
            params: Passed by MLflow; there are none.

        Returns:
            A row per image: ``predicted`` (its class's name), ``probability`` (0 to 1).

        Raises:
            InputError: The images are of another shape.
        """
        import numpy as np
        import pandas as pd

        channels, height, width = self._info.image_shape
        if images.ndim != 4 or images.shape[1:] != (height, width, channels):
            raise InputError(
                f"the model takes images of shape (n, {height}, {width}, {channels}), and was given {images.shape}"
            )
        rows = [self._answers(images[start : start + _BATCH]) for start in range(0, len(images), _BATCH)]
        names = np.array(self._info.classes, dtype=object)
        numbers = np.concatenate([numbers for numbers, _ in rows]) if rows else np.empty(0, np.int64)
        probabilities = np.concatenate([found for _, found in rows]) if rows else np.empty(0, np.float64)
        return pd.DataFrame({"predicted": names[numbers], "probability": probabilities})

    def _answers(self, images: NDArray[np.uint8]) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        with torch.inference_mode():
            logits = self._network(to_input(torch.from_numpy(images.copy())))
            best = torch.softmax(logits, dim=1).max(dim=1)
        return best.indices.numpy(), best.values.double().numpy()


def _load_pyfunc(path: str, model_config: dict[str, Any] | None = None) -> Classifier:  # noqa: ARG001
    return Classifier(Path(path))
