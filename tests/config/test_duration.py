"""Spans of time as they are typed."""

import pytest

from lowres_ssl.config.duration import format_budget, parse_duration
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


@pytest.mark.parametrize(
    ("typed", "meant"),
    [("30", "30min"), ("30m", "30min"), ("2hours", "2h"), ("1h30", "1h30min"), ("45 sec", "45s"), ("2 days", "2d")],
)
def test_what_was_probably_meant_is_offered(typed: str, meant: str) -> None:
    with pytest.raises(ConfigError, match=rf"^budget={typed}: wanted a time such as .*; did you mean budget={meant}\?"):
        parse_duration(typed)


@pytest.mark.parametrize("typed", ["", "soon", "-30min", "1:30", "30min!", "5parsecs", "min", "1e3s"])
def test_what_is_no_time_is_refused(typed: str) -> None:
    with pytest.raises(ConfigError, match=r"wanted a time such as 90s, 30min, 2h or 1h30min$"):
        parse_duration(typed)


@pytest.mark.parametrize(
    "seconds", [0.2, 1, 59.5, 90, 119, 120, 121, 1799, 1800, 1801, 3600, 3601, 5400, 86400, 100000]
)
def test_time_that_is_offered_can_be_typed_and_is_never_less(seconds: float) -> None:
    assert seconds <= parse_duration(format_budget(seconds)) < seconds + 60


@pytest.mark.parametrize("typed", ["0min", "0s", "0h0min"])
def test_no_time_at_all_is_refused(typed: str) -> None:
    with pytest.raises(ConfigError, match=r"wanted a time such as .*, more than none$"):
        parse_duration(typed)
