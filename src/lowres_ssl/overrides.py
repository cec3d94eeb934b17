"""Paths, names, patterns and filters as they are typed: quoted for Hydra's lexer, `~` expanded in paths.

Hydra's grammar refuses spaces, commas, brackets, `~` and letters outside ASCII unless they are quoted, and a shell has
taken the quotes away by the time we see them.
"""

import re
from pathlib import Path

PATH_KEYS = frozenset(
    [
        "data_dir",
        "output_dir",
        "store_dir",
        "run",
        "folder",
        "file",
        "weights",
        "initial_weights",
        "method.weights",
        "dataset.root",
        "dataset.archive",
        "dataset.unlabelled",
        "figure.samples.root",
    ]
)
# Free text, in which `~` is a letter like any other.
TEXT_KEYS = frozenset(
    ["dataset.name", "dataset.title", "dataset.options.group_pattern", "filters.settings", "imagenet"]
)
# Commands that choose among stored runs or results have these keys in their section `filters`: elsewhere some of them
# name a group, and Hydra would look for a file of that group.
FILTERS = frozenset(
    [
        "dataset",
        "probe",
        "recipe",
        "backbone",
        "image_size",
        "epochs",
        "split",
        "split_seed",
        "split_digest",
        "precision",
        "settings",
    ]
)
OF_RUNS = frozenset(["dataset", "method", "entry", "recipe", "backbone", "image_size", "split", "split_seed", "seed"])
FILTERING = {
    **dict.fromkeys(("tables", "figures", "compare", "report"), FILTERS),
    "tune": OF_RUNS | {"epochs", "precision"},
}
QUOTED = re.compile(r"""^(['"]).*\1$""", re.DOTALL)
NULL = frozenset(["null", "None", ""])


def place_filters(command: str, overrides: list[str]) -> list[str]:
    """The overrides with `filters.` before each filter of a command that has them."""
    filters = FILTERING.get(command, frozenset())
    return [f"filters.{each}" if each.partition("=")[0] in filters else each for each in overrides]


def quote_texts(overrides: list[str]) -> list[str]:
    """The overrides with each path and each free text quoted; others as they are.

    A value that is quoted already is left alone: that is how a sweep over several is typed.
    """
    return [quote_text(override) for override in overrides]


def quote_text(override: str) -> str:
    key, equals, value = override.partition("=")
    name = key.lstrip("+")
    if not equals or name not in PATH_KEYS | TEXT_KEYS or value in NULL or QUOTED.match(value):
        return override
    return f"{key}={quoted(expanded(value) if name in PATH_KEYS else value)}"


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
