"""Settings out of range: one line, the same for options, files and Python."""

import pytest

from nodewise.core.errors import SpecError
from nodewise.specs.checks import (
    check_compare,
    check_prepare,
    check_score,
    check_speedtest,
    check_train,
)
from nodewise.specs.cluster_checks import check_scenario
from nodewise.specs.job import PrepareSpec, ScoreSpec, SpeedtestSpec, TrainSpec
from nodewise.specs.limits import Quota
from nodewise.specs.place import NodeLimits
from nodewise.specs.scenario import CompareSpec, DatasetSpec, Scenario


def test_options_get_the_same_message_as_a_file() -> None:
    with pytest.raises(SpecError, match=r"^size must be at least 8, not 4$"):
        check_prepare(PrepareSpec(size=4))
    with pytest.raises(SpecError, match=r"^quality must be from 1 to 100, not 101$"):
        check_prepare(PrepareSpec(quality=101))
    with pytest.raises(SpecError, match=r"^model must be 'cnn', 'resnet' or 'package.module:function', not 'vgg'$"):
        check_train(TrainSpec(model="vgg"))
    with pytest.raises(SpecError, match=r"^learning_rate must be a number above 0, not inf$"):
        check_train(TrainSpec(learning_rate=float("inf")))
    with pytest.raises(SpecError, match=r"^batch_size must be at least 1, not 0$"):
        check_score(ScoreSpec(batch_size=0))
    with pytest.raises(SpecError, match=r"^port is for a cluster that nodewise starts"):
        check_scenario(Scenario(name="a", engine="ray", address="auto", port=1))
    with pytest.raises(SpecError, match=r"^node_type 'x' is unknown$"):
        check_scenario(Scenario(name="a", engine="ray", node_type="x"), node_type_names=["m4.large"])


def test_a_spec_made_in_python_is_checked_like_a_file() -> None:
    scenarios = (Scenario(name="a", engine="ray"), Scenario(name="b", engine="ray", nodes=0))
    with pytest.raises(SpecError, match=r"^scenarios\[1\]\.nodes must be at least 1, not 0$"):
        check_compare(CompareSpec(name="n", dataset=DatasetSpec(source="d"), scenarios=scenarios))


def test_settings_in_range_pass() -> None:
    check_prepare(PrepareSpec(size=8, sample=1.0, test_fraction=0.0, quality=100))
    check_train(TrainSpec(model="package.module:function", epochs=1, batch_size=1))
    check_score(ScoreSpec())
    check_scenario(Scenario(name="a", engine="spark", port=65535, node_type="m4.large"), node_type_names=["m4.large"])
    check_speedtest(SpeedtestSpec(batch_sizes=(1,), batch_counts=(1,), repeat=1))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"sample": 0.0}, r"^sample must be above 0 and at most 1, not 0$"),
        ({"sample": float("nan")}, r"^sample must be above 0 and at most 1, not nan$"),
        ({"test_fraction": 1.0}, r"^test_fraction must be at least 0 and below 1, not 1$"),
        ({"max_bad": 1.5}, r"^max_bad must be at least 0 and at most 1, not 1\.5$"),
        ({"max_pixels": 0}, r"^max_pixels must be at least 1, not 0$"),
        ({"shard_bytes": 0}, r"^shard_bytes must be at least 1, not 0$"),
        ({"fit": "fill"}, r"^fit must be one of 'cover', 'contain', 'stretch', not 'fill'$"),
        ({"encoding": "gif"}, r"^encoding must be one of 'jpeg', 'png', 'webp', 'raw', not 'gif'$"),
        ({"subsampling": "411"}, r"^subsampling must be one of '444', '422', '420', not '411'$"),
    ],
)
def test_settings_of_prepare_out_of_range_are_refused(settings: dict[str, object], message: str) -> None:
    with pytest.raises(SpecError, match=message):
        check_prepare(PrepareSpec(**settings))  # type: ignore[arg-type]


def test_a_misspelt_choice_is_answered_with_the_nearest() -> None:
    with pytest.raises(SpecError) as caught:
        check_prepare(PrepareSpec(shard_format="tfrecrd"))  # type: ignore[arg-type]
    assert caught.value.hint == "did you mean 'tfrecord'?"


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"batch_sizes": ()}, r"^batch_sizes must be whole numbers of at least 1, not nothing$"),
        ({"batch_counts": (3, 0)}, r"^batch_counts must be whole numbers of at least 1, not 3, 0$"),
        ({"batch_sizes": (2, 4, 2)}, r"^batch_sizes must not name a number twice$"),
        ({"repeat": 0}, r"^repeat must be at least 1, not 0$"),
        ({"size": 7}, r"^size must be at least 8, not 7$"),
    ],
)
def test_settings_of_a_speed_test_out_of_range_are_refused(settings: dict[str, object], message: str) -> None:
    with pytest.raises(SpecError, match=message):
        check_speedtest(SpeedtestSpec(**settings))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"cpus_per_node": 0.001}, r"^cpus_per_node must be at least 0\.01, not 0\.001$"),
        ({"memory_per_node": "1 MiB"}, r"^memory_per_node must be at least 64MiB, not 1 MiB$"),
        ({"network_per_node": "1bit/s"}, r"^network_per_node must be at least 8kbit/s, not 1bit/s$"),
        ({"latency_per_node": "5"}, r"^latency_per_node is wrong: '5' is no duration; write 5ms, 90s or 1h30m$"),
        ({"address": "auto", "cpus_per_node": 1.0}, r"^cpus_per_node is for emulated nodes"),
        ({"quota": Quota(addresses=0)}, r"^quota\.addresses must be at least 1, not 0$"),
        ({"tags": {"api_key": "Zq7Kv2mW9x"}}, r"^tags\.api_key looks like a secret$"),
    ],
)
def test_limits_of_a_scenario_out_of_range_are_refused(settings: dict[str, object], message: str) -> None:
    with pytest.raises(SpecError, match=message) as caught:
        check_scenario(Scenario(name="a", engine="ray", **settings))  # type: ignore[arg-type]
    assert "Zq7Kv2mW9x" not in f"{caught.value.message} {caught.value.hint}"


def test_a_scenario_comes_to_a_cluster_with_its_limits() -> None:
    limited = Scenario(
        name="a", engine="ray", memory_per_node="1GiB", network_per_node="1Gbit/s", latency_per_node="1ms"
    )
    assert limited.cluster(2, 0.5).limits == NodeLimits(
        cpus=0.5, memory_bytes=1 << 30, network_bits_per_s=10**9, network_latency_s=0.001
    )
    assert Scenario(name="a", engine="ray", cpus_per_node=0.25).cluster(1, 0.5).limits == NodeLimits(cpus=0.25)
    assert Scenario(name="a", engine="ray", address="auto").cluster(1, 0.5).limits == NodeLimits()
