"""Find the table that names the images of a folder, by its content, wherever it lies at the top."""

import os
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from lowres_ssl.console import pluralise, shorten_list
from lowres_ssl.data.csv_table import TABLE_SUFFIXES, CsvTable, list_tables, read_table
from lowres_ssl.data.datasets import folders_in, guess_subset, resolve_root
from lowres_ssl.data.datasets.csv import CsvReader
from lowres_ssl.data.file_index import FileIndex
from lowres_ssl.data.table_labels import LabelCells
from lowres_ssl.errors import ConfigError, DataError
from lowres_ssl.init.folder_levels import list_class_folders
from lowres_ssl.init.guess_columns import (
    LabelGuess,
    find_typed_column,
    find_typed_label,
    guess_label,
    guess_patient,
    guess_split,
    guess_split_words,
)
from lowres_ssl.init.typed_input import TypedInput, format_init

WORKBOOK_SUFFIXES = (".xlsx", ".xls", ".xlsm", ".ods")
LIST_SUFFIX = ".txt"  # a table, if it names images; else any text
SAMPLED_ROWS = 200
MAX_SEARCHED_FOLDERS = 20
MAX_NAMED, MAX_COLUMNS = 3, 10
NO_TABLE = "none"


@dataclass(frozen=True)
class TableReading:
    """Hold a table that names images: the columns of the path, the ids, and the other columns; `label`: None where no
    column can be it."""

    table: CsvTable
    paths: list[str]
    named: frozenset[str]
    label: LabelGuess | None
    patient: str | None
    split: str | None
    split_words: dict[str, Any] | None


@dataclass
class TableSearch:
    """Hold the `options` of `dataset=csv`, None if no table gives a set, and `notes` for the user: other tables, with
    the reason, and other readings, with what to type."""

    options: dict[str, Any] | None = None
    notes: list[str] = field(default_factory=list)


def find_label_table(folder: Path, typed: TypedInput, exclude: re.Pattern[str] | None = None) -> TableSearch:
    """Find the table that gives a set. One whose label is a mere guess gives way to class folders. Raises `ConfigError`
    for a typed table or column that there is not."""
    search = TableSearch()
    if typed.table == NO_TABLE:
        return search
    root = folder.resolve()
    files, readings, problems = FileIndex(root, exclude), list[TableReading](), list[str]()
    for path in list_candidate_tables(folder, typed.table):
        is_list = path.suffix.lower() == LIST_SUFFIX
        try:
            table = read_table(path, files)
        except DataError as error:
            problems += [] if is_list else [str(error)]
            continue
        columns, named, reason = find_path_columns(table, files)
        if columns:
            readings.append(guess_columns(table, columns, named, typed))
        elif not is_list:
            problems.append(f"{path.name}: {reason.format(folder)}")
    best = choose_reading(readings)
    if best is not None and best.label is not None and (best.label.certain or not list_class_folders(folder, exclude)):
        search.options = build_csv_options(best, readings, root, exclude)
        if others := best.label.others:
            search.notes.append(
                f"{best.table.path.name}: read {best.label.columns!r} as the label; could be another column "
                f"({shorten_list(others)}): {format_init(folder, f'label={others[0]}')}"
            )
        if (tops := list_class_folders(folder, exclude)) and typed == TypedInput():
            search.notes.append(
                f"{best.table.path.name}: read the classes from it; could be the folders ({shorten_list(tops)}): "
                f"{format_init(folder, f'table={NO_TABLE}')}"
            )
    elif typed.label and readings:
        find_typed_label(readings[0].table.columns, typed.label)
    used = list_used_tables(search.options or {})
    for each in readings:
        name = os.path.relpath(each.table.path, root)
        if name not in used:
            problems.append(describe_unused_table(each, name, folder, search.options is not None))
    for path in sorted(each for each in folder.iterdir() if each.suffix.lower() in WORKBOOK_SUFFIXES):
        problems.append(
            f"{path.name}: a workbook; if it has the labels, save it as CSV beside it and type {format_init(folder)}"
        )
    more = len(problems) - MAX_NAMED
    search.notes += problems[:MAX_NAMED] + ([f"{pluralise(more, 'more table')} not used"] if more > 0 else [])
    return search


def list_candidate_tables(folder: Path, typed: str | None) -> list[Path]:
    """List the tables in the folder, in the one that holds the set, and in the folders of these; or the typed one."""
    if typed is not None:
        path = next((each for each in (folder / typed, Path(typed)) if each.is_file()), None)
        if path is None:
            raise ConfigError(
                f"table={typed}: no such file, wanted one in {folder}; table={NO_TABLE} reads the folders"
            )
        return [path.resolve()]
    root = resolve_root(folder)
    places = dict.fromkeys([folder.resolve(), root, *folders_in(root)[:MAX_SEARCHED_FOLDERS]])
    return [path for place in places for path in list_tables(place, (*TABLE_SUFFIXES, LIST_SUFFIX))]


