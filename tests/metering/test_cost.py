from __future__ import annotations

from decimal import Decimal

import pytest

from nodewise.core.errors import SpecError, UnknownNameError
from nodewise.metering.cost import cost_usd, price_cluster
from nodewise.metering.pricing import Pricing
from nodewise.specs.cluster import ClusterSpec
from nodewise.specs.scenario import DatabricksFee


def cluster(node_type: str | None) -> ClusterSpec:
    return ClusterSpec(engine="spark", nodes=5, node_type=node_type)


def test_price_of_a_node_is_its_list_price() -> None:
    price = price_cluster(cluster("Standard_DS3_v2"))

    assert price is not None
    assert price.usd_per_node_hour == Decimal("0.293")
    assert price.note.startswith("Standard_DS3_v2: $0.293/h in azure eastus, list (")
    assert price.note.endswith("2026-06-18)")


def test_databricks_fee_is_added_to_every_node() -> None:
    price = price_cluster(cluster("Standard_DS3_v2"), Pricing(platform=DatabricksFee()))

    assert price is not None
    assert price.usd_per_node_hour == Decimal("0.518")  # 0.293 + 0.75 x 0.30
    assert "2026-06-18) + databricks premium jobs compute: 0.75 DBU/h" in price.note


def test_without_a_node_type_the_price_is_unknown_and_not_zero() -> None:
    assert price_cluster(cluster(None)) is None
    assert price_cluster(cluster(None), Pricing(platform=DatabricksFee())) is None


def test_what_cannot_be_priced_is_refused() -> None:
    with pytest.raises(UnknownNameError, match="unknown node type 'DS3'"):
        price_cluster(cluster("DS3"))
    with pytest.raises(SpecError, match="no Databricks unit rate"):
        price_cluster(cluster("n2-standard-4"), Pricing(platform=DatabricksFee()))


@pytest.mark.parametrize(
    ("price", "nodes", "billed_s", "cost"),
    [
        ("0.293", 1, 3600, "0.293000"),
        ("0.518", 5, 600, "0.431667"),  # 0.4316666...
        ("0.293", 1, 0, "0.000000"),
        ("0.0036", 1, 0.5, "0.000000"),  # 0.0000005: a tie goes to the even neighbour
        ("0.0036", 1, 1.5, "0.000002"),  # 0.0000015
        ("1", 1, 0.1 + 0.2, "0.000083"),  # the float's tail does not reach the money
    ],
)
def test_cost_is_nodes_times_price_times_billed_time(price: str, nodes: int, billed_s: float, cost: str) -> None:
    assert str(cost_usd(Decimal(price), nodes * billed_s)) == cost
