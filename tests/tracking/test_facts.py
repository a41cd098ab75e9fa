"""What MLflow is told of a run."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal

import pytest

from nodewise.specs.cluster import ClusterSpec
from nodewise.specs.run import RunRecord, RunStatus, StageRecord
from nodewise.tracking.facts import experiment_of, fingerprint_of, metrics_of, parameters_of, tags_of

AT = datetime(2026, 11, 21, 10, tzinfo=UTC)
RUN = RunRecord(
    run_id="20261121-100000-abcd",
    command="train",
    status=RunStatus.FINISHED,
    created_at=AT,
    ended_at=AT.replace(minute=1),
    cluster=ClusterSpec(engine="ray", nodes=2, cores_per_node=4),
)


def test_runs_of_a_comparison_are_filed_under_its_name_all_others_under_their_command() -> None:
    assert experiment_of(RUN) == "train"
    assert experiment_of(replace(RUN, command="compare", experiment="five-nodes-20261121-100000")) == "five-nodes"


def test_parameters_say_where_and_with_which_settings() -> None:
    run = replace(
        RUN,
        cluster_name="team-a",
        provenance={"jobs": {"train": {"epochs": 3, "learning_rate": None}, "prepare": {"size": 32}}},
    )
    assert parameters_of(run) == {
        "engine": "ray",
        "nodes": "2",
        "cores_per_node": "4",
        "cluster": "team-a",
        "train/epochs": "3",
        "train/learning_rate": "None",
        "prepare/size": "32",
    }


def test_what_a_job_found_out_stands_in_place_of_what_was_left_open() -> None:
    jobs = {"score": {"batch_size": None, "split": "test"}, "train": {"strategy": None, "epochs": 2}}
    results = {"score": {"batch_size": 128, "split": "all"}, "train": {"epochs": [{}, {}]}}
    found = parameters_of(replace(RUN, provenance={"jobs": jobs}, result=results))
    assert (found["score/batch_size"], found["score/split"]) == ("128", "all")
    assert (found["train/strategy"], found["train/epochs"]) == ("None", "2")


def test_epochs_are_steps_at_the_time_when_they_ended() -> None:
    epochs = [
        {"epoch": 1, "loss": 2.0, "train_accuracy": 0.25, "test_accuracy": None, "seconds": 3.0},
        {"epoch": 2, "loss": None, "train_accuracy": 0.5, "test_accuracy": None, "seconds": 4.0},
    ]
    stage = StageRecord(name="train", wall_s=8.0, records=400, started_at=AT.timestamp() + 10)
    run = replace(
        RUN, result={"train": {"epochs": epochs}}, stages=(stage,), accuracy=0.5, cost_usd=Decimal("0.25"), cluster_s=20
    )
    # Of the second epoch the loss was no number, which is null in a result.
    assert [(metric.name, metric.value, metric.at, metric.step) for metric in metrics_of(run)] == [
        ("loss", 2.0, AT.replace(second=13), 1),
        ("train_accuracy", 0.25, AT.replace(second=13), 1),
        ("epoch_s", 3.0, AT.replace(second=13), 1),
        ("train_accuracy", 0.5, AT.replace(second=17), 2),
        ("epoch_s", 4.0, AT.replace(second=17), 2),
        ("accuracy", 0.5, run.ended_at, 0),
        ("time/cluster_s", 20, run.ended_at, 0),
        ("cost/usd", 0.25, run.ended_at, 0),
        ("time/train_s", 8.0, run.ended_at, 0),
        ("records_per_s/train", 50.0, run.ended_at, 0),
    ]


def test_numbers_that_are_none_are_left_out() -> None:
    assert metrics_of(replace(RUN, accuracy=float("nan"), start_up_s=float("inf"))) == []


def test_tags_say_whose_run_it_is_and_why_it_failed() -> None:
    run = replace(
        RUN,
        status=RunStatus.FAILED,
        tags={"team": "vision"},
        error={"code": "worker_lost", "message": "worker 1 died", "hint": None},
        provenance={"command": ["nodewise", "train", "my shards"]},
    )
    assert tags_of(run) == {
        "team": "vision",
        "nodewise.run_id": "20261121-100000-abcd",
        "nodewise.command": "train",
        "nodewise.engine": "ray",
        "nodewise.error.code": "worker_lost",
        "nodewise.error.message": "worker 1 died",
        "mlflow.source.name": "nodewise train 'my shards'",
    }


def test_the_fingerprint_is_that_of_the_training_data_first() -> None:
    jobs = {"prepare": {"data_fingerprint": "a"}, "train": {"data_fingerprint": "b"}}
    assert fingerprint_of(replace(RUN, provenance={"jobs": jobs})) == "b"
    assert fingerprint_of(replace(RUN, provenance={"jobs": {"prepare": {"data_fingerprint": "a"}}})) == "a"
    assert fingerprint_of(RUN) == ""


def test_no_secret_reaches_mlflow(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STORAGE_KEY_SECRET", "planted-value-77")
    token = "ghp_" + "a1" * 15
    run = replace(
        RUN,
        tags={"api_key": "short", "note": f"see {token}", "planted-value-77": "x"},
        error={"code": "internal", "message": "Bearer abcdefgh12345678 with planted-value-77", "hint": None},
        provenance={"jobs": {"train": {"data": "https://user:planted-value-77@host/data", "password": "x"}}},
    )
    told = repr((parameters_of(run), tags_of(run)))
    assert "planted" not in told
    assert token not in told
    assert "abcdefgh12345678" not in told
    assert (tags_of(run)["api_key"], parameters_of(run)["train/password"]) == ("***", "***")


def test_names_that_mlflow_would_refuse_and_long_values_are_made_to_fit() -> None:
    run = replace(RUN, tags={"cost center!": "a", "größe": "b"}, provenance={"jobs": {"run": {"command": "x" * 9000}}})
    assert {"cost center_", "größe"} < tags_of(run).keys()
    assert len(parameters_of(run)["run/command"]) == 500
