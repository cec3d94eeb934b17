"""Read a table that names the images: a row an image, with its path, its label, and perhaps its patient and subset."""

import csv
import io
import os
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from lowres_ssl.data.datasets import Listing, Source, get_subset, is_junk, make_portable
from lowres_ssl.errors import DataError

TABLE_SUFFIXES = frozenset({".csv", ".tsv"})
COLUMN_SEPARATORS = ",;\t"
MAX_TABLE_BYTES = 256 * 10**6  # about two million rows; a table is read as a whole
OPTIONS_KEY = "dataset.options"


@dataclass(frozen=True)
class CsvTable:
    """Hold the number of each row, as a spreadsheet shows it (the heads are row 1), and its cells, as many as
    `columns`, without the spaces around them. Empty rows are left out."""

    path: Path
    columns: tuple[str, ...]
    rows: tuple[tuple[int, tuple[str, ...]], ...]

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


def read_table(path: Path) -> CsvTable:
    """Read a table in UTF-8 with a row of heads; empty cells at a row's end are left out. Raises `DataError`."""
    text = read_table_text(path)
    separator = max(COLUMN_SEPARATORS, key=text.partition("\n")[0].count)
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
                    f"{path}, row {number}: got {len(cells)} cells, wanted {width} as in the row of heads; "
                    'a cell that holds the separator needs quotes ("...")'
                )
            rows.append((number, tuple(cells)))
    except csv.Error as error:
        raise DataError(
            f"{path}, row {number + 1}: not a row of a table ({error}), wanted no quote without its other one"
        ) from error
    if not rows:
        raise DataError(f"{path}: an empty table, wanted a row of heads, such as path,label, and a row an image")
    return CsvTable(path, rows[0][1], tuple(rows[1:]))


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
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        row = content.count(b"\n", 0, error.start) + 1
        raise DataError(
            f"{path}, row {row}: not UTF-8 text, perhaps Latin-1 or UTF-16; save it as 'CSV UTF-8' in the spreadsheet, "
            "or type iconv -f latin1 -t utf-8"
        ) from error
    if "\0" in text:
        raise DataError(f"{path}, row {text.count(chr(10), 0, text.index(chr(0))) + 1}: got a zero byte, wanted text")
    return text


