"""Find the table that names the images of a folder, by its content, wherever it lies at the top."""

import os
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lowres_ssl.console import pluralise, shorten_list
from lowres_ssl.data.csv_table import TABLE_SUFFIXES, CsvTable, LabelCells, read_table
from lowres_ssl.data.datasets import guess_table_subset
from lowres_ssl.data.datasets.csv import CsvReader
from lowres_ssl.data.file_index import FileIndex
from lowres_ssl.data.image_folder import ImageFolder, compile_exclude
from lowres_ssl.errors import ConfigError, DataError
from lowres_ssl.init.folder_levels import list_class_folders
from lowres_ssl.init.guess_columns import LabelGuess, find_patient_like, list_head_words
from lowres_ssl.init.table_reading import (
    MAX_COLUMNS,
    TableReading,
    check_typed_columns,
    find_path_columns,
    guess_columns,
)
from lowres_ssl.init.typed_input import NONE, TypedInput

WORKBOOK_SUFFIXES = (".xlsx", ".xls", ".xlsm", ".ods")
LIST_SUFFIX = ".txt"  # a table, if it names images; else any text
MAX_SEARCHED_FOLDERS = 20
MAX_LISTS = 20  # .txt files in a folder; more of them are notes on an image each
MAX_NAMED = 3


@dataclass
class TableSearch:
    """Hold the `options` of `dataset=csv`, None if no table gives a set; `notes` for the user: other tables, with the
    reason, and other readings, with what to type; and whether any table `names_images`."""

    options: dict[str, Any] | None = None
    notes: list[str] = field(default_factory=list)
    names_images: bool = False


def find_label_table(scanned: ImageFolder, typed: TypedInput) -> TableSearch:
    """Find the table that gives a set. One whose label is a mere guess gives way to class folders. Raises `ConfigError`
    for a typed table or column that there is not."""
    search = TableSearch()
    if typed.table == NONE:
        return search
    folder, included = scanned.root, scanned.exclude(compile_exclude(typed.exclude))
    files, readings, problems = FileIndex(included), list[TableReading](), list[str]()
    for path in list_candidate_tables(included, typed.table):
        is_list = path.suffix.lower() == LIST_SUFFIX
        try:
            table = read_table(path, files)
        except DataError as error:
            problems += [] if is_list else [str(error)]
            continue
        columns, reason = find_path_columns(table, files, typed.path)
        if columns is not None:
            readings.append(guess_columns(table, columns, typed))
        elif not is_list:
            problems.append(f"{path.name}: {reason}")
    search.names_images = bool(readings)
    choice, tops = choose_reading(readings), list_class_folders(included)
    if choice is not None and (choice[1].certain or not tops or typed.table):
        best, label = choice
        try:
            search.options = build_csv_options(best, label.columns, readings, scanned, typed.exclude)
        except DataError as error:  # rows that contradict each other
            if not tops or typed != TypedInput():
                raise
            problems.append(str(error))
            readings.remove(best)
        else:
            search.notes += describe_other_columns(best, label, search.options, typed, folder)
            if tops and typed == TypedInput():
                search.notes.append(
                    f"{best.table.path.name}: read the classes from it; could be the folders ({shorten_list(tops)}): "
                    f"{typed.format_init(folder, table=NONE)}"
                )
    check_typed_columns(typed, readings, search.options, folder)
    used = list_used_tables(search.options or {})
    for each in readings:
        name = os.path.relpath(each.table.path, scanned.top)
        if name not in used:
            problems.append(describe_unused_table(each, name, typed, folder, search.options is not None))
    if typed.table is not None and search.options is None:
        raise ConfigError(f"table={typed.table}: gives no set; {'; '.join(problems)}")
    books = [id for path, id in scanned.other_files if "/" not in id and path.suffix.lower() in WORKBOOK_SUFFIXES]
    if books:
        problems.append(
            f"{shorten_list(books)}: {'a workbook' if len(books) == 1 else 'workbooks'}; for labels in there, save the "
            f"sheet as CSV beside it and type {typed.forget_reading().format_init(folder)}"
        )
    more = len(problems) - MAX_NAMED
    search.notes += problems[:MAX_NAMED] + ([f"{pluralise(more, 'more table')} not used"] if more > 0 else [])
    return search


def list_candidate_tables(folder: ImageFolder, typed: str | None) -> list[Path]:
    """List the tables in the folder, in the one that holds the set, and in the folders of these; or the typed one."""
    if typed is not None:
        path = next((each for each in (folder.root / typed, Path(typed)) if each.is_file()), None)
        if path is None:
            raise ConfigError(
                f"table={typed}: no such file, wanted one in {folder.root}; table={NONE} reads the folders"
            )
        return [path.resolve()]
    places: dict[Path, list[Path]] = defaultdict(list)
    for path, _ in folder.other_files:
        if path.suffix.lower() in (*TABLE_SUFFIXES, LIST_SUFFIX):
            places[path.parent].append(path)
    top, inner = folder.top, folder.enter().top
    below = [place for place in places if place.parent == inner and place != top]
    tables = [path for place in dict.fromkeys([top, inner, *below[:MAX_SEARCHED_FOLDERS]]) for path in places[place]]
    lists = Counter(path.parent for path in tables if path.suffix.lower() == LIST_SUFFIX)
    return [path for path in tables if path.suffix.lower() != LIST_SUFFIX or lists[path.parent] <= MAX_LISTS]


def choose_reading(readings: Iterable[TableReading]) -> tuple[TableReading, LabelGuess] | None:
    """Choose the table with a label that names the most images, and its label; a certain label counts more."""
    labelled = [(each, each.label) for each in readings if each.label is not None]
    return max(labelled, key=lambda pair: (pair[1].certain, len(pair[0].path.named)), default=None)


