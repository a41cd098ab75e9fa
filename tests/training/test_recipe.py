"""What a recipe brings, beside the settings."""

import pytest

from nodewise.specs.job import TrainSpec
from nodewise.training.optimizers import learning_rates
from nodewise.training.recipe import Recipe, recipe_of


@pytest.mark.parametrize("model", ["cnn", "resnet", "their_networks:net"])
def test_the_standard_recipe_trains_any_model_on_the_images_as_they_are(model: str) -> None:
    assert recipe_of(TrainSpec(model=model)) == Recipe(
        model=model, is_augmented=False, label_smoothing=0, rate_factor=1
    )


def test_the_fast_recipe_brings_its_network_augments_and_smooths_labels() -> None:
    recipe = recipe_of(TrainSpec(recipe="fast"))
    assert recipe == recipe_of(TrainSpec(recipe="fast", model="resnet"))
    assert recipe.model == "resnet"
    assert recipe.is_augmented
    assert 0 < recipe.label_smoothing < 1


def test_the_fast_recipe_trains_another_network_that_is_asked_for_at_its_usual_rate() -> None:
    recipe = recipe_of(TrainSpec(recipe="fast", model="their_networks:net"))
    assert recipe.model == "their_networks:net"
    assert recipe.is_augmented
    assert recipe.rate_factor == 1


def highest_rate(spec: TrainSpec) -> float:
    rate_of = learning_rates(spec, 10)
    return max(rate_of(step) for step in range(10))


def test_the_fast_recipes_learning_rate_is_two_and_a_half_times_the_optimisers() -> None:
    # Muon's own is 0.02, for batches of 128.
    assert highest_rate(TrainSpec(recipe="fast")) == pytest.approx(0.05)


def test_a_learning_rate_that_is_asked_for_is_taken_as_it_is() -> None:
    assert highest_rate(TrainSpec(recipe="fast", learning_rate=0.01)) == pytest.approx(0.01)
