"""Read a span of time as it is typed, such as 30min or 1h30min, and write one as it can be typed."""

import math
import re

from lowres_ssl.errors import ConfigError

UNIT_SECONDS = {"d": 86400, "h": 3600, "min": 60, "s": 1}
DURATION = re.compile(r"(\d+(\.\d+)?(d|h|min|s)\s*)+")
DURATION_PART = re.compile(r"(\d+(?:\.\d+)?)(d|h|min|s)")


def parse_duration(typed: str, key: str = "budget") -> float:
    """Return the seconds of "90s", "30min", "1.5h", "1h30min" or "1d". Raise `ConfigError` for anything else, and for
    no time; `key` is what it was typed for."""
    text = typed.strip().lower()
    parts = DURATION_PART.findall(text) if DURATION.fullmatch(text) else []
    seconds = sum(float(number) * UNIT_SECONDS[unit] for number, unit in parts)
    if not seconds:
        raise ConfigError(f"{key}={typed}: wanted a time above 0 such as 90s, 30min, 2h or 1h30min")
    return seconds


def format_budget(seconds: float) -> str:
    """Format a time, never a shorter one: whole seconds below 2 minutes, whole minutes above, such as "1h30min"."""
    if seconds <= 120:
        return f"{max(1, math.ceil(seconds))}s"
    hours, minutes = divmod(math.ceil(seconds / 60), 60)
    return (f"{hours}h" if hours else "") + (f"{minutes}min" if minutes else "")
