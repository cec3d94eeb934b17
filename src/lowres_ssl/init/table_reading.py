"""Read the columns of a table: those that name the images by what they name, the others as typed or by a guess."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lowres_ssl.console import shorten_list
from lowres_ssl.data.csv_table import CsvTable, rank_path_cells
from lowres_ssl.data.file_index import MASK_FOLDER, FileIndex
from lowres_ssl.errors import ConfigError
from lowres_ssl.init.guess_columns import (
    LabelGuess,
    find_column,
    find_columns,
    guess_label,
    guess_patient,
    guess_split,
    guess_split_words,
    list_head_words,
)
from lowres_ssl.init.typed_input import NONE, TypedInput

MAX_COLUMNS = 10  # that a message names
SAMPLED_ROWS = 200
SIDE_WORDS = frozenset(["left", "right", "l", "r", "od", "os"])


@dataclass(frozen=True)
class PathColumns:
    """Hold the columns that name images, the ids of these, and another column, which names `other` files, or ""."""

    columns: list[str]
    named: frozenset[str]
    other: str = ""


@dataclass(frozen=True)
class TableReading:
    """Hold a table that names images, and its columns; `second_path`: the other column of the path, if it is the other
    side's; `label`: None where no column can be it."""

    table: CsvTable
    path: PathColumns
    second_path: str | None
    label: LabelGuess | None
    patient: str | None
    split: str | None
    split_words: dict[str, Any] | None


def find_path_columns(table: CsvTable, files: FileIndex, typed: str | None) -> tuple[PathColumns | None, str]:
    """Find the column that names the most images, and these: most rows name one, or half of the images are named.
    Without one, a column with a folder a row, or two columns of folder and name; or the `typed` ones. The second value
    is the reason where there is none."""
    root = files.folder.root
    if typed is not None and (columns := find_columns(table.columns, typed)):
        best, _ = choose_path_columns(table, files, [columns])
        return best, f"{typed} names no image below {root}"
    rows = sorted({number * len(table.rows) // SAMPLED_ROWS for number in range(SAMPLED_ROWS if table.rows else 0)})
    sample = [table.rows[row][1] for row in rows]
    heads = [head for head in table.columns if table.columns.count(head) == 1]
    hits = [head for head in heads if any(files.find(cells[table.columns.index(head)])[0] for cells in sample)]
    best, several = choose_path_columns(table, files, [[head] for head in hits])
    if best is not None:
        return best, ""
    for head in heads if sample else []:
        cells = table.get_paths([head])
        if len(set(cells)) == len(cells) and all(files.find_folder(cells[row]) for row in rows):
            return PathColumns([head], frozenset(id for cell in cells for id in files.find_folder(cell))), ""
    if not several:
        return None, f"names no image below {root}"
    best, _ = choose_path_columns(table, files, [[other, head] for head in hits for other in heads if other != head])
    return best, f"names images that there are several times below {root}, such as {several}; leave one"


def choose_path_columns(
    table: CsvTable, files: FileIndex, candidates: list[list[str]]
) -> tuple[PathColumns | None, str]:
    """Choose the columns that name images: by how their cells look, then the most images. Of bare numbers, which may be
    those of the rows, the longest, and none beside cells with a suffix or folder. The second value is an example of two
    files of one name."""
    fitting, several, best_rank = list[tuple[tuple[bool, int, int, int], list[str], dict[str, str]]](), "", 0
    for columns in candidates:
        paths = table.get_paths(columns)
        found = {cell: files.find(cell, table.path)[0] for cell in set(paths) - {""}}
        ids = {cell: own[0] for cell, own in found.items() if len(own) == 1}
        named, rank = len(set(ids.values())), rank_path_cells(list(found))
        several = several or next((f"{own[0]} and {own[1]}" for own in found.values() if len(own) > 1), "")
        is_mask = any(MASK_FOLDER.search(column) for column in columns)
        best_rank = max(best_rank, 0 if is_mask else rank)
        most = named * 5 >= len(found) * 4 and (rank or named * 10 >= len(files.paths))
        if named and (most or named * 2 >= len(files.paths)):
            length = 0 if rank else sum(map(len, found))
            fitting.append(((not is_mask, rank, named, length), columns, ids))
    if not fitting:
        return None, several
    (_, rank, named, _), best, ids = max(fitting, key=lambda each: each[0])
    if rank == 0 and best_rank == 2:
        return None, several
    rows = table.get_paths(best)
    others = [
        ",".join(columns)
        for (is_image, _, number, _), columns, other in fitting
        if columns != best
        and is_image
        and number * 10 >= named * 9  # not an age or the like
        and any(
            a in ids and b in other and ids[a] != other[b] for a, b in zip(rows, table.get_paths(columns), strict=True)
        )
    ]
    return PathColumns(best, frozenset(ids.values()), next(iter(others), "")), several


def guess_columns(table: CsvTable, path: PathColumns, typed: TypedInput) -> TableReading:
    """Guess the columns beside the path, or take those that were typed."""
    is_other_side = path.other and [strip_side(path.other)] == [strip_side(each) for each in path.columns]
    second = path.other if is_other_side else None
    taken = [table.columns.index(each) for each in [*path.columns, *([second] if second else [])]]
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
    patient = guess_patient(table, taken)
    if typed.patient is not None:
        patient = find_column(table.columns, typed.patient)
    taken += [table.columns.index(each) for each in (split, patient) if each is not None]
    label = guess_label(table, taken)
    if typed.label is not None:
        columns = find_columns(table.columns, typed.label)
        label = LabelGuess(columns, [], True) if columns else None
    return TableReading(table, path, second, label, patient, split, words)


def strip_side(head: str) -> frozenset[str]:
    """The words of a head without those of a side: "Left-Fundus" and "Right-Fundus" differ in nothing else."""
    return frozenset(list_head_words(head) - SIDE_WORDS)


def check_typed_columns(
    typed: TypedInput, readings: list[TableReading], options: dict[str, Any] | None, folder: Path
) -> None:
    """Raise `ConfigError` for a typed column that the table does not have, or without a table that names images."""
    used = options or {"path": [column for each in readings for column in each.path.columns]}
    for key in ("path", "label", "patient", "split"):
        name, own = getattr(typed, key), used.get(key, key)
        if name in (None, NONE) or (key == "label" and options is not None):
            continue
        columns = [own] if isinstance(own, str) else own or []
        if key == "label" or not find_columns(columns, name):
            heads = [repr(head) for each in readings[:1] for head in each.table.columns]
            got = f"no such column, got {shorten_list(heads, MAX_COLUMNS)}" if heads else "no table names images there"
            raise ConfigError(f"{key}={name}: {folder}: {got}; type {key}=COLUMN")
