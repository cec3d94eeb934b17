"""Read a file of rows and columns as spreadsheets write it, with or without heads, and the labels in its cells."""

import codecs
import csv
import io
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from lowres_ssl.data.datasets import get_subset
from lowres_ssl.data.file_index import FileIndex, get_stem
from lowres_ssl.data.image_folder import is_junk
from lowres_ssl.errors import DataError

TABLE_SUFFIXES = (".csv", ".tsv")
COLUMN_SEPARATORS = ",;\t"
MAX_TABLE_BYTES = 256 * 10**6  # about two million rows; a table is read as a whole
UTF16_MARKS = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)  # that Excel writes first in its "Unicode text"
HEAD_SAMPLE = 50  # rows that show whether the first one is a row of heads
NO_LABEL = frozenset({"", "nan", "n/a"})
UNCERTAIN = frozenset({"-1", "-1.0", "-9", "-9.0", "-99", "-99.0", "-999", "-999.0"})
TRUE_WORDS = frozenset({"1", "1.0", "true", "yes"})
FALSE_WORDS = frozenset({"0", "0.0", "false", "no"}) | NO_LABEL | UNCERTAIN
LABEL_SEPARATORS = "|;,"


@dataclass(frozen=True)
class CsvTable:
    """Hold the number of each row, as a spreadsheet shows it (the heads are row 1), and its cells, as many as
    `columns`, without the spaces around them. Empty rows are left out. A table without a row of heads has some by
    content: `path` where files are named, `split` where train and test are, `label` for the only other column."""

    path: Path
    columns: tuple[str, ...]
    rows: tuple[tuple[int, tuple[str, ...]], ...]

    def get_cells(self, column: int) -> list[str]:
        return [cells[column] for _, cells in self.rows]

    def get_paths(self, columns: Sequence[str]) -> list[str]:
        """Join the columns of folders and name of each row. Raises `DataError` for one that there is not."""
        places = [self.get_column_index(each, "dataset.options.path") for each in columns]
        return ["/".join(cells[place] for place in places if cells[place]) for _, cells in self.rows]

    def get_column_index(self, column: str, key: str) -> int:
        """Find a column. `key` is what the user types to name another. Raises `DataError`."""
        if self.columns.count(column) == 1:
            return self.columns.index(column)
        if column in self.columns:
            raise DataError(f"{self.path}: several columns are named {column!r}, wanted one; rename the others")
        close = next((name for name in self.columns if name.lower() == column.lower()), "COLUMN")
        raise DataError(
            f"{self.path}: no column {column!r}, got {', '.join(map(repr, self.columns))}; type {key}={close}"
        )

    def find_column_index(self, column: str | None, key: str, default: str) -> int | None:
        """Find an optional column; None if it is None, or its default and not there. Raises `DataError`."""
        if column is None or (column == default and column not in self.columns):
            return None
        return self.get_column_index(column, key)


def read_table(path: Path, files: FileIndex) -> CsvTable:
    """Read a table in UTF-8, or in UTF-16 with its mark; empty cells at a row's end are left out. `files`: those of the
    set, which no head of a column names. Raises `DataError`."""
    text = read_table_text(path)
    first = text.partition("\n")[0]
    separator = max(COLUMN_SEPARATORS, key=first.count)
    if path.suffix.lower() == ".txt" and separator not in first:
        separator = " "
    rows: list[tuple[int, tuple[str, ...]]] = []
    number = 0
    try:
        reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator, strict=True)
        for number, row in enumerate(reader, start=1):
            cells = [cell.strip() for cell in row]
            width = len(rows[0][1]) if rows else 0
            while len(cells) > width and not cells[-1]:
                cells.pop()
            if not any(cells):
                continue
            if rows and len(cells) != width:
                raise DataError(
                    f"{path}, row {number}: got {len(cells)} cells, wanted {width} as in the first row; "
                    'a cell that holds the separator needs quotes ("...")'
                )
            rows.append((number, tuple(cells)))
    except csv.Error as error:
        raise DataError(
            f"{path}, row {number + 1}: not a row of a table ({error}), wanted no quote without its other one"
        ) from error
    if not rows:
        raise DataError(f"{path}: an empty table, wanted a row of heads, such as path,label, and a row an image")
    if heads := name_columns(rows, files):
        return CsvTable(path, heads, tuple(rows))
    return CsvTable(path, rows[0][1], tuple(rows[1:]))


