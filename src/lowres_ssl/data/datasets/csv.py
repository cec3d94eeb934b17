"""A table that names the images: a row an image, with its path and its label, and perhaps its patient and its side."""

import csv
import io
import os
from collections.abc import Iterator
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import ClassVar

from lowres_ssl.data.datasets import SIDES, Listing, Source, is_junk, portable
from lowres_ssl.errors import DataError

TABLE_SUFFIXES = frozenset({".csv", ".tsv"})
COLUMN_SEPARATORS = ",;\t"
MAX_TABLE_BYTES = 256 * 10**6  # about two million rows; a table of labels is read as a whole
UTF_16_MARKS = (b"\xff\xfe", b"\xfe\xff")


@dataclass(frozen=True)
class CsvTable:
    """`rows`: the number of each row, as a spreadsheet shows it (the heads are row 1), and its cells, as many as
    `columns`, without the spaces around them. Empty rows are left out."""

    path: Path
    columns: tuple[str, ...]
    rows: tuple[tuple[int, tuple[str, ...]], ...]

    def get_column_index(self, column: str, key: str) -> int:
        """Where the column stands. `key` is what the user types to name another. Raises `DataError`."""
        places = [place for place, name in enumerate(self.columns) if name == column]
        if len(places) == 1:
            return places[0]
        if places:
            raise DataError(f"{self.path}: {len(places)} columns are named {column!r}, wanted one; rename the others")
        close = get_close_matches(column.lower(), [name.lower() for name in self.columns if name], n=1)
        meant = next((name for name in self.columns if close and name.lower() == close[0]), "COLUMN")
        raise DataError(
            f"{self.path}: no column {column!r}, got {', '.join(map(repr, self.columns))}; type {key}={meant}"
        )


def read_table(path: Path) -> CsvTable:
    """Raises `DataError` for what is no table in UTF-8 with a row of heads."""
    text = read_table_text(path)
    first = text.partition("\n")[0]
    separator = max(COLUMN_SEPARATORS, key=lambda each: first.count(each))
    rows = list(parse_rows(path, text, separator))
    if not rows:
        raise DataError(f"{path}: an empty table, wanted a row of heads, such as path,label, and a row an image")
    (_, columns), *below = rows
    for number, cells in below:
        if len(cells) != len(columns):
            raise DataError(
                f"{path}, row {number}: got {len(cells)} cells, wanted {len(columns)} as in the row of heads; "
                'a cell that holds the separator needs quotes ("...")'
            )
    return CsvTable(path, tuple(columns), tuple((number, tuple(cells)) for number, cells in below))


def read_table_text(path: Path) -> str:
    """The file's text. Raises `DataError` if it is too large, or not UTF-8 (a byte order mark is left out)."""
    try:
        size = path.stat().st_size
        if size > MAX_TABLE_BYTES:
            raise DataError(f"{path}: got {size:,} bytes, wanted a table of at most {MAX_TABLE_BYTES:,}")
        content = path.read_bytes()
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror}); check the name and its permissions") from error
    if content.startswith(UTF_16_MARKS):
        raise DataError(f"{path}: its text is UTF-16, wanted UTF-8; save it as 'CSV UTF-8' in the spreadsheet")
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        row = content.count(b"\n", 0, error.start) + 1
        raise DataError(
            f"{path}, row {row}: not UTF-8 text, perhaps Latin-1; save it as 'CSV UTF-8' in the spreadsheet, or type "
            "iconv -f latin1 -t utf-8"
        ) from error
    if "\0" in text:
        raise DataError(f"{path}, row {text.count(chr(10), 0, text.index(chr(0))) + 1}: got a zero byte, wanted text")
    return text


def parse_rows(path: Path, text: str, separator: str) -> Iterator[tuple[int, list[str]]]:
    """Each row that is not empty, with its number. Cells that a spreadsheet adds at the end are left out."""
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator, strict=True)
    width, number = 0, 0
    while True:
        number += 1
        try:
            cells = [cell.strip() for cell in next(reader)]
        except StopIteration:
            return
        except csv.Error as error:
            raise DataError(
                f"{path}, row {number}: not a row of a table ({error}), wanted no quote without its other one"
            ) from error
        if not any(cells):
            continue
        if width == 0:
            while not cells[-1]:
                cells.pop()
            width = len(cells)
        while len(cells) > width and not cells[-1]:
            cells.pop()
        yield number, cells


OPTIONS_KEY = "dataset.options"
DEFAULT_COLUMNS = {"patient": "patient", "split": "split"}  # columns that need not be there


