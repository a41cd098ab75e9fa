"""Models under names, in MLflow's real registry."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from nodewise.core.errors import InputError, UnknownNameError
from nodewise.tracking import registry
from nodewise.tracking.facts import fingerprint_of
from nodewise.tracking.record import find_run, record_run
from nodewise.tracking.store import Store, open_store
from nodewise.workspace import Workspace

from .conftest import MakeRun, Notes


@pytest.fixture
def opened(workspace: Workspace) -> Iterator[Store]:
    with open_store(workspace) as found:
        yield found


def test_a_registered_model_tells_its_lineage(
    workspace: Workspace, make_run: MakeRun, opened: Store, notes: Notes
) -> None:
    run = make_run()
    record_run(workspace, run, notes)
    version = registry.register_model(
        opened, workspace, run, "flowers", alias="champion", description="The first, password=planted77"
    )

    assert (version.name, version.version, version.uri) == ("flowers", 1, "models:/flowers/1")
    assert version.run_id == run.run_id
    assert version.mlflow_run_id == find_run(opened, run)
    assert (version.accuracy, version.data_fingerprint) == (0.75, fingerprint_of(run))
    assert version.aliases == ("champion",)
    assert version.description == "The first, password=***"
    (model,) = registry.list_models(opened)
    assert (model.name, model.versions, model.aliases) == ("flowers", (version,), {"champion": 1})


def test_a_run_that_was_not_mirrored_is_when_its_model_gets_a_name(
    workspace: Workspace, make_run: MakeRun, opened: Store
) -> None:
    run = make_run()
    assert find_run(opened, run) is None
    version = registry.register_model(opened, workspace, run, "flowers")
    assert version.mlflow_run_id == find_run(opened, run)


def test_versions_count_up_and_no_number_is_given_twice(workspace: Workspace, make_run: MakeRun, opened: Store) -> None:
    run = make_run()
    for _ in range(3):
        registry.register_model(opened, workspace, run, "flowers")
    registry.delete_model(opened, "flowers", reference="3")
    assert registry.register_model(opened, workspace, run, "flowers").version == 4
    assert [version.version for version in registry.get_model(opened, "flowers").versions] == [4, 2, 1]


def test_an_alias_stands_for_one_version_at_a_time(workspace: Workspace, make_run: MakeRun, opened: Store) -> None:
    run = make_run()
    registry.register_model(opened, workspace, run, "flowers", alias="champion")
    second = registry.register_model(opened, workspace, run, "flowers", alias="champion")
    assert registry.get_version(opened, "flowers", "champion") == second
    assert registry.set_alias(opened, "flowers", "champion", "1").aliases == {"champion": 1}
    assert registry.set_alias(opened, "flowers", "best", "champion").aliases == {"best": 1, "champion": 1}
    assert registry.remove_alias(opened, "flowers", "champion").aliases == {"best": 1}
    with pytest.raises(UnknownNameError, match="unknown alias 'champion' in model flowers; expected one of 'best'"):
        registry.remove_alias(opened, "flowers", "champion")


def test_models_and_versions_have_descriptions(workspace: Workspace, make_run: MakeRun, opened: Store) -> None:
    registry.register_model(opened, workspace, make_run(), "flowers")
    registry.describe_model(opened, "flowers", "Five kinds")
    model = registry.describe_model(opened, "flowers", "Trained at night", reference="1")
    assert (model.description, model.versions[0].description) == ("Five kinds", "Trained at night")


def test_a_deleted_name_is_gone_and_the_run_keeps_its_model(
    workspace: Workspace, make_run: MakeRun, opened: Store
) -> None:
    run = make_run()
    source = registry.register_model(opened, workspace, run, "flowers").source
    registry.delete_model(opened, "flowers")
    assert registry.list_models(opened) == []
    assert (Path(source.removeprefix("file://")) / "data" / "model.safetensors").is_file()
    assert registry.register_model(opened, workspace, run, "flowers").version == 1


def test_errors_say_what_there_is(workspace: Workspace, make_run: MakeRun, opened: Store) -> None:
    registry.register_model(opened, workspace, make_run(), "flowers", alias="champion")
    with pytest.raises(UnknownNameError, match="unknown model 'flower'; expected one of 'flowers'"):
        registry.get_model(opened, "flower")
    for asked in ("2", "best"):
        with pytest.raises(UnknownNameError, match="expected one of '1', 'champion'"):
            registry.get_version(opened, "flowers", asked)


@pytest.mark.parametrize("name", ["../../x", "a/b", "a:b", "a@b", "", ".hidden", "-x", "a\nb", "x" * 101, "a b"])
def test_names_that_could_be_mistaken_are_refused(name: str) -> None:
    with pytest.raises(InputError, match="is no name for a model"):
        registry.check_name(name)


@pytest.mark.parametrize("alias", ["3", "v3", "latest", "Latest", "../x", "a.b", "", "a b", "-x"])
def test_aliases_that_mean_a_version_are_refused(alias: str) -> None:
    with pytest.raises(InputError, match="is no alias for a version"):
        registry.check_alias(alias)


def test_a_refused_name_leaves_nothing(workspace: Workspace, make_run: MakeRun, opened: Store) -> None:
    run = make_run()
    for name, alias in (("../../x", None), ("flowers", "v3")):
        with pytest.raises(InputError):
            registry.register_model(opened, workspace, run, name, alias=alias)
    assert registry.list_models(opened) == []
    assert find_run(opened, run) is None


def test_only_a_run_that_trained_has_a_model_to_name(
    workspace: Workspace, make_run: MakeRun, opened: Store, model_path: Path
) -> None:
    with pytest.raises(InputError, match="has trained no model"):
        registry.register_model(opened, workspace, make_run(command="prepare", result={}), "flowers")
    run = make_run()
    model_path.unlink()
    with pytest.raises(InputError, match="is gone"):
        registry.register_model(opened, workspace, run, "flowers")
    assert registry.list_models(opened) == []
