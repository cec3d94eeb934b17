"""The checks of the views' settings: each refuses a value in one line that says what, got, wanted."""

import math
from collections.abc import Sequence

from lowres_ssl.errors import ConfigError


def require(ok: bool, key: str, got: object, wanted: str) -> None:
    if not ok:
        raise ConfigError(f"{key}={got}: wanted {wanted}")


def require_probability(key: str, value: float) -> None:
    require(0 <= value <= 1, key, value, "a probability from 0 to 1")


def require_strength(key: str, value: float, high: float = math.inf) -> None:
    wanted = "a number of at least 0" if high == math.inf else f"a number from 0 to {high:g}"
    require(0 <= value <= high and math.isfinite(value), key, value, wanted)


def require_range(key: str, values: Sequence[float], high: float = math.inf) -> None:
    """Two numbers, from and to, both above 0."""
    ok = len(values) == 2 and 0 < values[0] <= values[1] <= high and math.isfinite(values[1])
    limit = "" if high == math.inf else f" and at most {high:g}"
    require(ok, key, list(values), f"two numbers above 0{limit}, the smaller first")


def require_statistics(mean: Sequence[float], std: Sequence[float]) -> None:
    """Normalisation: one number or three, every deviation above 0."""
    require(len(mean) in (1, 3) and all(map(math.isfinite, mean)), "images.mean", list(mean), "one number or three")
    ok = len(std) in (1, 3) and all(math.isfinite(value) and value > 0 for value in std)
    require(ok, "images.std", list(std), "one number above 0 or three")