def name_columns(rows: list[tuple[int, tuple[str, ...]]], files: FileIndex) -> tuple[str, ...] | None:
    """Name the columns of a table whose first row names a file, as most others of that column do; None where it has
    heads. A head may be called as a folder is, such as `images`, but has no separator then."""

    def names_file(cell: str) -> bool:
        return bool(files.find(cell)[0]) or ("/" in cell and bool(files.find_folder(cell)))

    sample = [cells for _, cells in rows[:HEAD_SAMPLE]]
    places = range(len(sample[0]))
    for path in sorted(places, key=lambda place: rank_path_cells([cells[place] for cells in sample]), reverse=True):
        if names_file(sample[0][path]) and 2 * sum(names_file(cells[path]) for cells in sample) > len(sample):
            split = [each for each in places if each != path and all(get_subset(cells[each]) for _, cells in rows)][:1]
            rest = [each for each in places if each != path and each not in split]
            names = {path: "path", **dict.fromkeys(split, "split"), **{each: f"column {each + 1}" for each in rest}}
            return tuple("label" if [each] == rest else names[each] for each in places)
    return None


def rank_path_cells(cells: Sequence[str]) -> int:
    """Rank cells by how much they look like files: 2 with a suffix or folder, as most have; 0 for bare numbers."""
    if 2 * sum("/" in cell or "\\" in cell or get_stem(cell) != cell.lower() for cell in cells) > len(cells):
        return 2
    return int(not all(map(str.isdecimal, cells)))


def read_table_text(path: Path) -> str:
    """Read the text without its byte order mark. Raises `DataError` if it is too large, or not UTF-8."""
    try:
        size = path.stat().st_size
        if size > MAX_TABLE_BYTES:
            raise DataError(f"{path}: got {size:,} bytes, wanted a table of at most {MAX_TABLE_BYTES:,}")
        content = path.read_bytes()
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror}); check the name and its permissions") from error
    try:
        text = content.decode("utf-16" if content.startswith(UTF16_MARKS) else "utf-8-sig")
    except UnicodeDecodeError as error:
        row = content.count(b"\n", 0, error.start) + 1
        raise DataError(
            f"{path}, row {row}: not UTF-8 text, perhaps Latin-1 or UTF-16; save it as 'CSV UTF-8' in the spreadsheet, "
            f"or type iconv -f latin1 -t utf-8 '{path}' > '{path.stem}-utf8{path.suffix}'"
        ) from error
    if "\0" in text:
        raise DataError(f"{path}, row {text.count(chr(10), 0, text.index(chr(0))) + 1}: got a zero byte, wanted text")
    return text


def list_tables(folder: Path, suffixes: Collection[str] = TABLE_SUFFIXES) -> list[Path]:
    """List the tables directly in a folder, by name."""
    return sorted(
        each
        for each in folder.iterdir()
        if each.suffix.lower() in suffixes and each.is_file() and not is_junk(each.name)
    )


def is_binary(cells: Iterable[str]) -> bool:
    """Whether cells are a column of a truth of 1 and 0, with blanks and -1 perhaps."""
    words = {cell.lower() for cell in cells}
    return words <= TRUE_WORDS | FALSE_WORDS and bool(words & TRUE_WORDS)


def list_true_columns(cells: Sequence[str], columns: Sequence[str], where: str) -> list[str]:
    """List the columns of a row that hold 1. Raises `DataError` for a cell that is no truth."""
    for cell, column in zip(cells, columns, strict=True):
        if cell.lower() not in TRUE_WORDS | FALSE_WORDS:
            raise DataError(f"{where}: {column} is {cell!r}, wanted 1 or 0 in each column of a class")
    return [column for cell, column in zip(cells, columns, strict=True) if cell.lower() in TRUE_WORDS]


class LabelCells:
    """Split the cells of a label column; all of them decide what separates labels, and whether -1 is a class.

    `|` separates always. `;` and `,` do where most cells with one are made of labels that others have alone, so that
    "adenoma, tubular" stays one. -1, and -9, -99 and -999, mean "uncertain" beside two other labels.
    """

    def __init__(self, cells: Iterable[str]) -> None:
        different = {strip_list(cell) for cell in cells}
        self.separator = next((each for each in LABEL_SEPARATORS if separates(each, different)), None)
        known = {cell for cell in different if cell.lower() not in NO_LABEL}
        self.missing = NO_LABEL | UNCERTAIN if len(known - UNCERTAIN) > 1 else NO_LABEL

    def is_missing(self, cell: str) -> bool:
        return cell.lower() in self.missing

    def split(self, cell: str) -> list[str]:
        """List the different labels in a cell."""
        text = strip_list(cell)
        parts = text.split(self.separator) if self.separator else [text]
        return list(dict.fromkeys(word for part in parts if (word := part.strip(" '\"")))) or [cell]


def strip_list(cell: str) -> str:
    """Write a list as Python prints it, ['a', 'b'], with | between its words."""
    return cell[1:-1].replace(",", "|") if cell[:1] + cell[-1:] == "[]" else cell


def separates(separator: str, cells: set[str]) -> bool:
    found = [[part.strip() for part in cell.split(separator)] for cell in cells if separator in cell]
    return bool(found) and (separator == "|" or 2 * sum(set(parts) <= cells for parts in found) > len(found))
