"""A network that is ready to score, and the batch size that it is given."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from nodewise.core.errors import CorruptFileError, InputError, MissingDependencyError
from nodewise.training import score_batch
from nodewise.training.model_file import ModelInfo, save_model
from nodewise.training.models import build_model
from nodewise.training.precision import autocast, resolve_precision
from nodewise.training.score_batch import SIZES, choose_batch_size
from nodewise.training.scoring import Scorer, load_scorer

SHAPE = (3, 24, 20)
INFO = ModelInfo(model="cnn", classes=("a", "b", "c"), image_shape=SHAPE, transform={})


@pytest.fixture
def network() -> nn.Module:
    torch.manual_seed(1)
    return build_model("cnn", num_classes=3, image_shape=SHAPE).eval()


def some_images(count: int) -> np.ndarray[Any, np.dtype[np.uint8]]:
    return np.random.default_rng(3).integers(0, 256, (count, 24, 20, 3), np.uint8)


class Clock:
    """Seconds that pass only when a batch is computed: a fixed part, and some for each image."""

    def __init__(self, seconds_of: Any) -> None:
        self._seconds_of, self.now, self.sizes = seconds_of, 0.0, []

    def forward(self, images: Any) -> None:
        self.sizes.append(len(images))
        self.now += self._seconds_of(len(images))

    def choose(self, monkeypatch: pytest.MonkeyPatch, network: nn.Module, **options: Any) -> score_batch.BatchChoice:
        monkeypatch.setattr(score_batch.time, "thread_time", lambda: self.now)
        return choose_batch_size(network, self.forward, SHAPE, **options)


@pytest.mark.parametrize(
    ("seconds_of", "expected"),
    [
        # Each batch costs as much as 10 images: 256 of them take 266 units, 128 take 138, 3.7 % more for each.
        (lambda n: 1e-5 * (10 + n), 256),
        # Nothing is gained from a larger batch.
        (lambda n: 1e-5 * n, 4),
        # From 32 on the caches are too small.
        (lambda n: 1e-5 * (10 + n) * (1 if n <= 32 else 2), 32),
        # 2 % more than with 4 images is not worth it.
        (lambda n: 1e-5 * n * (1.02 if n == 4 else 1), 4),
    ],
    ids=["overhead per batch", "no difference", "too large for the caches", "hardly a difference"],
)
def test_the_fastest_size_is_taken_and_of_equal_ones_the_smallest(
    monkeypatch: pytest.MonkeyPatch, network: nn.Module, seconds_of: Any, expected: int
) -> None:
    choice = Clock(seconds_of).choose(monkeypatch, network)
    assert choice.batch_size == expected
    assert choice.records_per_cpu_s == pytest.approx(expected / seconds_of(expected))


def test_the_search_ends_when_it_takes_long(monkeypatch: pytest.MonkeyPatch, network: nn.Module) -> None:
    clock = Clock(lambda n: 0.2 + 0.001 * n)
    assert clock.choose(monkeypatch, network).batch_size == 4
    assert set(clock.sizes) == {4}


@pytest.mark.parametrize(("images_at_most", "largest"), [(20, 16), (4, 4), (3, 3), (1, 1), (0, 1)])
def test_no_batch_needs_more_memory_than_allowed(
    monkeypatch: pytest.MonkeyPatch, images_at_most: int, largest: int
) -> None:
    # The convolution gives 32 x 22 x 18 values of 4 bytes, and ReLU makes as many from them: 101,376 bytes.
    network = nn.Sequential(nn.Conv2d(3, 32, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(32, 3))
    monkeypatch.setattr(score_batch, "MOST_BYTES", images_at_most * 101_376)
    clock = Clock(lambda n: 1e-5 * (10 + n))
    assert clock.choose(monkeypatch, network).batch_size == largest
    assert max(clock.sizes) == largest


def test_a_size_that_is_asked_for_is_taken_and_its_rate_measured(
    monkeypatch: pytest.MonkeyPatch, network: nn.Module
) -> None:
    clock = Clock(lambda n: 1e-5 * n)
    assert clock.choose(monkeypatch, network, asked=7) == (7, pytest.approx(1e5))
    assert set(clock.sizes) == {7}
    # One that is never tried takes as long per image as the largest that is.
    assert clock.choose(monkeypatch, network, asked=100_000).batch_size == 100_000
    assert max(clock.sizes) == SIZES[-1]


def test_predictions_are_those_of_the_network(network: nn.Module) -> None:
    images = some_images(9)
    predicted, probability = Scorer(network, INFO, 4).predict(images)
    values = torch.from_numpy(images.astype(np.float32) / 255).permute(0, 3, 1, 2)
    with torch.inference_mode(), autocast(torch.device("cpu"), resolve_precision("auto")):
        expected = torch.softmax(network(values).float(), dim=1)
    assert predicted.tolist() == expected.argmax(dim=1).tolist()
    assert probability == pytest.approx(expected.max(dim=1).values.numpy(), abs=0.01)
    assert (predicted.dtype, probability.dtype) == (np.int64, np.float32)


def test_a_model_is_loaded_once_until_its_file_changes(network: nn.Module, tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    save_model(path, network, INFO)
    first = load_scorer(path)
    assert load_scorer(path) is first
    save_model(path, build_model("cnn", num_classes=3, image_shape=SHAPE), INFO)
    os.utime(path, ns=(1, 1))
    assert load_scorer(path) is not first


def test_a_batch_size_that_was_measured_serves_all_tasks(network: nn.Module, tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    save_model(path, network, INFO)
    scorer = load_scorer(path)
    assert scorer.batch_size in SIZES
    assert scorer.forward_records_per_cpu_s > 0
    assert load_scorer(path, batch_size=5).batch_size == 5


def test_a_hostile_file_is_refused_and_runs_nothing(tmp_path: Path) -> None:
    marker = tmp_path / "ran"

    class Hostile:
        def __reduce__(self) -> tuple[Any, tuple[str]]:
            return os.system, (f"touch {marker}",)

    path = tmp_path / "model.safetensors"
    torch.save({"weights": Hostile()}, path)
    with pytest.raises(CorruptFileError, match="not a model that nodewise wrote"):
        load_scorer(path)
    assert not marker.exists()


def test_weights_that_do_not_fit_are_refused(network: nn.Module, tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    save_model(path, network, ModelInfo(model="cnn", classes=("a", "b"), image_shape=SHAPE, transform={}))
    with pytest.raises(CorruptFileError, match="its weights do not fit the model 'cnn'"):
        load_scorer(path)


def test_a_model_file_that_is_gone_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such model file"):
        load_scorer(tmp_path / "model.safetensors")


def test_a_network_that_is_gone_is_named(network: nn.Module, tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    save_model(path, network, ModelInfo(model="gone:net", classes=("a", "b", "c"), image_shape=SHAPE, transform={}))
    with pytest.raises(MissingDependencyError, match="'gone:net' cannot be imported"):
        load_scorer(path)
