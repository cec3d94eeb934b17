"""Spans of time as they are typed."""

import pytest

from lowres_ssl.config.overrides import format_budget, parse_duration
from lowres_ssl.errors import ConfigError


@pytest.mark.parametrize(
    ("typed", "seconds"),
    [
        ("90s", 90),
        ("30min", 1800),
        ("2h", 7200),
        ("1h30min", 5400),
        ("1h 30min", 5400),
        ("1.5h", 5400),
        ("1d", 86400),
        ("30MIN", 1800),
    ],
)
def test_time_is_read_as_it_is_said(typed: str, seconds: float) -> None:
    assert parse_duration(typed) == seconds


@pytest.mark.parametrize("typed", ["", "soon", "-30min", "30", "1:30", "30min!", "5parsecs", "min", "1e3s", "0h0min"])
def test_what_is_no_time_is_refused(typed: str) -> None:
    with pytest.raises(ConfigError, match="budget="):
        parse_duration(typed)


@pytest.mark.parametrize(
    "seconds", [0.2, 1, 59.5, 90, 119, 120, 121, 1799, 1800, 1801, 3600, 3601, 5400, 86400, 100000]
)
def test_time_that_is_offered_can_be_typed_and_is_never_less(seconds: float) -> None:
    assert seconds <= parse_duration(format_budget(seconds)) < seconds + 60
