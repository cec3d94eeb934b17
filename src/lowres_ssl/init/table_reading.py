"""Read the columns of a table that names images: those that were typed, the others by a guess."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lowres_ssl.console import shorten_list
from lowres_ssl.data.csv_table import CsvTable
from lowres_ssl.errors import ConfigError
from lowres_ssl.init.guess_columns import (
    LabelGuess,
    find_column,
    find_label_columns,
    guess_label,
    guess_patient,
    guess_split,
    guess_split_words,
)
from lowres_ssl.init.typed_input import NONE, TypedInput

MAX_COLUMNS = 10  # that a message names


@dataclass(frozen=True)
class TableReading:
    """Hold a table that names images: the columns of the path, the ids, and the other columns; `other_path`: another
    column, which names other files; `label`: None where no column can be it."""

    table: CsvTable
    paths: list[str]
    named: frozenset[str]
    other_path: str
    label: LabelGuess | None
    patient: str | None
    split: str | None
    split_words: dict[str, Any] | None


def guess_columns(
    table: CsvTable, paths: list[str], named: frozenset[str], other_path: str, typed: TypedInput
) -> TableReading:
    """Guess the columns beside the path, or take those that were typed."""
    taken = [table.columns.index(each) for each in paths]
    split, words = guess_split(table, taken)
    if typed.split is not None and (split := find_column(table.columns, typed.split)) is not None:
        cells = table.get_cells(table.columns.index(split))
        words = typed.split_words or guess_split_words(split, cells)
        if words is None:
            shown = ", ".join(sorted(set(cells))[:5])
            raise ConfigError(
                f"split={typed.split}: got {shown}, wanted train, val and test; type what they mean, such as "
                f"split_words=train:{cells[0]},test:WORD"
            )
    elif typed.split_words:
        words = typed.split_words
    if typed.split == NONE:
        split = None
    patient = guess_patient(table, taken)
    if typed.patient is not None:
        patient = find_column(table.columns, typed.patient)
    taken += [table.columns.index(each) for each in (split, patient) if each is not None]
    label = guess_label(table, taken)
    if typed.label is not None:
        columns = find_label_columns(table.columns, typed.label)
        label = None if columns is None else LabelGuess(columns, [], True)
    return TableReading(table, paths, named, other_path, label, patient, split, words)


def check_typed_columns(
    typed: TypedInput, readings: list[TableReading], options: dict[str, Any] | None, folder: Path
) -> None:
    """Raise `ConfigError` for a typed column that the table does not have, or without a table that names images."""
    used = options or {}
    path = used.get("path", "path")
    paths = [path] if isinstance(path, str) else path
    if options is None:
        paths = [column for each in readings for column in each.paths]
    known = {
        "path": typed.path is not None and find_label_columns(paths, typed.path) is not None,
        "label": options is not None,
        "patient": typed.patient is not None and find_column([used.get("patient", "patient")], typed.patient),
        "split": typed.split is not None and find_column([used.get("split", "split")], typed.split),
    }
    for key, name in {"path": typed.path, "label": typed.label, "patient": typed.patient, "split": typed.split}.items():
        if name not in (None, NONE) and not known[key]:
            heads = [repr(head) for each in readings[:1] for head in each.table.columns]
            got = f"no such column, got {shorten_list(heads, MAX_COLUMNS)}" if heads else "no table names images there"
            raise ConfigError(f"{key}={name}: {folder}: {got}; type {key}=COLUMN")
