"""Numbers with units, read and written."""

import pytest

from nodewise.core.units import format_rate, parse_duration, parse_rate


@pytest.mark.parametrize(
    ("text", "bits_per_s"),
    [("100Mbit/s", 100_000_000), ("1 Gbit/s", 10**9), ("12.5MB/s", 100_000_000), ("8bit/s", 8), ("1KiB/s", 8192)],
)
def test_a_rate_is_read(text: str, bits_per_s: int) -> None:
    assert parse_rate(text) == bits_per_s


@pytest.mark.parametrize("text", ["", "100", "100Mbit", "100mbit/s", "-1Mbit/s", "fast", "1e3bit/s"])
def test_what_is_no_rate_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(ValueError, match="is no rate; write 100Mbit/s"):
        parse_rate(text)


@pytest.mark.parametrize(
    ("bits_per_s", "text"), [(0, "0 bit/s"), (999, "999 bit/s"), (100_000_000, "100 Mbit/s"), (1.5e9, "1.5 Gbit/s")]
)
def test_a_rate_is_written(bits_per_s: float, text: str) -> None:
    assert format_rate(bits_per_s) == text


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("5ms", 0.005), ("90s", 90.0), ("1h30m", 5400.0), ("1.5 h", 5400.0), ("1h 2m 3s", 3723.0), ("250us", 0.00025)],
)
def test_a_duration_is_read(text: str, seconds: float) -> None:
    assert parse_duration(text) == seconds


@pytest.mark.parametrize("text", ["", "5", "30m1h", "-5ms", "5 parsecs", "1h1h"])
def test_what_is_no_duration_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(ValueError, match="is no duration; write 5ms, 90s or 1h30m"):
        parse_duration(text)
