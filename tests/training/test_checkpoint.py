"""Checkpoints: what goes in comes out, damage and strangers are told, and nothing in a file is ever run."""

from __future__ import annotations

import json
import os
import pickle
from dataclasses import replace
from pathlib import Path

import pytest
import safetensors.torch
import torch

from nodewise.core.errors import CorruptFileError, InputError
from nodewise.specs.job import TrainSpec
from nodewise.specs.results import EpochResult
from nodewise.training.checkpoint import (
    Checkpoint,
    newest_checkpoint_bytes,
    parse_checkpoint,
    remove_checkpoints,
    save_checkpoint,
)
from nodewise.training.models import build_model
from nodewise.training.optimizers import build_optimizer


def make_checkpoint(step: int = 7, optimizer: str = "muon") -> Checkpoint:
    torch.manual_seed(step)
    model = build_model("cnn", num_classes=3, image_shape=(3, 18, 18))
    trained = build_optimizer(TrainSpec(optimizer=optimizer), model)  # type: ignore[arg-type]
    model(torch.rand(2, 3, 18, 18)).sum().backward()
    for group in trained.param_groups:
        group["lr"] = 0.01
    trained.step()
    epochs = (EpochResult(epoch=1, loss=0.5, train_accuracy=0.25, test_accuracy=None, seconds=1.5),)
    return Checkpoint(
        step=step,
        epoch=2,
        epoch_step=3,
        losses=1.25,
        right=4.0,
        epochs=epochs,
        fingerprint="f",
        model=model.state_dict(),
        optimizer=trained.state_dict(),
        random=torch.get_rng_state(),
    )


@pytest.mark.parametrize("optimizer", ["muon", "adam", "sgd"])
def test_what_goes_in_comes_out(tmp_path: Path, optimizer: str) -> None:
    saved = make_checkpoint(optimizer=optimizer)
    path = save_checkpoint(tmp_path, saved)
    assert path == tmp_path / "step-000000007.safetensors"
    found = parse_checkpoint(path.read_bytes(), str(path))
    plain = [replace(one, model={}, optimizer={}, random=torch.empty(0)) for one in (saved, found)]
    assert str(plain[0]) == str(plain[1])
    assert found.model.keys() == saved.model.keys()
    assert all(torch.equal(found.model[name], saved.model[name]) for name in saved.model)
    assert torch.equal(found.random, saved.random)
    model = build_model("cnn", num_classes=3, image_shape=(3, 18, 18))
    trained = build_optimizer(TrainSpec(optimizer=optimizer), model)  # type: ignore[arg-type]
    trained.load_state_dict(found.optimizer)
    state = trained.state_dict()["state"]
    assert state.keys() == saved.optimizer["state"].keys()
    for parameter, values in saved.optimizer["state"].items():
        for name, value in values.items():
            assert torch.equal(torch.as_tensor(state[parameter][name]), torch.as_tensor(value))


def test_the_newest_two_are_kept_and_the_newest_is_taken(tmp_path: Path) -> None:
    for step in (5, 10, 15):
        save_checkpoint(tmp_path, make_checkpoint(step))
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "step-000000010.safetensors",
        "step-000000015.safetensors",
    ]
    data = newest_checkpoint_bytes(tmp_path, "f")
    assert data is not None
    assert parse_checkpoint(data, "x").step == 15


@pytest.mark.parametrize("damage", ["cut", "empty", "pickle", "flip"])
def test_one_that_is_damaged_is_passed_over(tmp_path: Path, damage: str) -> None:
    save_checkpoint(tmp_path, make_checkpoint(5))
    path = save_checkpoint(tmp_path, make_checkpoint(10))
    whole = path.read_bytes()
    canary = tmp_path / "canary"

    class Hostile:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return os.system, (f"touch {canary}",)

    path.write_bytes(
        {"cut": whole[:-9], "empty": b"", "pickle": pickle.dumps(Hostile()), "flip": b"\xff" + whole[1:]}[damage]
    )
    with pytest.raises(CorruptFileError, match="not a checkpoint that nodewise wrote"):
        parse_checkpoint(path.read_bytes(), str(path))
    data = newest_checkpoint_bytes(tmp_path, "f")
    assert data is not None
    assert parse_checkpoint(data, "x").step == 5
    assert not canary.exists()


def test_a_model_is_no_checkpoint(tmp_path: Path) -> None:
    data = safetensors.torch.save({"a": torch.zeros(1)}, {"nodewise": json.dumps({})})
    with pytest.raises(CorruptFileError, match=r"^here: not a checkpoint"):
        parse_checkpoint(data, "here")


def test_one_of_another_training_is_refused(tmp_path: Path) -> None:
    save_checkpoint(tmp_path, make_checkpoint())
    with pytest.raises(InputError, match="made with other settings") as caught:
        newest_checkpoint_bytes(tmp_path, "g")
    assert "--resume" in (caught.value.hint or "")


def test_removing_leaves_what_is_not_a_checkpoint(tmp_path: Path) -> None:
    folder = tmp_path / "kept"
    save_checkpoint(folder, make_checkpoint())
    (folder / "notes.txt").write_text("mine")
    remove_checkpoints(folder)
    assert [path.name for path in folder.iterdir()] == ["notes.txt"]
    (folder / "notes.txt").unlink()
    remove_checkpoints(folder)
    assert not folder.exists()
    assert newest_checkpoint_bytes(folder, "f") is None
    remove_checkpoints(folder)
