"""The schema of `lowres-ssl tables` and of the files in `conf/table/`. No I/O, no checks."""

from dataclasses import dataclass, field
from enum import Enum
from typing import Any

from omegaconf import MISSING

TableKind = Enum("TableKind", ["scores", "recipes", "tuned"])


@dataclass
class FiltersConfig:
    """The fields of `selection.Filters`. They are typed without `filters.` (see `command_line/overrides.py`)."""

    entry: Any = MISSING  # a name or pattern, or several
    dataset: str | None = MISSING
    probe: str | None = MISSING
    recipe: str | None = MISSING
    backbone: str | None = MISSING
    image_size: int | None = MISSING
    epochs: int | None = MISSING
    split: str | None = MISSING
    split_seed: int | None = MISSING
    split_digest: str | None = MISSING
    precision: str | None = MISSING
    settings: str | None = MISSING
    seed: Any = MISSING  # one, or a list
    untrained_seed: Any = MISSING  # likewise


@dataclass
class RowConfig:
    """A row of a table. What may be left out has its value here, so that a table's file stays short."""

    entries: list[str] = MISSING
    in_recipe: dict[str, str] = field(default_factory=dict)  # by recipe, the one to ask for instead of the first
    label: str | None = None
    probe: str | None = None
    compared: bool = True  # false: never bold
    optional: bool = False
    paper: dict[str, dict[str, float]] = field(default_factory=dict)


@dataclass
class TableConfig:
    """What a file of `conf/table/` holds."""

    title: str = MISSING
    kind: TableKind = MISSING
    probe: list[str] = MISSING
    datasets: list[str] = MISSING
    metrics: list[str] = MISSING
    batch_size: Any = MISSING
    rows: dict[str, RowConfig] = MISSING
    recipes: list[str] = field(default_factory=list)
    splits: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


@dataclass
class TablesConfig:
    output_dir: str = MISSING
    folder: str = MISSING
    batch_size: Any = MISSING
    strict: bool = MISSING
    filters: FiltersConfig = MISSING
    table: dict[str, TableConfig] = MISSING  # last: the help text shows it whole
