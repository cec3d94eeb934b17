"""Path-valued overrides as they are typed: quoted for Hydra's lexer, `~` expanded.

Hydra's grammar refuses spaces, commas, brackets, `~` and letters outside ASCII unless they are quoted, and a shell has
taken the quotes away by the time we see them.
"""

import re
from pathlib import Path

PATH_KEYS = frozenset(
    ["data_dir", "output_dir", "store_dir", "run", "weights", "dataset.root", "dataset.archive", "dataset.unlabelled"]
)
QUOTED = re.compile(r"""^(['"]).*\1$""", re.DOTALL)
NULL = frozenset(["null", "None", ""])


def quote_paths(overrides: list[str]) -> list[str]:
    """The overrides with each path value quoted; others as they are.

    A value that is quoted already is left alone: that is how a sweep over several paths is typed.
    """
    return [quote_path(override) for override in overrides]


def quote_path(override: str) -> str:
    key, equals, value = override.partition("=")
    if not equals or key.lstrip("+") not in PATH_KEYS or value in NULL or QUOTED.match(value):
        return override
    return f"{key}={quoted(expanded(value))}"


def expanded(value: str) -> str:
    try:
        return str(Path(value).expanduser()) if value.startswith("~") else value
    except RuntimeError:  # `~name` of nobody here is an ordinary folder name
        return value


def quoted(value: str) -> str:
    r"""A string Hydra and OmegaConf read back as `value`: quotes escaped, and `${`, which would interpolate."""
    # Backslashes are special to the lexer only before a quote, so only those that stand there are doubled.
    escaped = re.sub(r"""(\\*)('|\Z)""", lambda m: m[1] * 2 + ("\\'" if m[2] else ""), value)
    # OmegaConf reads `\${` as a plain `${`.
    return "'" + re.sub(r"(\\*)\$\{", lambda m: m[1] * 2 + r"\${", escaped) + "'"
