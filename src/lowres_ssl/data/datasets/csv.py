"""Read tables that name the images: a row an image, with its path, its label, and perhaps its patient and subset."""

import os
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Literal

from lowres_ssl.data.csv_table import CsvTable, LabelCells, list_tables, list_true_columns, read_table
from lowres_ssl.data.datasets import IdPattern, Listing, Source
from lowres_ssl.data.file_index import FileIndex, list_endings
from lowres_ssl.data.image_folder import ImageFolder, make_portable
from lowres_ssl.data.split_words import SplitWords, guess_table_subset
from lowres_ssl.errors import DataError

OPTIONS_KEY = "dataset.options"


@dataclass
class Entry:
    """Hold what the rows of one image have: the number of the first one, and where it is."""

    row: int
    where: str
    file: Path
    labels: list[str]
    group: str | None
    subset: str | None


@dataclass
class Rows:
    """Collect the images of all tables by id; count rows that repeat others, and those left out (`missing` files,
    `unlabelled`) or that have `several` labels, with an `example`."""

    found: dict[str, Entry] = field(default_factory=dict)
    repeated: int = 0
    left_out: Counter[str] = field(default_factory=Counter)
    example: str = ""


@dataclass(eq=False)
class CsvReader(Source):
    """Read the set that one or several tables list.

    `table` is the file or the files, in the root or elsewhere; None: the only `.csv` or `.tsv` directly in the root.
    `path`, `label`, `patient` and `split` are names of columns. The last two are optional under their default names;
    None: not used. A list of paths is columns of folders and the name; a list of labels is a column a class, of which
    one holds 1. `second_path` is a column of another image of the row, such as the other eye, with the same label and
    patient (without patients, the images of a row are one). `split_words` maps train, val and test to the words of the
    split column; without such a column, each of several tables is the subset that it, or its folder, is named after.
    Patients may be in another table, `patient_table`, with the same path column, or in the ids (`group_pattern`).

    Paths are relative to the root, to the table's folder or to a folder above the root; a name that there is once is
    found anywhere below the root, with or without its suffix, and a folder stands for all images in it, one group if
    they have no patient. None may lead out of the root. `suffix` is appended to each path. The format is read from a
    file's content, whatever its name.
    `skip_missing` skips rows whose file is missing, `skip_unlabelled` those without a label. `several_labels`: skip the
    images that have several, or take the first label; None: in a cell they are one class, in several rows an error.
    """

    layout: ClassVar[str] = "a .csv or .tsv file in it, with the columns path and label"
    official_default: ClassVar[bool] = True

    table: str | list[str] | None = None
    path: str | list[str] = "path"
    second_path: str | None = None
    label: str | list[str] = "label"
    patient: str | None = "patient"
    split: str | None = "split"
    suffix: str = ""
    skip_missing: bool = False
    skip_unlabelled: bool = False
    several_labels: Literal["skip", "first"] | None = None
    split_words: dict[str, Any] | None = None
    patient_table: str | None = None
    group_pattern: str | None = None

    def __post_init__(self) -> None:
        self.tables = [self.table] if isinstance(self.table, str) else self.table
        self.paths = [self.path] if isinstance(self.path, str) else self.path
        self.labels = [self.label] if isinstance(self.label, str) else self.label
        self.subsets = SplitWords(self.split_words)
        self.pattern = None if self.group_pattern is None else IdPattern("group_pattern", self.group_pattern)
        self.left_out = Counter[str]()
        self.grouped_by_folder = False

    def listings(self, folder: ImageFolder) -> list[Listing]:
        """Raises `DataError`, which names the row."""
        files, rows = FileIndex(folder), Rows()
        tables = [read_table(path, files) for path in self.find_tables(folder.top)]
        patients = self.read_patients(folder.top, files)
        for table in tables:
            subset = guess_table_subset(table.path, folder.top) if len(tables) > 1 else None
            self.read_rows(table, files, rows, subset, patients)
        if rows.left_out["missing"] and not rows.found:
            missing = rows.left_out["missing"]
            raise DataError(f"{tables[0].path}: none of its {missing} files is below {folder.root}; check dataset.root")
        listings = self.choose_labels(rows)
        self.left_out = rows.left_out
        self.notes += self.describe_rows(rows, {each.subset for each in listings} - {None}, tables[0].path.name)
        if self.pattern is not None:
            self.pattern.check_fits([each.id for each in listings])
        return sorted(listings, key=lambda each: each.id)

    def find_tables(self, root: Path) -> list[Path]:
        """Find the tables. Raises `DataError` if none is named and there is not one only."""
        if self.tables is not None:
            return [find_named_table(root, name) for name in self.tables]
        tables = list_tables(root)
        if len(tables) != 1:
            got = ", ".join(each.name for each in tables[:5]) or "none"
            raise DataError(f"{root}: which table? got {got}, wanted one .csv or .tsv; type {OPTIONS_KEY}.table=FILE")
        return tables

    def read_patients(self, root: Path, files: FileIndex) -> dict[str, str]:
        """Map the paths of another table to its patients."""
        if self.patient_table is None or self.patient is None:
            return {}
        table = read_table(find_named_table(root, self.patient_table), files)
        patient = table.get_column_index(self.patient, f"{OPTIONS_KEY}.patient")
        return dict(zip(table.get_paths(self.paths), table.get_cells(patient), strict=True))

    def read_rows(
        self, table: CsvTable, files: FileIndex, rows: Rows, subset: str | None, patients: dict[str, str]
    ) -> None:
        """Add the rows of one table. `subset`: the one of a table without a split column."""
        paths = table.get_paths(self.paths)
        images_of_rows = list(zip(paths, paths, table.rows, strict=True))
        if self.second_path is not None:
            seconds = zip(table.get_paths([self.second_path]), paths, table.rows, strict=True)
            images_of_rows += [each for each in seconds if each[0]]
        at_labels = [table.get_column_index(each, f"{OPTIONS_KEY}.label") for each in self.labels]
        at_split = table.find_column_index(self.split, f"{OPTIONS_KEY}.split", "split")
        if at_split is not None and not any(table.get_cells(at_split)):
            at_split = None
        at_patient = None
        if self.patient_table is None:
            at_patient = table.find_column_index(self.patient, f"{OPTIONS_KEY}.patient", "patient")
        cells_of_label = LabelCells(table.get_cells(at_labels[0]) if len(at_labels) == 1 else ())
        endings = Counter(ending for path in {each[0] for each in images_of_rows} for ending in list_endings(path))
        missing: list[tuple[int, str]] = []
        for path, first, (number, cells) in images_of_rows:
            where = f"{table.path}, row {number}"
            images = self.find_images(path, files, table.path, where, endings)
            if not images:
                if not (self.exclude and self.exclude.search(make_portable(path + self.suffix))):
                    missing.append((number, path))
                continue
            if len(at_labels) > 1:
                labels = list_true_columns([cells[at] for at in at_labels], self.labels, where)
            elif not (cell := cells[at_labels[0]]) or (self.skip_unlabelled and cells_of_label.is_missing(cell)):
                labels = []
            else:
                labels = cells_of_label.split(cell)
            if not labels and not self.skip_unlabelled:
                raise DataError(
                    f"{where}: {images[0][1]} has no label, wanted one in each row; "
                    f"{OPTIONS_KEY}.skip_unlabelled=true leaves such rows out (a folder of images without labels can "
                    "be named with dataset.unlabelled=FOLDER)"
                )
            if not labels:
                rows.left_out["unlabelled"] += 1
                continue
            for file, id in images:
                group = patients.get(path) if at_patient is None else cells[at_patient]
                if self.pattern is not None and not group:
                    group = self.pattern.search(id)
                if self.second_path is not None and not group:
                    group = first
                if len(images) > 1 and not group:
                    group, self.grouped_by_folder = first, True
                own = subset if at_split is None else self.subsets.parse(cells[at_split], where)
                self.add_image(rows, id, Entry(number, where, file, labels, group or None, own))
        self.report_missing_files(missing, table, files, rows)

    def add_image(self, rows: Rows, id: str, new: Entry) -> None:
        """Add a row of an image. Raises `DataError` where it contradicts the one before."""
        known = rows.found.setdefault(id, new)
        if known is new:
            return
        if (known.file, known.group, known.subset) != (new.file, new.group, new.subset) or (
            known.labels != new.labels and self.several_labels is None
        ):
            raise DataError(
                f"{new.where}: {id} has another label, patient or split than in row {known.row}, wanted the same; take "
                f"one of the rows out ({OPTIONS_KEY}.several_labels=skip leaves images of several labels out)"
            )
        rows.repeated += 1
        known.labels = list(dict.fromkeys([*known.labels, *new.labels]))

    def choose_labels(self, rows: Rows) -> list[Listing]:
        """Make one label of those of each image."""
        listings = []
        for id, entry in rows.found.items():
            if len(entry.labels) > 1:
                rows.left_out["several"] += 1
                rows.example = rows.example or "|".join(entry.labels)
                if self.several_labels == "skip":
                    continue
            label = entry.labels[0] if self.several_labels else "|".join(entry.labels)
            listings.append(Listing(entry.file, id, label, entry.group, entry.subset))
        return listings

    def find_images(
        self, cell: str, files: FileIndex, table: Path, where: str, endings: Counter[str]
    ) -> list[tuple[Path, str]]:
        """Return the path and the id of the image that a cell names, or of all images in the folder that it names;
        none if there is none, or not one only. Nothing in the table is trusted: raises `DataError` for a path that
        leads out of the root. `endings`: how often the table has each end of a path."""
        if not cell:
            raise DataError(f"{where}: got no path, wanted one in each row")
        top = os.path.join(files.folder.top, "")  # noqa: PTH118 - text, of 100,000 rows
        places = dict.fromkeys(
            os.path.normpath(os.path.join(folder, name))  # noqa: PTH118 - text, of 100,000 rows
            for name in list_spellings(cell + self.suffix)
            for folder in (files.folder.top, table.parent)
        )
        inside = [make_portable(each.removeprefix(top)) for each in places if each.startswith(top)]
        if (known := next((id for id in inside if id in files.all_paths), None)) is not None:
            return [(files.all_paths[known], known)]
        ids, ending = files.find(cell + self.suffix, table)
        if len(ids) == 1 and endings[ending] <= 1:
            return [(files.paths[ids[0]], ids[0])]
        if not ids and (folder := files.find_folder(cell)):
            return [(files.paths[id], id) for id in folder]
        if not inside:
            raise DataError(
                f"{where}: {cell} leads out of {files.folder.root}, wanted a path below it; name the folder that holds "
                "all of them with dataset.root=FOLDER"
            )
        return []

    def report_missing_files(
        self, missing: list[tuple[int, str]], table: CsvTable, files: FileIndex, rows: Rows
    ) -> None:
        """Count missing files; raise `DataError` without `skip_missing`, with the first row."""
        rows.left_out["missing"] += len(missing)
        if not missing or self.skip_missing:
            return
        number, cell = missing[0]
        several = files.find(cell + self.suffix, table.path)[0]
        what = f"may be {several[0]} or {several[1]}" if len(several) > 1 else "is not there"
        more = f" (and those of {len(missing) - 1} more rows)" if len(missing) > 1 else ""
        raise DataError(
            f"{table.path}, row {number}: {cell}{self.suffix} {what}{more}, wanted one file below {files.folder.root}; "
            f"{OPTIONS_KEY}.skip_missing=true leaves such rows out"
        )

    def describe_rows(self, rows: Rows, subsets: set[str | None], table: str) -> list[str]:
        """List notes on what was left out."""
        several = {
            "skip": f"skipped; {OPTIONS_KEY}.several_labels=first takes the first label of each",
            "first": "the first one is taken",
            None: f"each combination is a class; {OPTIONS_KEY}.several_labels=skip leaves them out, =first takes the "
            "first label of each",
        }[self.several_labels]
        counts = {
            f"rows of {table} repeat a row above: skipped": rows.repeated,
            f"rows of {table} name a missing file: skipped": rows.left_out["missing"],
            f"rows of {table} have no label: skipped": rows.left_out["unlabelled"],
            f"images have several labels, such as {rows.example}: {several}": rows.left_out["several"],
        }
        notes = [f"{number} {what}" for what, number in counts.items() if number]
        if subsets and not {"train", "test"} <= subsets:
            got = " and ".join(sorted(filter(None, subsets)))
            notes.insert(0, f"{table}: the published split has {got} only, so the images are divided anew")
        return notes


def find_named_table(root: Path, name: str) -> Path:
    inside = root / name
    return inside if inside.is_file() else Path(name)


def list_spellings(name: str) -> list[str]:
    """List a path as it is typed, and with Windows' separators replaced."""
    return [name, name.replace("\\", "/")] if "\\" in name else [name]
