"""The four laws: fitted, judged by counts left out, and chosen."""

from __future__ import annotations

import numpy as np
import pytest

from nodewise.analysis.regression import Array
from nodewise.analysis.scaling.laws import fit_laws, law_parts, law_seconds
from nodewise.specs.forecast import LawFit

COUNTS = np.array([1.0, 2.0, 4.0, 8.0, 16.0])


def fitted(nodes: Array, wall_s: Array, data: Array | None = None) -> dict[str, LawFit]:
    return {fit.name: fit for fit in fit_laws(nodes, np.ones_like(nodes) if data is None else data, wall_s)}


def chosen(nodes: Array, wall_s: Array, data: Array | None = None) -> str:
    return next(iter(fitted(nodes, wall_s, data)))


def test_amdahls_law_is_found_again() -> None:
    # 20 + 80 / n
    laws = fitted(COUNTS, 20 + 80 / COUNTS)
    law = laws["amdahl"]
    assert next(iter(laws)) == "amdahl"
    assert law.coefficients == pytest.approx({"serial": 20.0, "parallel": 80.0})
    assert law.error == pytest.approx(0.0, abs=1e-9)
    assert law_seconds(law, np.array([32.0]), np.ones(1)).tolist() == pytest.approx([22.5])


def test_the_universal_scalability_law_is_found_again() -> None:
    # 100 / n (1 + 0.05 (n - 1) + 0.01 n (n - 1)): contention 0.05 * 100 s, coherency 0.01 * 100 s.
    wall_s = 100 / COUNTS * (1 + 0.05 * (COUNTS - 1) + 0.01 * COUNTS * (COUNTS - 1))
    laws = fitted(COUNTS, wall_s)
    assert next(iter(laws)) == "usl"
    assert laws["usl"].coefficients == pytest.approx({"one_node": 100.0, "contention": 5.0, "coherency": 1.0})


def test_ernests_law_is_found_again_and_tells_data_from_nodes() -> None:
    nodes, data = np.tile(COUNTS, 2), np.repeat([1.0, 2.0], 5)
    wall_s = 10 + 90 * data / nodes + 3 * np.log(nodes) + 0.5 * nodes
    laws = fitted(nodes, wall_s, data)
    assert next(iter(laws)) == "ernest"
    assert set(laws) == {"ernest", "gustafson"}
    expected = {"serial": 10.0, "parallel": 90.0, "tree": 3.0, "per_node": 0.5}
    assert laws["ernest"].coefficients == pytest.approx(expected)


def test_with_several_amounts_of_data_gustafsons_law_stands_for_amdahls() -> None:
    nodes, data = np.tile(COUNTS, 2), np.repeat([1.0, 3.0], 5)
    assert chosen(nodes, 20 + 80 * data / nodes, data) == "gustafson"
    assert "gustafson" not in fitted(COUNTS, 20 + 80 / COUNTS)


def test_within_noise_the_law_with_fewest_coefficients_is_chosen() -> None:
    random = np.random.default_rng(11)
    nodes = np.repeat(COUNTS, 3)
    noises = [np.exp(0.08 * random.standard_normal(len(nodes))) for _ in range(20)]
    names = [chosen(nodes, (20 + 80 / nodes) * noise) for noise in noises]
    assert names.count("amdahl") >= 17


def test_no_coefficient_is_negative() -> None:
    # Faster than in proportion: a serial part would have to be below nothing.
    law = fitted(COUNTS, 100 / COUNTS**1.3)["amdahl"]
    assert law.coefficients["serial"] == 0
    assert law.standard_errors["serial"] is None


@pytest.mark.parametrize(("nodes", "names"), [([4.0], set()), ([4.0, 4.0, 4.0], set()), ([1.0, 2.0], {"amdahl"})])
def test_few_runs_carry_few_laws(nodes: list[float], names: set[str]) -> None:
    laws = fitted(np.array(nodes), 100 / np.array(nodes))
    assert set(laws) == names
    assert all(law.error is None for law in laws.values())


def test_three_counts_judge_amdahls_law() -> None:
    # Without 1 node the line through (1/2, 60) and (1/4, 40) gives 100 at 1: 0 % off. All three are on one line.
    law = fitted(COUNTS[:3], 20 + 80 / COUNTS[:3])["amdahl"]
    assert law.error == pytest.approx(0.0, abs=1e-9)


def test_units_and_order_do_not_matter() -> None:
    wall_s = np.array([101.0, 62.0, 39.0, 31.0, 24.0])
    seconds, minutes = fitted(COUNTS, wall_s), fitted(COUNTS[::-1], wall_s[::-1] / 60)
    assert list(seconds) == list(minutes)
    for name, law in seconds.items():
        in_minutes = {term: 60 * value for term, value in minutes[name].coefficients.items()}
        assert law.coefficients == pytest.approx(in_minutes, rel=1e-6, abs=1e-6)
        assert law.error == pytest.approx(minutes[name].error, rel=1e-6)


def test_the_parts_of_a_time_add_up_to_it_the_largest_first() -> None:
    law = fitted(COUNTS, 20 + 80 / COUNTS)["amdahl"]
    parts = law_parts(law, 16, 1.0)
    assert [part.seconds for part in parts] == pytest.approx([20.0, 5.0])
    assert parts[0].what == "serial work"