class CsvReader(Source):
    """Read the set that a table lists.

    `table` is the file, in the root or elsewhere; None: the only `.csv` or `.tsv` directly in the root.
    `path`, `label`, `patient` and `split` are names of columns. The last two are optional under their default names;
    None: not used. `suffix` is appended to each path, for tables that leave `.jpg` out. Paths are relative to the root,
    or to the table's folder; none may lead out of the root. The format is read from a file's content, whatever its
    name. `skip_missing` skips rows whose file is missing.
    """

    layout: ClassVar[str] = "a .csv or .tsv file in it, with the columns path and label"
    official_default: ClassVar[bool] = True

    def __init__(
        self,
        table: str | None = None,
        path: str = "path",
        label: str = "label",
        patient: str | None = "patient",
        split: str | None = "split",
        suffix: str = "",
        skip_missing: bool = False,
    ) -> None:
        self.table, self.suffix, self.skip_missing = table, suffix, skip_missing
        self.path, self.label, self.patient, self.split = path, label, patient, split

    def listings(self, root: Path) -> list[Listing]:
        """Raises `DataError`, which names the row."""
        root = root.resolve()
        table = read_table(self.find_table(root))
        at_path = table.get_column_index(self.path, f"{OPTIONS_KEY}.path")
        at_label = table.get_column_index(self.label, f"{OPTIONS_KEY}.label")
        at_patient = table.find_column_index(self.patient, f"{OPTIONS_KEY}.patient", "patient")
        at_split = table.find_column_index(self.split, f"{OPTIONS_KEY}.split", "split")
        if at_split is not None and not any(cells[at_split] for _, cells in table.rows):
            at_split = None
        found: dict[str, tuple[int, Listing]] = {}
        repeated = 0
        missing: list[tuple[int, str]] = []
        for number, cells in table.rows:
            where = f"{table.path}, row {number}"
            file, id = self.resolve_file(cells[at_path], root, table.path.parent, where)
            if not is_existing_file(file):
                missing.append((number, cells[at_path]))
                continue
            if not cells[at_label]:
                raise DataError(
                    f"{where}: {id} has no label, wanted one in each row; take the row out (a folder of images "
                    "without labels can be named with dataset.unlabelled=FOLDER)"
                )
            group = None if at_patient is None else cells[at_patient] or None
            subset = None if at_split is None else parse_subset(cells[at_split], where)
            listing = Listing(file, id, cells[at_label], group, subset)
            row, known = found.setdefault(id, (number, listing))
            if known != listing:
                raise DataError(
                    f"{where}: {id} has another label, patient or split than in row {row}, wanted the same; take one "
                    "of the rows out"
                )
            repeated += row != number
        if missing:
            self.report_missing_files(missing, table, root)
        subsets = {listing.subset for _, listing in found.values()} - {None}
        if subsets and not {"train", "test"} <= subsets:
            got = " and ".join(sorted(filter(None, subsets)))
            self.notes.append(
                f"the column {self.split} of {table.path.name} has {got} only: used by split=official only"
            )
        if repeated:
            self.notes.append(f"{repeated} rows of {table.path.name} repeat a row above: skipped")
        return sorted((listing for _, listing in found.values()), key=lambda each: each.id)

    def find_table(self, root: Path) -> Path:
        """Find the table. Raises `DataError` if it is not named and not the only one."""
        if self.table is not None:
            inside = root / self.table
            return inside if inside.is_file() else Path(self.table)
        if not root.is_dir():
            raise DataError(f"{root}: no such folder, wanted the one with the images; type dataset.root=FOLDER")
        tables = list_tables(root)
        if len(tables) != 1:
            got = ", ".join(each.name for each in tables) or "none"
            raise DataError(f"{root}: which table? got {got}, wanted one .csv or .tsv; type {OPTIONS_KEY}.table=FILE")
        return tables[0]

    def resolve_file(self, cell: str, root: Path, beside: Path, where: str) -> tuple[Path, str]:
        """Return the absolute path of the file that a cell names, which may be missing, and its id. Nothing in the
        table is trusted: raises `DataError` for a path that leads out of the root."""
        if not cell:
            raise DataError(f"{where}: got no path, wanted one in each row")
        candidates = [
            Path(os.path.normpath(folder / name))
            for name in list_spellings(cell + self.suffix)
            for folder in (root, beside)
        ]
        inside = [each for each in candidates if each.is_relative_to(root) and each != root]
        if not inside:
            raise DataError(
                f"{where}: {cell} leads out of {root}, wanted a path below it; name the folder that holds all of them "
                "with dataset.root=FOLDER"
            )
        file = next(filter(is_existing_file, inside), inside[0])
        return file, "/".join(map(make_portable, file.relative_to(root).parts))

    def report_missing_files(self, missing: list[tuple[int, str]], table: CsvTable, root: Path) -> None:
        """Add a note on missing files; raise `DataError` without `skip_missing`, or if all are missing."""
        number, name = missing[0]
        if not self.skip_missing:
            more = f" (and those of {len(missing) - 1} more rows)" if len(missing) > 1 else ""
            raise DataError(
                f"{table.path}, row {number}: {name}{self.suffix} is not there{more}, wanted a file below {root}; "
                f"{OPTIONS_KEY}.skip_missing=true leaves such rows out, "
                f"{OPTIONS_KEY}.suffix=.jpg puts .jpg behind each path"
            )
        if len(missing) == len(table.rows):
            raise DataError(f"{table.path}: none of its {len(missing)} files is below {root}; check dataset.root")
        self.notes.append(f"{len(missing)} rows of {table.path.name} name a missing file: skipped")


def is_existing_file(file: Path) -> bool:
    return os.path.isfile(file)  # noqa: PTH113 - `Path.is_file` raises for a name that is too long


def list_spellings(name: str) -> list[str]:
    """List a path as it is typed, and with Windows' separators replaced."""
    return [name, name.replace("\\", "/")] if "\\" in name else [name]


def list_tables(folder: Path) -> list[Path]:
    """List the tables directly in a folder, by name."""
    return sorted(
        each
        for each in folder.iterdir()
        if each.suffix.lower() in TABLE_SUFFIXES and each.is_file() and not is_junk(each.name)
    )


def parse_subset(word: str, where: str) -> str:
    subset = get_subset(word)
    if subset is None:
        raise DataError(
            f"{where}: split is {word!r}, wanted train, val or test; if the column means something else, type "
            f"{OPTIONS_KEY}.split=null"
        )
    return subset
