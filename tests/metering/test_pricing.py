from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from nodewise.core.errors import SpecError, UnknownNameError
from nodewise.metering.pricing import Pricing, price_parts
from nodewise.specs.scenario import DatabricksFee

DS3 = "Standard_DS3_v2"


def charges(node_type: str | None, **pricing: Any) -> list[tuple[str, Decimal | None]]:
    return [(part.charge, part.per_hour) for part in price_parts(node_type, Pricing(**pricing))]


def test_a_machine_costs_its_list_price_unless_spot_is_asked_for() -> None:
    assert charges(DS3) == [("compute", Decimal("0.293"))]
    assert charges(DS3, market="spot") == [("compute", Decimal("0.03223"))]
    assert price_parts(DS3) == price_parts(DS3, Pricing())


def test_a_platform_adds_its_fee() -> None:
    # 0.75 DBU x $0.55; 4 vCPUs x $0.01.
    assert charges(DS3, platform=DatabricksFee(compute="all-purpose"))[1] == ("platform", Decimal("0.4125"))
    assert charges("n2-standard-4", platform="dataproc")[1] == ("platform", Decimal("0.04"))


def test_every_price_says_where_and_when_it_was_read() -> None:
    (listed,) = price_parts(DS3)
    (spot,) = price_parts(DS3, Pricing(market="spot"))
    fee = price_parts("n2-standard-4", Pricing(platform="dataproc"))[1]

    assert listed.note.startswith("Standard_DS3_v2: $0.293/h in azure eastus, list (Azure/karpenter")
    assert (listed.date, listed.currency) == ("2026-06-18", "USD")
    assert spot.note.startswith("Standard_DS3_v2: $0.03223/h in azure eastus, spot (skypilot-org/skypilot-catalog")
    assert spot.note.endswith("no date given)")
    assert fee.note.startswith("Dataproc: $0.01 per vCPU-hour x 4 (cloud.google.com/dataproc/pricing")


def test_what_nobody_knows_is_none_and_says_why() -> None:
    (spot,) = price_parts("Standard_D4s_v3", Pricing(market="spot"))
    compute, fee = price_parts("Standard_D4s_v3", Pricing(platform=DatabricksFee()))

    assert (spot.per_hour, spot.note) == (
        None,
        "Standard_D4s_v3: no public source gives its spot price in azure eastus",
    )
    assert (compute.per_hour, fee.per_hour) == (Decimal("0.192"), None)
    assert fee.note == "no Databricks unit rate is known for node type 'Standard_D4s_v3'"
    assert charges(None) == [("compute", None)]
    assert charges(None, platform="dataproc") == [("compute", None), ("platform", None)]


def test_what_cannot_be_is_refused() -> None:
    with pytest.raises(UnknownNameError):
        price_parts("DS3")
    with pytest.raises(SpecError, match="Dataproc does not run on Standard_DS3_v2, which is of azure"):
        price_parts(DS3, Pricing(platform="dataproc"))
