from __future__ import annotations

from decimal import Decimal

import pytest

from nodewise.core.errors import SpecError, UnknownNameError
from nodewise.metering.prices import databricks_usd_per_hour, find_node_type, node_type_names, node_types
from nodewise.specs.scenario import DatabricksFee


def test_a_node_type_has_its_list_price_with_source_and_date() -> None:
    node_type = find_node_type("Standard_DS3_v2")

    assert (node_type.cloud, node_type.region) == ("azure", "eastus")
    assert (node_type.vcpus, node_type.memory_gib) == (4, 14)
    assert node_type.price_usd_per_hour == Decimal("0.293")
    assert "karpenter-provider-azure" in node_type.price_source
    assert node_type.price_date == "2026-06-18"


def test_accelerators_are_counted() -> None:
    node_type = find_node_type("Standard_NC64as_T4_v3")

    assert (node_type.accelerator, node_type.accelerator_count) == ("T4", 4)
    assert find_node_type("m4.large").accelerator is None


def test_all_three_clouds_are_there_by_cloud_and_then_price() -> None:
    rows = node_types()

    assert len(rows) == 272
    assert {row.cloud for row in rows} == {"aws", "azure", "gcp"}
    assert [(row.cloud, row.price_usd_per_hour) for row in rows] == sorted(
        (row.cloud, row.price_usd_per_hour) for row in rows
    )
    assert node_type_names() == {row.name for row in rows}


def test_filters_narrow_the_table() -> None:
    rows = node_types(cloud="azure", vcpus=4)

    assert "Standard_DS3_v2" in [row.name for row in rows]
    assert {(row.cloud, row.vcpus) for row in rows} == {("azure", 4)}
    assert node_types(vcpus=5) == []


def test_an_unknown_name_gives_the_nearest() -> None:
    with pytest.raises(UnknownNameError) as caught:
        find_node_type("standard_ds3v2", where="line 7")

    assert caught.value.message == "unknown node type 'standard_ds3v2' in line 7"
    assert "'Standard_DS3_v2'" in (caught.value.hint or "")


def test_an_unknown_cloud_gives_the_known_ones() -> None:
    with pytest.raises(UnknownNameError, match="expected one of 'aws', 'azure', 'gcp'"):
        node_types(cloud="azur")


@pytest.mark.parametrize(
    ("tier", "compute", "usd"),
    [
        ("premium", "jobs", "0.225"),  # 0.75 x 0.30
        ("premium", "all-purpose", "0.4125"),  # 0.75 x 0.55
        ("standard", "jobs", "0.1125"),  # 0.75 x 0.15
        ("standard", "jobs light", "0.0525"),  # 0.75 x 0.07
    ],
)
def test_databricks_units_times_their_price(tier: str, compute: str, usd: str) -> None:
    fee, note = databricks_usd_per_hour("Standard_DS3_v2", DatabricksFee(tier=tier, compute=compute))

    assert fee == Decimal(usd)
    assert f"databricks {tier} {compute} compute" in note
    assert "Azure Retail Prices API" in note
    assert "no date given" in note


def test_databricks_units_are_never_guessed() -> None:
    with pytest.raises(SpecError, match=r"no Databricks unit rate is known for node type 'm4\.large'") as caught:
        databricks_usd_per_hour("m4.large", DatabricksFee())

    assert "Standard_DS3_v2, Standard_DS4_v2, Standard_DS5_v2, Standard_F4" in (caught.value.hint or "")
