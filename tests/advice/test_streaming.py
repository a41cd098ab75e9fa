"""Queues of streams: against values by hand, a simulation, and what must hold of any queue."""

from __future__ import annotations

import heapq
import math

import numpy as np
import pytest
from tests.advice.made import configurations

from nodewise.advice.space import search_space
from nodewise.advice.streaming import StreamQueues, erlang_c, late_share
from nodewise.core.errors import InputError
from nodewise.specs.advice_request import StreamSpec, format_latency, format_per_s

SPACE = search_space(configurations())


@pytest.mark.parametrize(
    ("servers", "load", "waits"),
    # One server: rho. Two with one erlang: (1/2)(2) / (1 + 1 + 1) = 1/3. Three with two: (8/6)(3) / (1 + 2 + 2 + 4).
    # Ten with six: 0.1013, the 0.10 that textbooks read off the curve.
    [(1, 0.7, 0.7), (2, 1.0, 1 / 3), (3, 2.0, 4 / 9), (3, 1.0, 1 / 11), (10, 6.0, 0.1013)],
)
def test_who_has_to_wait_is_as_erlang_has_it(servers: int, load: float, waits: float) -> None:
    assert float(erlang_c(servers, load)) == pytest.approx(waits, abs=5e-5)


def test_many_servers_are_computed_without_overflow() -> None:
    found = erlang_c([1e4, 1e5, 1e5], [9.9e3, 9.9e4, 1.0])
    assert np.isfinite(found).all()
    assert 0 < found[1] < found[0] < 1
    assert found[2] == 0


def test_who_is_late_is_known_by_hand() -> None:
    # One server at rate 1 of 2: e^-(2 - 1)t. Two servers at one erlang, mu = 1: e^-t (1 + t/3), since a/c leaves g = 1.
    # Three at one erlang, mu = 1: g = 2.
    assert float(late_share(1, 0.5, 1.0, 3.0)) == pytest.approx(math.exp(-3))
    assert float(late_share(2, 0.5, 1.0, 1.5)) == pytest.approx(math.exp(-1.5) * 1.5)
    by_hand = math.exp(-2) + (math.exp(-2) - math.exp(-4)) / 11
    assert float(late_share(3, 1 / 3, 1.0, 2.0)) == pytest.approx(by_hand)


@pytest.mark.parametrize(("servers", "utilisation"), [(1, 0.8), (4, 0.9), (12, 0.6)])
def test_a_simulated_queue_is_late_as_often(servers: int, utilisation: float) -> None:
    draw = np.random.default_rng(7)
    rate, count = 5.0, 120_000
    arrivals = np.cumsum(draw.exponential(1 / rate, count))
    services = draw.exponential(servers * utilisation / rate, count)
    free_at, taken = [0.0] * servers, np.empty(count)
    for number, (arrived, service) in enumerate(zip(arrivals.tolist(), services.tolist(), strict=True)):
        done = max(arrived, free_at[0]) + service
        heapq.heapreplace(free_at, done)
        taken[number] = done - arrived
    for limit_s in np.quantile(taken, [0.5, 0.95]):
        simulated = (taken > limit_s).mean()
        assert float(late_share(servers, utilisation, rate, limit_s)) == pytest.approx(simulated, rel=0.15, abs=0.004)


def test_the_longest_run_is_the_one_that_just_keeps_the_limit() -> None:
    # 2 x a1.large are four vCPUs. One queue of four at rate 100, 95 % within 50 ms.
    stream = StreamSpec(rate_per_s=100, p95_s=0.05, records_per_run=10_000)
    longest_s = StreamQueues(SPACE, stream).longest_run_s
    utilisation = 100 * longest_s[0] / 10_000
    assert 0 < utilisation < 1
    assert float(late_share(4, utilisation, 100, 0.05)) == pytest.approx(0.05)
    # 100 s are the 10,000 records at the rate of the stream: no cluster may take longer.
    assert (longest_s < 100).all()


def test_what_is_told_of_a_configuration_fits_together() -> None:
    stream = StreamSpec(rate_per_s=100, p95_s=0.2, records_per_run=10_000)
    run_s = np.full(len(SPACE), 60.0)
    run_s[1] = 150.0
    found = StreamQueues(SPACE, stream).figures(run_s)
    assert found[0].records_per_s == pytest.approx(10_000 / 60)
    assert found[0].head_room == pytest.approx(0.4)
    assert found[0].p95_s is not None
    assert float(late_share(4, 0.6, 100, found[0].p95_s)) == pytest.approx(0.05)
    # At the most that it can bear, 95 % are done within just the limit.
    bears = found[0].most_per_s
    assert 100 < bears < 10_000 / 60
    assert float(late_share(4, bears * 60 / 10_000, bears, 0.2)) == pytest.approx(0.05)
    assert (found[1].head_room, found[1].p95_s) == (pytest.approx(-0.5), None)


def test_a_tighter_limit_and_a_faster_stream_leave_less_time() -> None:
    def longest_s(rate_per_s: float, p95_s: float) -> np.ndarray:
        return StreamQueues(SPACE, StreamSpec(rate_per_s=rate_per_s, p95_s=p95_s, records_per_run=1000)).longest_run_s

    assert (longest_s(100, 0.05) < longest_s(100, 0.5)).all()
    assert (longest_s(200, 0.5) < longest_s(100, 0.5)).all()


def test_without_the_records_of_a_run_there_is_no_speed() -> None:
    with pytest.raises(InputError, match="how many records a run of this job handles is not known"):
        StreamQueues(SPACE, StreamSpec(rate_per_s=100, p95_s=1))


@pytest.mark.parametrize(("rate", "text"), [(0.0421, "0.0421/s"), (12.34, "12.3/s"), (12345.6, "12,346/s")])
def test_rates_are_written_as_people_read_them(rate: float, text: str) -> None:
    assert format_per_s(rate) == text


@pytest.mark.parametrize(("seconds", "text"), [(0.00251, "2.51 ms"), (0.9, "900 ms"), (1.0, "1.0 s"), (150, "2m 30s")])
def test_latencies_are_written_as_people_read_them(seconds: float, text: str) -> None:
    assert format_latency(seconds) == text
