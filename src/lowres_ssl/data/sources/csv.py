"""A table that names the images: a row an image, with its path and its label, and perhaps its patient and its side."""

import os
from pathlib import Path
from typing import ClassVar

from lowres_ssl.data.sources import SIDES, Listing, Source, is_junk, portable
from lowres_ssl.data.table_file import SUFFIXES, Table, read_table
from lowres_ssl.errors import DataError

OPTIONS = "dataset.options"
DEFAULTS = {"patient": "patient", "split": "split"}  # columns that need not be there


class Csv(Source):
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
        table = read_table(self.table_in(root))
        at_path, at_label = table.place_of(self.path, f"{OPTIONS}.path"), table.place_of(self.label, f"{OPTIONS}.label")
        at_patient, at_split = self.optional(table, "patient"), self.optional(table, "split")
        if at_split is not None and not any(cells[at_split] for _, cells in table.rows):
            at_split = None
        found: dict[str, tuple[int, Listing]] = {}
        twice = 0
        missing: list[tuple[int, str]] = []
        for number, cells in table.rows:
            where = f"{table.path}, row {number}"
            file, id = self.file_of(cells[at_path], root, table.path.parent, where)
            if not is_there(file):
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
                side=None if at_split is None else side_of(cells[at_split], where),
            )
            if id in found:
                twice += 1
                refuse_other(found[id], (number, listing), table)
            found.setdefault(id, (number, listing))
        if missing:
            self.tell_missing(missing, table, root)
        sides = {listing.side for _, listing in found.values()} - {None}
        if sides and not {"train", "test"} <= sides:
            got = " and ".join(sorted(side for side in sides if side))
            self.notes.append(
                f"the column {self.split} of {table.path.name} says {got} only: not used unless asked for"
            )
        if twice:
            self.notes.append(f"{twice} rows of {table.path.name} say the same of a file as a row above: left out")
        return sorted((listing for _, listing in found.values()), key=lambda each: each.id)

    def table_in(self, root: Path) -> Path:
        """Where the table is. Raises `DataError` if it is not told, or not there."""
        if self.table is not None:
            inside = root / self.table
            return inside if inside.is_file() else Path(self.table)
        if not root.is_dir():
            raise DataError(f"{root}: no such folder, wanted the one with the images; type dataset.root=FOLDER")
        tables = tables_in(root)
        if len(tables) != 1:
            got = ", ".join(each.name for each in tables) or "none"
            raise DataError(f"{root}: which table? got {got}, wanted one .csv or .tsv; type {OPTIONS}.table=FILE")
        return tables[0]

    def optional(self, table: Table, which: str) -> int | None:
        """Where a column stands that need not be there."""
        column = {"patient": self.patient, "split": self.split}[which]
        if column is None or (column == DEFAULTS[which] and column not in table.columns):
            return None
        return table.place_of(column, f"{OPTIONS}.{which}")

    def file_of(self, cell: str, root: Path, beside: Path, where: str) -> tuple[Path, str]:
        """The absolute path of the file that a cell names, which need not be there, and its id. Nothing in the table is
        trusted: raises `DataError` for a path that leads out of the root."""
        if not cell:
            raise DataError(f"{where}: got no path, wanted one in each row")
        name = cell + self.suffix
        candidates = [Path(os.path.normpath(folder / spelt)) for spelt in spellings(name) for folder in (root, beside)]
        inside = [each for each in candidates if each.is_relative_to(root) and each != root]
        if not inside:
            raise DataError(
                f"{where}: {cell} leads out of {root}, wanted a path below it; name the folder that holds all of them "
                "with dataset.root=FOLDER"
            )
        file = next(filter(is_there, inside), inside[0])
        return file, "/".join(map(portable, file.relative_to(root).parts))

    def tell_missing(self, missing: list[tuple[int, str]], table: Table, root: Path) -> None:
        number, name = missing[0]
        more = f" (and those of {len(missing) - 1} more rows)" if len(missing) > 1 else ""
        if not self.skip_missing:
            raise DataError(
                f"{table.path}, row {number}: {name}{self.suffix} is not there{more}, wanted a file below {root}; "
                f"{OPTIONS}.skip_missing=true leaves such rows out, {OPTIONS}.suffix=.jpg puts .jpg behind each path"
            )
        if len(missing) == len(table.rows):
            raise DataError(f"{table.path}: none of its {len(missing)} files is below {root}; check dataset.root")
        self.notes.append(f"{len(missing)} rows of {table.path.name} name a file that is not there: left out")


def is_there(file: Path) -> bool:
    """Whether it is a file; a name that is longer than any file's is none."""
    try:
        return file.is_file()
    except OSError:
        return False


def spellings(name: str) -> list[str]:
    """As it stands, and as Windows means it."""
    return [name, name.replace("\\", "/")] if "\\" in name else [name]


def tables_in(folder: Path) -> list[Path]:
    """The tables directly in a folder, by name."""
    return sorted(
        each
        for each in folder.iterdir()
        if each.suffix.lower() in SUFFIXES and each.is_file() and not is_junk(each.name)
    )


def side_of(word: str, where: str) -> str:
    if word.lower() not in SIDES:
        raise DataError(
            f"{where}: split is {word!r}, wanted train, val or test; if the column means something else, type "
            f"{OPTIONS}.split=null"
        )
    return SIDES[word.lower()]


def refuse_other(first: tuple[int, Listing], second: tuple[int, Listing], table: Table) -> None:
    """Raises `DataError` if two rows say different things of one file."""
    (row, known), (number, listing) = first, second
    for what in ("label", "group", "side"):
        if getattr(known, what) != getattr(listing, what):
            column = {"label": "labels", "group": "patients", "side": "splits"}[what]
            raise DataError(
                f"{table.path}, row {number}: {listing.id} has two {column}, {getattr(known, what)!r} in row {row} and "
                f"{getattr(listing, what)!r} here, wanted one; take one of the rows out"
            )