class CsvReader(Source):
    """`table` is the file, in the root or elsewhere; None: the only `.csv` or `.tsv` directly in the root.

    `path`, `label`, `patient` and `split` are names of columns. The last two need not be there, unless they are named
    otherwise; None: not used. `suffix` is put behind each path, for tables that leave `.jpg` out. Paths are relative to
    the root, or to the table's folder; none may lead out of the root. What a file holds decides how it is read, so that
    it may be called anything. `skip_missing` leaves rows out whose file is not there.
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
        self.table = table
        self.path = path
        self.label = label
        self.patient = patient
        self.split = split
        self.suffix = suffix
        self.skip_missing = skip_missing

    def listings(self, root: Path) -> list[Listing]:
        """Raises `DataError`, which names the row."""
        root = root.resolve()
        table = read_table(self.find_table(root))
        at_path, at_label = (
            table.get_column_index(self.path, f"{OPTIONS_KEY}.path"),
            table.get_column_index(self.label, f"{OPTIONS_KEY}.label"),
        )
        at_patient, at_split = self.optional(table, "patient"), self.optional(table, "split")
        if at_split is not None and not any(cells[at_split] for _, cells in table.rows):
            at_split = None
        found: dict[str, tuple[int, Listing]] = {}
        twice = 0
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
            listing = Listing(
                path=file,
                id=id,
                label=cells[at_label],
                group=None if at_patient is None else cells[at_patient] or None,
                side=None if at_split is None else parse_subset(cells[at_split], where),
            )
            if id in found:
                twice += 1
                check_same_listing(found[id], (number, listing), table)
            found.setdefault(id, (number, listing))
        if missing:
            self.warn_of_missing(missing, table, root)
        sides = {listing.side for _, listing in found.values()} - {None}
        if sides and not {"train", "test"} <= sides:
            got = " and ".join(sorted(side for side in sides if side))
            self.notes.append(
                f"the column {self.split} of {table.path.name} says {got} only: not used unless asked for"
            )
        if twice:
            self.notes.append(f"{twice} rows of {table.path.name} say the same of a file as a row above: left out")
        return sorted((listing for _, listing in found.values()), key=lambda each: each.id)

    def find_table(self, root: Path) -> Path:
        """Where the table is. Raises `DataError` if it is not told, or not there."""
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

    def optional(self, table: CsvTable, which: str) -> int | None:
        """Where a column stands that need not be there."""
        column = {"patient": self.patient, "split": self.split}[which]
        if column is None or (column == DEFAULT_COLUMNS[which] and column not in table.columns):
            return None
        return table.get_column_index(column, f"{OPTIONS_KEY}.{which}")

    def resolve_file(self, cell: str, root: Path, beside: Path, where: str) -> tuple[Path, str]:
        """The absolute path of the file that a cell names, which need not be there, and its id. Nothing in the table is
        trusted: raises `DataError` for a path that leads out of the root."""
        if not cell:
            raise DataError(f"{where}: got no path, wanted one in each row")
        name = cell + self.suffix
        candidates = [
            Path(os.path.normpath(folder / spelt)) for spelt in list_spellings(name) for folder in (root, beside)
        ]
        inside = [each for each in candidates if each.is_relative_to(root) and each != root]
        if not inside:
            raise DataError(
                f"{where}: {cell} leads out of {root}, wanted a path below it; name the folder that holds all of them "
                "with dataset.root=FOLDER"
            )
        file = next(filter(is_existing_file, inside), inside[0])
        return file, "/".join(map(portable, file.relative_to(root).parts))

    def warn_of_missing(self, missing: list[tuple[int, str]], table: CsvTable, root: Path) -> None:
        number, name = missing[0]
        more = f" (and those of {len(missing) - 1} more rows)" if len(missing) > 1 else ""
        if not self.skip_missing:
            raise DataError(
                f"{table.path}, row {number}: {name}{self.suffix} is not there{more}, wanted a file below {root}; "
                f"{OPTIONS_KEY}.skip_missing=true leaves such rows out, "
                f"{OPTIONS_KEY}.suffix=.jpg puts .jpg behind each path"
            )
        if len(missing) == len(table.rows):
            raise DataError(f"{table.path}: none of its {len(missing)} files is below {root}; check dataset.root")
        self.notes.append(f"{len(missing)} rows of {table.path.name} name a file that is not there: left out")


def is_existing_file(file: Path) -> bool:
    """Whether it is a file; a name that is longer than any file's is none."""
    try:
        return file.is_file()
    except OSError:
        return False


def list_spellings(name: str) -> list[str]:
    """As it stands, and as Windows means it."""
    return [name, name.replace("\\", "/")] if "\\" in name else [name]


def list_tables(folder: Path) -> list[Path]:
    """The tables directly in a folder, by name."""
    return sorted(
        each
        for each in folder.iterdir()
        if each.suffix.lower() in TABLE_SUFFIXES and each.is_file() and not is_junk(each.name)
    )


def parse_subset(word: str, where: str) -> str:
    if word.lower() not in SIDES:
        raise DataError(
            f"{where}: split is {word!r}, wanted train, val or test; if the column means something else, type "
            f"{OPTIONS_KEY}.split=null"
        )
    return SIDES[word.lower()]


def check_same_listing(first: tuple[int, Listing], second: tuple[int, Listing], table: CsvTable) -> None:
    """Raises `DataError` if two rows say different things of one file."""
    (row, known), (number, listing) = first, second
    for what in ("label", "group", "side"):
        if getattr(known, what) != getattr(listing, what):
            column = {"label": "labels", "group": "patients", "side": "splits"}[what]
            raise DataError(
                f"{table.path}, row {number}: {listing.id} has two {column}, {getattr(known, what)!r} in row {row} and "
                f"{getattr(listing, what)!r} here, wanted one; take one of the rows out"
            )
