from __future__ import annotations

from dataclasses import replace
from decimal import Decimal

import pytest

from nodewise.metering.prices import packaged_node_types
from nodewise.metering.sanity import implausible
from nodewise.specs.cluster import NodeType


def machine(name: str, usd: str | None, vcpus: float = 4, gpus: int = 0, spot: str | None = None) -> NodeType:
    return NodeType(
        name=name,
        cloud="azure",
        region="eastus",
        vcpus=vcpus,
        memory_gib=16,
        accelerator="T4" if gpus else None,
        accelerator_count=gpus,
        price_usd_per_hour=None if usd is None else Decimal(usd),
        price_usd_per_hour_spot=None if spot is None else Decimal(spot),
    )


# Medians: 0.05 per vCPU, 0.5 per T4.
KNOWN = [
    machine("Standard_D2", "0.08", 2),
    machine("Standard_D4", "0.20"),
    machine("Standard_D8", "0.80", 8),
    machine("Standard_NC4", "0.5", gpus=1),
]


@pytest.mark.parametrize(("usd", "is_plausible"), [("0.04", True), ("0.0399", False), ("1.00", True), ("1.01", False)])
def test_a_price_lies_within_a_fifth_and_five_times_the_familys_median(usd: str, is_plausible: bool) -> None:
    assert (implausible([machine("Standard_D4", usd)], KNOWN) == {}) is is_plausible


def test_machines_with_accelerators_are_compared_per_accelerator() -> None:
    assert implausible([machine("Standard_NC64", "8", vcpus=64, gpus=4)], KNOWN) == {}
    # Twelve where there are eight would not be found so, but a price for one in place of four is.
    assert list(implausible([machine("Standard_NC64", "0.39", vcpus=64, gpus=4)], KNOWN)) == ["Standard_NC64"]


def test_spot_is_never_dearer_than_list_or_for_nothing() -> None:
    for spot, is_plausible in (("0.2", True), ("0.21", False), ("0", False)):
        assert (implausible([machine("Standard_D4", "0.2", spot=spot)], KNOWN) == {}) is is_plausible
    assert implausible([machine("Standard_D4", None, spot="0.2")], KNOWN) == {}


def test_a_family_that_nobody_knows_is_let_through() -> None:
    assert implausible([machine("Standard_Q4", "99")], KNOWN) == {}


def test_the_packaged_table_is_plausible() -> None:
    rows = packaged_node_types()

    assert implausible(rows, rows) == {}


@pytest.mark.parametrize("factor", ["0.1", "10"])
def test_a_price_off_by_a_digit_is_found_in_the_packaged_table(factor: str) -> None:
    rows = packaged_node_types()
    priced = [row for row in rows if row.price_usd_per_hour is not None]
    found = {
        row.name
        for row in priced
        if implausible([replace(row, price_usd_per_hour=(row.price_usd_per_hour or 0) * Decimal(factor))], rows)
    }

    # A slip of one digit lands outside the bounds unless the machine was at the other edge of its family.
    assert len(found) / len(priced) > 0.85
