"""Networks by name: the built-in ones, and those that a user brings."""

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch

from nodewise.core.errors import InputError, JobFailedError, MissingDependencyError, NodewiseError, SpecError
from nodewise.training.models import build_model, smallest_side

UserModule = Callable[[str], None]

LINEAR = """
from torch import nn
def net(num_classes, image_shape):
    channels, height, width = image_shape
    return nn.Sequential(nn.Flatten(), nn.Linear(channels * height * width, num_classes))
"""


@pytest.fixture
def user_module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[UserModule]:
    """Writes the source of the module ``their_networks``, which can then be imported."""
    monkeypatch.syspath_prepend(tmp_path)
    yield (tmp_path / "their_networks.py").write_text
    sys.modules.pop("their_networks", None)


def build(name: str, num_classes: int = 10, side: int = 32) -> torch.nn.Module:
    return build_model(name, num_classes=num_classes, image_shape=(3, side, side))


def count_parameters(network: torch.nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


def test_the_cnn_is_that_of_the_tensorflow_tutorial() -> None:
    # The tutorial's model.summary() says: Total params: 122,570.
    assert count_parameters(build("cnn")) == 122_570


@pytest.mark.parametrize("name", ["cnn", "resnet"])
@pytest.mark.parametrize(("height", "width"), [(18, 18), (32, 32), (33, 47), (192, 192)])
def test_a_built_in_network_takes_images_of_any_size_from_the_smallest_on(name: str, height: int, width: int) -> None:
    network = build_model(name, num_classes=5, image_shape=(3, height, width))
    assert network(torch.zeros(2, 3, height, width)).shape == (2, 5)


@pytest.mark.parametrize("name", ["cnn", "resnet"])
@pytest.mark.parametrize(("height", "width"), [(17, 32), (32, 17), (8, 8)])
def test_images_too_small_for_a_built_in_network_are_refused(name: str, height: int, width: int) -> None:
    assert smallest_side() == 18
    with pytest.raises(SpecError, match=f"{width} x {height} are too small .*'{name}'.* 18 x 18") as caught:
        build_model(name, num_classes=10, image_shape=(3, height, width))
    assert caught.value.hint == "prepare them with --size 32"


def test_the_resnet_is_small_and_its_weights_do_not_depend_on_the_image_size() -> None:
    # First filters 24 x (12 + 1); blocks of 9 x (inputs + outputs) x outputs weights and 4 x outputs of batch norms;
    # logits 128 x 10.
    expected = 312 + (9 * (24 + 32) * 32 + 128) + (9 * (32 + 96) * 96 + 384) + (9 * (96 + 128) * 128 + 512) + 1280
    assert count_parameters(build("resnet")) == count_parameters(build("resnet", side=64)) == expected


def test_the_resnet_takes_part_in_its_input_past_each_second_convolution() -> None:
    network = build("resnet").eval()
    images = torch.rand(2, 3, 32, 32)
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            if ".refine." in name:
                parameter.zero_()
        assert network(images).abs().sum() > 0


def test_the_resnets_logits_start_small() -> None:
    torch.manual_seed(0)
    logits = build("resnet")(torch.rand(64, 3, 32, 32))
    assert logits.std() < 1


@pytest.mark.parametrize("name", ["cnn", "resnet"])
def test_a_built_in_network_gives_every_weight_a_gradient(name: str) -> None:
    torch.manual_seed(0)
    network = build(name)
    network(torch.rand(8, 3, 32, 32)).square().sum().backward()
    assert all(parameter.grad is not None and parameter.grad.any() for parameter in network.parameters())


@pytest.mark.parametrize("name", ["cnn", "resnet"])
def test_a_built_in_network_gives_the_same_for_other_memory_formats(name: str) -> None:
    torch.manual_seed(0)
    network, images = build(name).eval(), torch.rand(4, 3, 32, 32)
    expected = network(images)
    last = network.to(memory_format=torch.channels_last)(images.to(memory_format=torch.channels_last))
    assert torch.allclose(last, expected, atol=1e-5)


def test_a_users_network_is_built_for_the_data(user_module: UserModule) -> None:
    user_module(LINEAR)
    network = build("their_networks:net", num_classes=7, side=10)
    assert network(torch.zeros(4, 3, 10, 10)).shape == (4, 7)
    assert network.training


@pytest.mark.parametrize(
    ("source", "error", "message"),
    [
        ("def net(classes): ...", InputError, "does not take num_classes and image_shape"),
        ("def other(): ...", InputError, "module their_networks has no .*'net'"),
        ("net = 3", InputError, "module their_networks has no .*'net'"),
        ("def net(num_classes, image_shape): return 'net'", JobFailedError, "returned str, not an nn.Module"),
        (LINEAR.replace("width, num_classes", "width, 3"), JobFailedError, r"to .*\(1, 3\); expected .*\(1, 10\)"),
        ("import no_such_package", MissingDependencyError, "No module named 'no_such_package'"),
        ("def net(num_classes, image_shape): return 1 / 0", JobFailedError, "ZeroDivisionError"),
        ("1 / 0", JobFailedError, "ZeroDivisionError"),
        (LINEAR.replace("channels * height * width", "7"), JobFailedError, "their_networks:net"),
    ],
    ids=[
        "wrong signature",
        "no such function",
        "no function",
        "no module",
        "wrong number of outputs",
        "import fails",
        "function raises",
        "module raises",
        "does not take the images",
    ],
)
def test_a_users_network_that_does_not_fit_is_refused_in_one_line(
    user_module: UserModule, source: str, error: type[NodewiseError], message: str
) -> None:
    user_module(source)
    with pytest.raises(error, match=message) as caught:
        build("their_networks:net")
    assert "\n" not in caught.value.message


def test_what_a_users_network_raises_is_located(user_module: UserModule, tmp_path: Path) -> None:
    user_module("def net(num_classes, image_shape):\n    return 1 / 0\n")
    with pytest.raises(JobFailedError) as caught:
        build("their_networks:net")
    assert caught.value.where == f"{tmp_path / 'their_networks.py'}:2"


def test_a_users_module_is_found_where_the_user_stands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", list(sys.path))
    (tmp_path / "networks_of_mine.py").write_text(LINEAR)
    network = build_model("networks_of_mine:net", num_classes=2, image_shape=(3, 4, 4), search_path=str(tmp_path))
    assert count_parameters(network) == 2 * (3 * 4 * 4 + 1)
    del sys.modules["networks_of_mine"]


@pytest.mark.parametrize("name", ["no_such_module:net", "no_such_package.module:net"])
def test_a_missing_module_is_a_missing_dependency(name: str) -> None:
    with pytest.raises(MissingDependencyError, match="no_such") as caught:
        build(name)
    assert "PYTHONPATH" in (caught.value.hint or "")
    assert "\n" not in caught.value.message


@pytest.mark.parametrize("name", ["resnet9", "json:", ":net", ""])
def test_a_name_of_no_known_form_is_refused(name: str) -> None:
    with pytest.raises(NodewiseError):
        build(name)
