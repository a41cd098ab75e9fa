"""Recipes: what belongs together of model, augmentation, loss and learning rate.

``standard`` is for any model and any records. ``fast`` is for the accuracy that a few epochs can give: its own network
(see :mod:`nodewise.training.models`), images mirrored and shifted, and, as in the public speed runs on CIFAR-10 (Page
2019; Jordan 2024, arXiv:2404.00498), smooth labels and a high learning rate, which batch norms allow.
"""

from __future__ import annotations

from dataclasses import dataclass

from nodewise.specs.job import TrainSpec

__all__ = ["Recipe", "recipe_of"]

_FAST_MODEL = "resnet"


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """How a training goes about it, beside its settings.

    Attributes:
        model: Name of the network.
        is_augmented: Whether training images are mirrored and shifted at random; held-out ones never are.
        label_smoothing: Share of a label's weight that goes to all classes alike.
        rate_factor: Times an optimiser's own learning rate; without effect on one that the settings name.
    """

    model: str
    is_augmented: bool = False
    label_smoothing: float = 0.0
    rate_factor: float = 1.0


def recipe_of(spec: TrainSpec) -> Recipe:
    """The recipe that the settings ask for; ``fast`` takes ``resnet`` where they name no other model than ``cnn``."""
    if spec.recipe == "standard":
        return Recipe(model=spec.model)
    model = _FAST_MODEL if spec.model == "cnn" else spec.model
    # Of another model nobody knows whether it bears more.
    rate_factor = 2.5 if model == _FAST_MODEL else 1.0
    return Recipe(model=model, is_augmented=True, label_smoothing=0.2, rate_factor=rate_factor)
