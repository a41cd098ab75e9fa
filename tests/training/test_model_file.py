"""Model files: what is written is read back, and nothing in a foreign file is run."""

import json
import pickle
import struct
from pathlib import Path

import pytest
import safetensors.torch
import torch

from nodewise.core.errors import CorruptFileError, InputError
from nodewise.training.model_file import ModelInfo, load_model, read_model_info, save_model
from nodewise.training.models import build_model

INFO = ModelInfo(
    model="cnn", classes=("cat", "déjà vu"), image_shape=(3, 18, 20), transform={"size": None, "quality": 95}
)


@pytest.fixture
def model_path(tmp_path: Path) -> Path:
    torch.manual_seed(1)
    path = tmp_path / "model.safetensors"
    save_model(path, build_model("cnn", num_classes=2, image_shape=INFO.image_shape), INFO)
    return path


def test_a_model_is_read_back_bit_by_bit(tmp_path: Path) -> None:
    network = build_model("cnn", num_classes=2, image_shape=INFO.image_shape)
    save_model(tmp_path / "model.safetensors", network, INFO)
    loaded, info = load_model(tmp_path / "model.safetensors")
    assert info == INFO
    assert not loaded.training
    before, after = network.state_dict(), loaded.state_dict()
    assert before.keys() == after.keys()
    assert all(torch.equal(before[name], after[name]) for name in before)
    images = torch.rand(5, *INFO.image_shape)
    with torch.no_grad():
        assert torch.equal(network.eval()(images), loaded(images))


def test_the_same_model_makes_the_same_file(model_path: Path, tmp_path: Path) -> None:
    network, info = load_model(model_path)
    save_model(tmp_path / "again.safetensors", network, info)
    assert (tmp_path / "again.safetensors").read_bytes() == model_path.read_bytes()


def test_a_missing_file_is_an_input_error(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such model file"):
        read_model_info(tmp_path / "none.safetensors")


@pytest.mark.parametrize("kept", [0, 7, 100, -1])
def test_a_file_that_was_cut_short_is_corrupt(model_path: Path, kept: int) -> None:
    model_path.write_bytes(model_path.read_bytes()[:kept])
    with pytest.raises(CorruptFileError, match=r"model\.safetensors") as caught:
        load_model(model_path)
    assert "\n" not in caught.value.message


def test_a_pickle_is_refused_and_not_run(tmp_path: Path) -> None:
    canary, path = tmp_path / "canary", tmp_path / "model.safetensors"

    class Hostile:
        def __reduce__(self) -> tuple[object, ...]:
            return Path.touch, (canary,)

    content = pickle.dumps(Hostile())
    path.write_bytes(content)
    for read in (read_model_info, load_model):
        with pytest.raises(CorruptFileError, match="not a model that nodewise wrote"):
            read(path)
    assert not canary.exists()
    pickle.loads(content)
    assert canary.exists(), "the pickle would have made the file"


def test_a_model_of_torchs_own_format_is_refused(tmp_path: Path) -> None:
    torch.save(build_model("cnn", num_classes=2, image_shape=(3, 32, 32)), tmp_path / "model.pt")
    with pytest.raises(CorruptFileError, match="not a model that nodewise wrote"):
        load_model(tmp_path / "model.pt")


@pytest.mark.parametrize(
    "header",
    [
        None,
        "[]",
        "not json",
        '{"version": 1}',
        '{"version": "1", "model": "cnn", "classes": ["a"], "image_shape": [3, 32, 32], "transform": {}}',
        '{"version": 1, "model": "cnn", "classes": ["a"], "image_shape": [3, 32], "transform": {}}',
        '{"version": 1, "model": "cnn", "classes": ["a"], "image_shape": ["x", 1, 1], "transform": {}}',
        '{"version": 1, "model": "cnn", "classes": 7, "image_shape": [3, 32, 32], "transform": {}}',
    ],
)
def test_somebody_elses_safetensors_are_refused(tmp_path: Path, header: str | None) -> None:
    path = tmp_path / "model.safetensors"
    metadata = None if header is None else {"nodewise": header}
    safetensors.torch.save_file({"w": torch.zeros(1)}, path, metadata)
    with pytest.raises(CorruptFileError, match="not a model that nodewise wrote"):
        read_model_info(path)


def test_a_file_of_a_newer_nodewise_says_so(model_path: Path) -> None:
    content = model_path.read_bytes()
    (length,) = struct.unpack("<Q", content[:8])
    header = json.loads(content[8 : 8 + length])
    stored = json.loads(header["__metadata__"]["nodewise"])
    header["__metadata__"]["nodewise"] = json.dumps(stored | {"version": stored["version"] + 1})
    text = json.dumps(header).encode()
    model_path.write_bytes(struct.pack("<Q", len(text)) + text + content[8 + length :])
    with pytest.raises(CorruptFileError, match="newer nodewise") as caught:
        load_model(model_path)
    assert caught.value.hint == "update nodewise"


@pytest.mark.parametrize("classes", [("only one",), ("a", "b", "c")])
def test_weights_that_do_not_fit_the_network_are_corrupt(tmp_path: Path, classes: tuple[str, ...]) -> None:
    path = tmp_path / "model.safetensors"
    network = build_model("cnn", num_classes=2, image_shape=(3, 18, 18))
    save_model(path, network, ModelInfo(model="cnn", classes=classes, image_shape=(3, 18, 18), transform={}))
    with pytest.raises(CorruptFileError, match="do not fit the model 'cnn'") as caught:
        load_model(path)
    assert "\n" not in caught.value.message
