"""What the built-in jobs tell of reading, writing and exchanging."""

from pathlib import Path

import nodewise
from nodewise.specs.run import TaskRecord
from nodewise.workspace import Workspace


def tasks_of(workspace: Path, run_id: str) -> list[TaskRecord]:
    tasks = Workspace(workspace).read_tasks(run_id)
    assert tasks
    for task in tasks:
        assert task.read_s + task.write_s + task.communicate_s <= task.wall_s
    return tasks


def test_prepare_tells_how_long_it_read_and_wrote(digits_folder: Path, tmp_path: Path) -> None:
    result = nodewise.prepare(digits_folder, tmp_path / "shards", sample=0.05, workspace=tmp_path / "workspace")
    for task in tasks_of(tmp_path / "workspace", result.run_id):
        assert task.read_s > 0
        assert task.write_s > 0
        assert task.communicate_s == 0


def test_training_and_scoring_tell_how_long_they_read_wrote_and_exchanged(small_shards: Path, tmp_path: Path) -> None:
    workspace = tmp_path / "workspace"
    trained = nodewise.train(small_shards, output=tmp_path / "model", epochs=1, nodes=2, workspace=workspace)
    first, second = sorted(tasks_of(workspace, trained.run_id), key=lambda task: task.task)
    assert first.read_s > 0
    assert second.read_s > 0
    assert first.communicate_s > 0
    assert second.communicate_s > 0
    # The first alone writes the model.
    assert first.write_s > 0
    assert second.write_s == 0
    scored = nodewise.score(small_shards, trained.model_path, output=tmp_path / "predictions", workspace=workspace)
    for task in tasks_of(workspace, scored.run_id):
        assert task.read_s > 0
        assert task.write_s > 0
        assert task.communicate_s == 0
