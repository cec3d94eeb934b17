"""Find a table of labels beside images, and guess its columns by their names and by the files that exist."""

import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lowres_ssl.data.datasets import IMAGE_SUFFIXES, folders_in, get_subset
from lowres_ssl.data.datasets.csv import CsvTable, is_existing_file, list_spellings, list_tables, read_table
from lowres_ssl.errors import DataError

LABEL_COLUMNS = ("label", "labels", "class", "category", "diagnosis", "dx", "target", "finding", "finding labels", "y")
PATIENT_COLUMNS = (
    *("patient", "patient_id", "patientid", "patient id", "subject", "subject_id", "subjectid", "case", "case_id"),
    *("person", "person_id", "pid", "donor", "slide", "slide_id", "lesion_id", "group"),
)
SPLIT_COLUMNS = ("split", "set", "subset", "partition", "fold", "phase")
MAX_CHECKED_ROWS = 50  # of whose files most must exist
PATH_SUFFIXES = ("", *sorted(IMAGE_SUFFIXES))


@dataclass(frozen=True)
class TableGuess:
    """Hold the file, the folder of the images, and the options of `dataset=csv` that are not its defaults."""

    path: Path
    root: Path
    options: dict[str, Any]


def guess_label_table(folder: Path) -> TableGuess | None:
    """Guess how to read the table in `folder`; None if there is none that names images there.

    Raises `DataError` for one without a clear label.
    """
    for path in list_tables(folder):
        table = read_table(path)
        named = next(
            (
                (root, column, suffix)
                for root in (folder, *folders_in(folder))
                for suffix in PATH_SUFFIXES
                for column in range(len(table.columns))
                if has_named_files(table, column, root, suffix)
            ),
            None,
        )
        if named is not None:
            root, column, suffix = named
            return TableGuess(path, root, build_csv_options(table, folder, root, column, suffix))
    return None


def has_named_files(table: CsvTable, column: int, root: Path, suffix: str) -> bool:
    """Whether the cells of a column name files below `root`. Called for every folder, suffix and column, so it ends as
    soon as too many files are missing."""
    names = [cells[column] for _, cells in table.rows[:MAX_CHECKED_ROWS]]
    missing, most = 0, len(names) // 5
    for name in names:
        if not name or not any(is_existing_file(root / (spelt + suffix)) for spelt in list_spellings(name)):
            missing += 1
            if missing > most:
                return False
    return missing < len(names)


def build_csv_options(table: CsvTable, folder: Path, root: Path, path: int, suffix: str) -> dict[str, Any]:
    """List the options that differ from conf/dataset/csv.yaml."""
    others = [place for place in range(len(table.columns)) if place != path]
    label = find_column(table, LABEL_COLUMNS, others)
    if label is None and len(others) == 1:
        label = others[0]
    if label is None:
        raise DataError(
            f"{table.path}: names images in its column {table.columns[path]!r}, but which one is the label? got "
            f"{', '.join(repr(table.columns[place]) for place in others) or 'no other'}; rename that column to label"
        )
    patient, split = find_column(table, PATIENT_COLUMNS, others), find_column(table, SPLIT_COLUMNS, others)
    if split is not None and any(get_subset(cells[split]) is None for _, cells in table.rows):
        split = None
    alone = root == folder and len(list_tables(folder)) == 1
    options: dict[str, Any] = {} if alone else {"table": os.path.relpath(table.path, root)}
    for key, place in (("path", path), ("label", label), ("patient", patient), ("split", split)):
        column = None if place is None else table.columns[place]
        if column != key and (column is not None or key in table.columns):  # optional columns may be missing
            options[key] = column
    if suffix:
        options["suffix"] = suffix
    places, named = {root, table.path.parent}, {cells[path] for _, cells in table.rows} - {""}
    if not all(
        any(is_existing_file(place / each) for each in list_spellings(name + suffix) for place in places)
        for name in named
    ):
        options["skip_missing"] = True
    return options


def find_column(table: CsvTable, names: Iterable[str], among: list[int]) -> int | None:
    """Find the first of these columns that has one of the names; an earlier name counts more."""
    heads = {place: table.columns[place].lower() for place in among}
    return next((place for name in names for place, head in heads.items() if head == name), None)
