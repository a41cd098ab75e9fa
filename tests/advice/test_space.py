"""Spaces of configurations."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
from tests.advice.made import configurations

from nodewise.advice.space import Observation, family_of, search_space
from nodewise.core.errors import InputError


@pytest.mark.parametrize(
    ("name", "family"),
    [
        ("m4.large", "m4"),
        ("c5n.4xlarge", "c5n"),
        ("C.fam1.type2.vcpu0", "C.fam1.type2"),
        ("n2-standard-4", "n2-standard"),
        ("Standard_DS3_v2", "Standard_DS_v2"),
        ("Standard_E16s_v5", "Standard_Es_v5"),
        ("box", "box"),
    ],
)
def test_a_family_is_the_type_without_its_size(name: str, family: str) -> None:
    assert family_of(name) == family


def test_columns_are_those_of_the_configurations() -> None:
    space = search_space(configurations(["m1.large"], [2, 5]))
    assert len(space) == 2
    assert space.nodes.tolist() == [2, 5]
    assert space.node_size.tolist() == [2, 2]
    assert space.memory_gib is not None
    assert space.memory_gib.tolist() == [16, 16]
    assert space.rates == pytest.approx([0.28 / 3600, 0.70 / 3600])
    assert space.cost_usd(Observation(1, 1800)) == pytest.approx(0.35)


def test_where_nobody_says_the_vcpus_prices_stand_for_the_size() -> None:
    given = [replace(one, vcpus=None, memory_gib=None) for one in configurations(["a1.large", "a1.xlarge"], [1])]
    space = search_space(given)
    assert space.node_size == pytest.approx([8 / 3, 16 / 3])
    assert space.memory_gib is None


def test_without_prices_there_is_no_cost() -> None:
    given = [
        replace(one, usd_per_node_hour=price) for one, price in zip(configurations(), [None, *[1.0] * 19], strict=True)
    ]
    with pytest.raises(InputError, match=r"no price is known of a1.large"):
        search_space(given).cost_usd(Observation(0, 1.0))


@pytest.mark.parametrize("count", [0, 2])
def test_a_space_of_nothing_or_with_one_configuration_twice_is_refused(count: int) -> None:
    with pytest.raises(InputError, match=r"no configuration|2 x a1.large stands twice"):
        search_space(configurations(["a1.large"], [2]) * count)


def test_a_failed_run_costs_what_it_took() -> None:
    space = search_space(configurations(["a1.large"], [2]))
    assert math.isclose(space.cost_usd(Observation(0, 3600, is_ok=False)), 0.2)