def build_csv_options(
    best: TableReading,
    columns: list[str],
    readings: Iterable[TableReading],
    folder: ImageFolder,
    exclude: Sequence[str],
) -> dict[str, Any]:
    """List the options that differ from conf/dataset/csv.yaml. Tables of the same columns that name other images are
    read together; patients that the table lacks come from another one with the same paths."""
    together, named, patients = [best], set(best.path.named), None
    is_subset = guess_table_subset(best.table.path, folder.top) is not None
    for each in readings:
        same_paths = each.path.columns == best.path.columns
        same_columns = same_paths and sorted(each.table.columns) == sorted(best.table.columns)
        if same_columns and has_labels(each.table, columns):
            is_other = guess_table_subset(each.table.path, folder.top) is not None
            if not named & each.path.named and is_other == is_subset:
                together.append(each)
                named |= each.path.named
        elif same_paths and each.patient is not None and best.patient is None:
            patients = patients or each
    names = [os.path.relpath(each.table.path, folder.top) for each in together]
    options: dict[str, Any] = {"table": names[0] if len(names) == 1 else names}
    patient = patients.patient if patients else best.patient
    for key, column in (
        ("path", best.path.columns if len(best.path.columns) > 1 else best.path.columns[0]),
        ("second_path", best.second_path),
        ("label", columns if len(columns) > 1 else columns[0]),
        ("patient", patient),
        ("split", best.split),
    ):
        if column != key and (column is not None or key in best.table.columns):  # optional columns may be missing
            options[key] = column
    if best.split is not None and best.split_words:
        options["split_words"] = best.split_words
    if patients is not None:
        options["patient_table"] = os.path.relpath(patients.table.path, folder.top)
    return options | choose_skips(options, folder, exclude)


def describe_other_columns(
    best: TableReading, label: LabelGuess, options: dict[str, Any], typed: TypedInput, folder: Path
) -> list[str]:
    """Describe columns that could be the files, the label, patients or folds, with what to type."""
    table, notes = best.table, []
    if best.path.other and typed.path is None and best.second_path is None:
        notes.append(
            f"read {','.join(best.path.columns)} as the files' names; {best.path.other} names other files: "
            f"{typed.format_init(folder, path=best.path.other)}"
        )
    if others := label.others:
        notes.append(
            f"read {label.columns[0]!r} as the label; could be another column ({shorten_list(others)}): "
            f"{typed.format_init(folder, label=others[0])}"
        )
    used = [*best.path.columns, best.second_path, *label.columns, best.patient, best.split]
    folds = [head for head in table.columns if head not in used and "fold" in list_head_words(head)]
    taken = [place for place, head in enumerate(table.columns) if head in [*used, *folds]]
    like = find_patient_like(table, taken) if typed.patient is None and "patient_table" not in options else None
    if like is not None and best.patient is None:
        head, number = like
        notes.append(
            f"could be patients: {head} ({number:,} values in {len(table.rows):,} rows); to keep each in one subset "
            f"type {typed.format_init(folder, patient=head)}"
        )
    if folds and best.split is None and typed.split is None:
        *others, last = sorted(set(table.get_cells(table.columns.index(folds[0]))))
        command = typed.format_init(folder, split=folds[0], split_words={"train": others, "test": [last]})
        notes.append(f"{folds[0]} is not used; to test on one fold type {command}")
    return [f"{table.path.name}: {note}" for note in notes]


def list_used_tables(options: dict[str, Any]) -> list[str]:
    """List the files that the options name."""
    tables, patients = options.get("table", []), options.get("patient_table")
    return [*([tables] if isinstance(tables, str) else tables), *([patients] if patients else [])]


def has_labels(table: CsvTable, columns: list[str]) -> bool:
    """Whether the columns of the label are filled."""
    cells = [cell for each in columns for cell in table.get_cells(table.columns.index(each))]
    column = LabelCells(cells)
    return not all(map(column.is_missing, cells))


def choose_skips(options: dict[str, Any], folder: ImageFolder, exclude: Sequence[str]) -> dict[str, Any]:
    """Choose what to leave out: only what there is in the tables."""
    skips: dict[str, Any] = {"skip_missing": True, "skip_unlabelled": True, "several_labels": "skip"}
    source = CsvReader(**options | skips)
    source.exclude = compile_exclude(exclude)
    source.list_included(folder)
    kinds = ("missing", "unlabelled", "several")
    return {key: skips[key] for key, kind in zip(skips, kinds, strict=True) if source.left_out[kind]}


def describe_unused_table(reading: TableReading, name: str, typed: TypedInput, folder: Path, beaten: bool) -> str:
    """Describe a table that names images and is not read. `beaten`: another one is."""
    images = pluralise(len(reading.path.named), "image")
    if reading.label is not None:
        words = {"table": name} if beaten else {"label": ",".join(reading.label.columns)}
        other = typed.forget_reading().format_init(folder, **words)
        return f"{name}: names {images} as well; to read it type {other}"
    columns = [column for column in reading.table.columns if column not in reading.path.columns]
    if not (columns or beaten) and guess_table_subset(Path(name), Path()):
        return (
            f"{name}: names {images} of a published split, which is not followed; for that, put a table with the "
            "columns path, label and split beside it"
        )
    if not columns or beaten:
        return f"{name}: names {images}, without a label"
    return (
        f"{name}: names {images}, but which column is the label? got {shorten_list(columns, MAX_COLUMNS)}; type "
        f"{typed.forget_reading().format_init(folder, label='COLUMN')}"
    )
