"""A table in a text file -> its rows, each with its number. What the columns mean is not known here.

Spreadsheets write such files in several ways; what cannot be read for certain is refused with the row that it is in.
"""

import csv
import io
from collections.abc import Iterator
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path

from lowres_ssl.errors import DataError

SUFFIXES = frozenset({".csv", ".tsv"})
SEPARATORS = ",;\t"
MOST_BYTES = 256 * 10**6  # about two million rows; a table of labels is read as a whole
UTF_16 = (b"\xff\xfe", b"\xfe\xff")


@dataclass(frozen=True)
class Table:
    """`rows`: the number of each row, as a spreadsheet shows it (the heads are row 1), and its cells, as many as
    `columns`, without the spaces around them. Empty rows are left out."""

    path: Path
    columns: tuple[str, ...]
    rows: tuple[tuple[int, tuple[str, ...]], ...]

    def place_of(self, column: str, key: str) -> int:
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


def read_table(path: Path) -> Table:
    """Raises `DataError` for what is no table in UTF-8 with a row of heads."""
    text = text_in(path)
    first = text.partition("\n")[0]
    separator = max(SEPARATORS, key=lambda each: first.count(each))
    rows = list(rows_in(path, text, separator))
    if not rows:
        raise DataError(f"{path}: an empty table, wanted a row of heads, such as path,label, and a row an image")
    (_, columns), *below = rows
    for number, cells in below:
        if len(cells) != len(columns):
            raise DataError(
                f"{path}, row {number}: got {len(cells)} cells, wanted {len(columns)} as in the row of heads; "
                'a cell that holds the separator needs quotes ("...")'
            )
    return Table(path, tuple(columns), tuple((number, tuple(cells)) for number, cells in below))


def text_in(path: Path) -> str:
    """The file's text. Raises `DataError` if it is too large, or not UTF-8 (a byte order mark is left out)."""
    try:
        size = path.stat().st_size
        if size > MOST_BYTES:
            raise DataError(f"{path}: got {size:,} bytes, wanted a table of at most {MOST_BYTES:,}")
        content = path.read_bytes()
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror}); check the name and its permissions") from error
    if content.startswith(UTF_16):
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


def rows_in(path: Path, text: str, separator: str) -> Iterator[tuple[int, list[str]]]:
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
