"""A span of time as it is typed, such as 30min or 1h30min, and its seconds. No clock."""

import math
import re

from lowres_ssl.errors import ConfigError

UNIT_SECONDS = {"d": 86400, "h": 3600, "min": 60, "s": 1}
DURATION_PART = re.compile(r"(\d+(?:\.\d+)?)\s*([a-z]*)\s*")
# What people write as well, and what they mean by it.
UNIT_ALIASES = {
    **dict.fromkeys(("", "m", "mins", "minute", "minutes"), "min"),
    **dict.fromkeys(("sec", "secs", "second", "seconds"), "s"),
    **dict.fromkeys(("hr", "hrs", "hour", "hours"), "h"),
    **dict.fromkeys(("day", "days"), "d"),
}
WANTED_DURATION = "wanted a time such as 90s, 30min, 2h or 1h30min"


def parse_duration(typed: str, key: str = "budget") -> float:
    """The seconds of "90s", "30min", "1.5h", "1h30min" or "1d". Raises `ConfigError` for anything else, with what was
    probably meant; `key` is what it was typed for."""
    text = typed.strip().lower()
    parts = [(number, unit) for number, unit in DURATION_PART.findall(text)]
    if not parts or DURATION_PART.sub("", text):
        raise ConfigError(f"{key}={typed}: {WANTED_DURATION}")
    if any(unit not in UNIT_SECONDS for _, unit in parts):
        meant = [f"{number}{unit if unit in UNIT_SECONDS else UNIT_ALIASES.get(unit, '')}" for number, unit in parts]
        sure = all(unit in UNIT_SECONDS or unit in UNIT_ALIASES for _, unit in parts)
        hint = f"; did you mean {key}={''.join(meant)}?" if sure else ""
        raise ConfigError(f"{key}={typed}: {WANTED_DURATION}{hint}")
    seconds = sum(float(number) * UNIT_SECONDS[unit] for number, unit in parts)
    if not seconds:
        raise ConfigError(f"{key}={typed}: {WANTED_DURATION}, more than none")
    return seconds


def format_budget(seconds: float) -> str:
    """As it can be typed, and never less: whole seconds below 2 minutes, whole minutes above, such as "1h30min"."""
    if seconds <= 120:
        return f"{max(1, math.ceil(seconds))}s"
    minutes = math.ceil(seconds / 60)
    hours, minutes = divmod(minutes, 60)
    return (f"{hours}h" if hours else "") + (f"{minutes}min" if minutes else "")
