"""What tests of several layers share: real data, emulated clusters, a small prepared data set."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

import nodewise
from nodewise.core.spark_classes import keep_classes
from nodewise.data.datasets import fetch
from nodewise.engines.base import Engine

from .engines import tasks
from .engines.clusters import open_engine

# Prices that a developer has fetched must not change what tests expect.
os.environ["NODEWISE_PRICES"] = os.devnull
# Assertions of what every engine promises explain themselves, as those in test modules do.
pytest.register_assert_rewrite("tests.engines.contract", "tests.engines.crew_contract", "tests.engines.lifecycle")

# Loading MLflow takes seconds in every command; tests of tracking switch it on.
os.environ["NODEWISE_TRACKING"] = "off"


SKIP_SLOW = pytest.mark.skip(reason="slow: `make test-all` runs it")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Leave slow tests to `make test-all`; bring those on one cluster together, so that each is started once."""
    for item in items:
        if os.environ.get("NODEWISE_TEST_ALL") != "1" and is_slow(item):
            item.add_marker(SKIP_SLOW)
    items.sort(key=lambda item: str(item.callspec.params.get("engine", "")) if hasattr(item, "callspec") else "")


def is_slow(item: pytest.Item) -> bool:
    """Whether a mark says so, for the engine that the test runs on."""
    groups = {mark.args[0] for mark in item.iter_markers("xdist_group")}
    return any(not mark.args or groups & set(mark.args) for mark in item.iter_markers("slow"))


@pytest.fixture(scope="session", autouse=True)
def _fast_spark(request: pytest.FixtureRequest) -> None:
    """Let Spark start fast, if there are tests on it."""
    if any(mark.args[0] == "spark" for item in request.session.items for mark in item.iter_markers("xdist_group")):
        keep_classes()


@pytest.fixture(scope="session")
def test_data() -> Path:
    """The folder of real data; tests that need it are skipped where it is absent."""
    default = Path(__file__).parent.parent.parent / "shared" / "data"
    folder = Path(os.environ.get("NODEWISE_TEST_DATA", default))
    if not folder.is_dir():
        pytest.skip(f"no test data at {folder}; NODEWISE_TEST_DATA names its folder")
    return folder


@pytest.fixture(scope="session")
def digits_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The built-in digits as image files: ``<digit>/<number>.png``, 8 x 8 pixels, grey."""
    return fetch("digits", tmp_path_factory.mktemp("datasets"))


@pytest.fixture(scope="session")
def small_shards(digits_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Prepared shards of 198 digits at 32 x 32 pixels: 158 to train on and 40 held out, 50 to a shard.

    Tests must not write into it.
    """
    folder = tmp_path_factory.mktemp("small")
    nodewise.prepare(
        digits_folder, folder / "shards", size=32, sample=0.11, shard_records=50, workspace=folder / "workspace"
    )
    return folder / "shards"


@pytest.fixture(scope="session")
def engine(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine | None]:
    """A started engine on the cluster that the parameter says; only one is up at a time.

    Without a parameter (``on_no_cluster``) none is up: for tests that start their own.
    """
    if request.param is None:
        yield None
        return
    tasks.carry_by_value()
    with open_engine(request.param, tmp_path_factory.mktemp("clusters")) as started:
        yield started


@pytest.fixture
def repetitions() -> int:
    """How often a test that kills a worker does it."""
    return 50 if os.environ.get("NODEWISE_TEST_ALL") == "1" else 3