def find_path_columns(table: CsvTable, files: FileIndex) -> tuple[list[str], frozenset[str], str]:
    """Find the column that names the most images, and these: most rows name one, or half of the images are named.
    Without one, a column of folders beside it, or a column of a folder a row. The third value is the reason why there
    is none."""
    rows = np.unique(np.linspace(0, max(0, len(table.rows) - 1), num=SAMPLED_ROWS, dtype=int)) if table.rows else []
    beside, several, best = table.path.parent, "", (list[str](), frozenset[str]())
    heads = [head for head in table.columns if table.columns.count(head) == 1]
    hits = [head for head in heads if any(files.find(table.get_paths([head])[row])[0] for row in rows)]
    for columns in [*([head] for head in hits), *([other, head] for head in hits for other in heads if other != head)]:
        if len(columns) > 1 and (best[0] or not several):
            break
        found = [files.find(cell, beside)[0] for cell in set(table.get_paths(columns)) if cell]
        named = frozenset(ids[0] for ids in found if len(ids) == 1)
        several = several or next((f"{ids[0]} and {ids[1]}" for ids in found if len(ids) > 1), "")
        if len(named) > len(best[1]) and (len(named) * 5 >= len(found) * 4 or len(named) * 2 >= len(files.paths)):
            best = columns, named
    if best[0]:
        return *best, ""
    for head in heads if len(rows) else []:
        cells = table.get_paths([head])
        if len(set(cells)) == len(cells) and all(files.find_folder(cells[row]) for row in rows):
            return [head], frozenset(id for cell in cells for id in files.find_folder(cell)), ""
    if several:
        return [], frozenset(), f"names images that there are several times below {{}}, such as {several}; leave one"
    return [], frozenset(), "names no image below {}"


def guess_columns(table: CsvTable, paths: list[str], named: frozenset[str], typed: TypedInput) -> TableReading:
    """Guess the columns beside the path, or take those that were typed."""
    taken = [table.columns.index(each) for each in paths]
    split, words = guess_split(table, taken)
    if typed.split is not None and typed.split.strip().lower() in [head.lower() for head in table.columns]:
        split = find_typed_column(table.columns, "split", typed.split)
        cells = table.get_cells(table.columns.index(split))
        words = typed.split_words or guess_split_words(split, cells)
        if words is None:
            shown = ", ".join(sorted(set(cells))[:5])
            raise ConfigError(
                f"split={typed.split}: got {shown}, wanted train, val and test; type what they mean, such as "
                f"split_words={{train:{cells[0]},test:WORD}}"
            )
    elif typed.split_words:
        words = typed.split_words
    patient = guess_patient(table, taken)
    if typed.patient is not None and typed.patient in table.columns:
        patient = typed.patient
    taken += [table.columns.index(each) for each in (split, patient) if each is not None]
    label = guess_label(table, taken)
    if typed.label is not None:
        try:
            label = LabelGuess(find_typed_label(table.columns, typed.label), [], True)
        except ConfigError:  # another table may have it
            label = None
    return TableReading(table, paths, named, label, patient, split, words)


def choose_reading(readings: Iterable[TableReading]) -> TableReading | None:
    """Choose the table with a label that names the most images; one with a certain label counts more."""
    labelled = [each for each in readings if each.label is not None]
    return max(labelled, key=lambda each: (each.label.certain, len(each.named)), default=None)


def build_csv_options(
    best: TableReading, readings: Iterable[TableReading], root: Path, exclude: re.Pattern[str] | None
) -> dict[str, Any]:
    """List the options that differ from conf/dataset/csv.yaml. Tables of the same columns named after subsets are read
    together; patients that the table lacks come from another one with the same paths."""
    columns = best.label.columns
    subsets = {guess_subset(best.table.path.stem): best}
    patients = None
    for each in readings:
        if each.table.columns == best.table.columns and has_labels(each.table, columns):
            subsets.setdefault(guess_subset(each.table.path.stem), each)
        elif each.paths == best.paths and each.patient is not None and best.patient is None:
            patients = patients or each
    together = [best]
    if best.split is None and None not in subsets and len(subsets) > 1:
        together = list(subsets.values())
    names = [os.path.relpath(each.table.path, root) for each in together]
    options: dict[str, Any] = {"table": names[0] if len(names) == 1 else names}
    patient = patients.patient if patients else best.patient
    for key, column in (
        ("path", best.paths if len(best.paths) > 1 else best.paths[0]),
        ("label", columns),
        ("patient", patient),
        ("split", best.split),
    ):
        if column != key and (column is not None or key in best.table.columns):  # optional columns may be missing
            options[key] = column
    if best.split is not None and best.split_words:
        options["split_words"] = best.split_words
    if patients is not None:
        options["patient_table"] = os.path.relpath(patients.table.path, root)
    return options | choose_skips(options, root, exclude)


def list_used_tables(options: dict[str, Any]) -> list[str]:
    """List the files that the options name."""
    tables, patients = options.get("table", []), options.get("patient_table")
    return [*([tables] if isinstance(tables, str) else tables), *([patients] if patients else [])]


def has_labels(table: CsvTable, columns: str | list[str]) -> bool:
    """Whether the columns of the label are filled."""
    places = [table.columns.index(each) for each in ([columns] if isinstance(columns, str) else columns)]
    cells = [cell for place in places for cell in table.get_cells(place)]
    column = LabelCells(cells)
    return not all(map(column.is_missing, cells))


def choose_skips(options: dict[str, Any], root: Path, exclude: re.Pattern[str] | None) -> dict[str, Any]:
    """Choose what to leave out: only what there is in the tables."""
    skips = {
        "missing": ("skip_missing", True),
        "unlabelled": ("skip_unlabelled", True),
        "several": ("several_labels", "skip"),
    }
    source = CsvReader(**options, **dict(skips.values()))
    source.exclude = exclude
    source.listings(root)
    return dict(skips[kind] for kind in skips if source.left_out[kind])


def describe_unused_table(each: TableReading, name: str, folder: Path, beaten: bool) -> str:
    images = pluralise(len(each.named), "image")
    if each.label is not None:
        word = f"table={name}" if beaten else f"label={each.label.columns}"
        return f"{name}: names {images} as well; to read it type {format_init(folder, word)}"
    columns = [column for column in each.table.columns if column not in each.paths]
    if not columns or beaten:
        return f"{name}: names {images}, without a label"
    return (
        f"{name}: names {images}, but which column is the label? got {shorten_list(columns, MAX_COLUMNS)}; type "
        f"{format_init(folder, 'label=COLUMN')}"
    )
