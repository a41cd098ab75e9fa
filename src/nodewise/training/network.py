"""The network of a training, outside of any worker: as it is in the beginning, and as a file in the end."""

from __future__ import annotations

import torch

from nodewise.training.model_file import ModelInfo, save_model
from nodewise.training.models import build_model
from nodewise.training.plan import TrainPlan
from nodewise.training.recipe import recipe_of
from nodewise.training.records import image_shape_of

__all__ = ["initial_network", "save_trained"]


def initial_network(plan: TrainPlan) -> torch.nn.Module:
    """With the weights that every worker begins with; this process's random numbers go on as before."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(plan.spec.seed)
        network = build_model(
            recipe_of(plan.spec).model,
            num_classes=len(plan.manifest.classes),
            image_shape=image_shape_of(plan.manifest, plan.folder),
            search_path=plan.search_path,
        )
    return network.to(memory_format=torch.channels_last)  # type: ignore[call-overload, no-any-return]


def save_trained(plan: TrainPlan, network: torch.nn.Module) -> None:
    """Write the model.

    Raises:
        DiskFullError: There is no space for it.
    """
    manifest = plan.manifest
    info = ModelInfo(
        model=recipe_of(plan.spec).model,
        classes=manifest.classes,
        image_shape=image_shape_of(manifest, plan.folder),
        transform=manifest.transform,
    )
    save_model(plan.model_path, network, info)
