"""Read tables that name the images: a row an image, with its path, its label, and perhaps its patient and subset."""

import os
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal

from lowres_ssl.data.csv_table import CsvTable, LabelCells, list_tables, list_true_columns, read_table
from lowres_ssl.data.datasets import IdPattern, Listing, Source, SplitWords, guess_table_subset
from lowres_ssl.data.file_index import FileIndex, list_endings
from lowres_ssl.data.image_folder import ImageFolder, make_portable
from lowres_ssl.errors import DataError

OPTIONS_KEY = "dataset.options"


@dataclass
class Entry:
    """Hold what the rows of one image have, and where the first one is."""

    where: str
    file: Path
    labels: list[str]
    group: str | None
    subset: str | None


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
        self.left_out = Counter[str]()  # rows "repeated", "missing" and "unlabelled"; images of "several" labels
        self.grouped_by_folder = False

    def listings(self, folder: ImageFolder) -> list[Listing]:
        """Raises `DataError`, which names the row."""
        self.left_out.clear()
        files, found = FileIndex(folder), dict[str, Entry]()
        tables = [read_table(path, files) for path in self.find_tables(folder.top)]
        patients = self.read_patients(folder.top, files)
        for table in tables:
            subset = guess_table_subset(table.path, folder.top) if len(tables) > 1 else None
            self.read_rows(table, files, found, subset, patients)
        if not found and (missing := self.left_out["missing"]):
            raise DataError(f"{tables[0].path}: none of its {missing} files is below {folder.root}; check dataset.root")
        several = [entry.labels for entry in found.values() if len(entry.labels) > 1]
        self.left_out["several"] = len(several)
        listings = []
        for id, each in sorted(found.items()):
            label = each.labels[0] if self.several_labels else "|".join(each.labels)
            if len(each.labels) == 1 or self.several_labels != "skip":
                listings.append(Listing(each.file, id, label, each.group, each.subset))
        if self.pattern is not None:
            self.pattern.check_fits([each.id for each in listings])
        self.add_notes(tables[0].path.name, {each.subset for each in listings} - {None}, several)
        return listings

    def find_tables(self, root: Path) -> list[Path]:
        """Find the tables. Raises `DataError` if none is named and there is not one only."""
        if self.tables is not None:
            return [find_named_table(root, each) for each in self.tables]
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
        self, table: CsvTable, files: FileIndex, found: dict[str, Entry], subset: str | None, patients: dict[str, str]
    ) -> None:
        """Add the rows of one table to `found`, by id. `subset`: the one of a table without a split column."""
        firsts = table.get_paths(self.paths)
        rows = list(zip(firsts, firsts, table.rows, strict=True))
        if self.second_path is not None:
            seconds = table.get_paths([self.second_path])
            rows += [each for each in zip(seconds, firsts, table.rows, strict=True) if each[0]]
        at_labels = [table.get_column_index(each, f"{OPTIONS_KEY}.label") for each in self.labels]
        at_split = table.find_column_index(self.split, f"{OPTIONS_KEY}.split", "split")
        if at_split is not None and not any(table.get_cells(at_split)):
            at_split = None
        at_patient = None
        if self.patient_table is None:
            at_patient = table.find_column_index(self.patient, f"{OPTIONS_KEY}.patient", "patient")
        cells_of_label = LabelCells(table.get_cells(at_labels[0]) if len(at_labels) == 1 else ())
        endings = Counter(ending for path in {path for path, _, _ in rows} for ending in list_endings(path))
        missing: list[tuple[int, str]] = []
        for path, first, (number, cells) in rows:
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
                self.left_out["unlabelled"] += 1
                continue
            own = subset if at_split is None else self.subsets.parse(cells[at_split], where)
            for file, id in images:
                group = patients.get(path) if at_patient is None else cells[at_patient]
                if self.pattern is not None and not group:
                    group = self.pattern.search(id)
                if self.second_path is not None and not group:
                    group = first
                if len(images) > 1 and not group:
                    group, self.grouped_by_folder = first, True
                self.add_image(found, id, Entry(where, file, labels, group or None, own))
        self.report_missing_files(missing, table, files)

    def add_image(self, found: dict[str, Entry], id: str, new: Entry) -> None:
        """Add a row of an image. Raises `DataError` where it contradicts the one before."""
        known = found.setdefault(id, new)
        if known is new:
            return
        if (known.file, known.group, known.subset) != (new.file, new.group, new.subset) or (
            known.labels != new.labels and self.several_labels is None
        ):
            raise DataError(
                f"{new.where}: {id} has another label, patient or split than in {known.where}, wanted the same; take "
                f"one of the rows out ({OPTIONS_KEY}.several_labels=skip leaves images of several labels out)"
            )
        self.left_out["repeated"] += 1
        known.labels = list(dict.fromkeys([*known.labels, *new.labels]))

    def find_images(
        self, cell: str, files: FileIndex, table: Path, where: str, endings: Counter[str]
    ) -> list[tuple[Path, str]]:
        """Return the path and the id of the image that a cell names, or of all images in the folder that it names;
        none if there is none, or not one only. Nothing in the table is trusted: raises `DataError` for a path that
        leads out of the root. `endings`: how often the table has each end of a path."""
        if not cell:
            raise DataError(f"{where}: got no path, wanted one in each row")
        name, top = cell + self.suffix, os.path.join(files.folder.top, "")  # noqa: PTH118 - text, of 100,000 rows
        places = dict.fromkeys(
            os.path.normpath(os.path.join(folder, spelling))  # noqa: PTH118 - text, of 100,000 rows
            for spelling in dict.fromkeys((name, name.replace("\\", "/")))
            for folder in (files.folder.top, table.parent)
        )
        inside = [make_portable(each.removeprefix(top)) for each in places if each.startswith(top)]
        if (known := next((id for id in inside if id in files.all_paths), None)) is not None:
            return [(files.all_paths[known], known)]
        ids, ending = files.find(name, table)
        if len(ids) != 1 or endings[ending] > 1:
            ids = [] if ids else files.find_folder(cell)
        if not ids and not inside:
            raise DataError(
                f"{where}: {cell} leads out of {files.folder.root}, wanted a path below it; name the folder that holds "
                "all of them with dataset.root=FOLDER"
            )
        return [(files.paths[id], id) for id in ids]

    def report_missing_files(self, missing: list[tuple[int, str]], table: CsvTable, files: FileIndex) -> None:
        """Count missing files; raise `DataError` without `skip_missing`, with the first row."""
        self.left_out["missing"] += len(missing)
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

    def add_notes(self, table: str, subsets: set[str | None], several: list[list[str]]) -> None:
        """Add notes on what was left out, and on images of several labels."""
        if subsets and not {"train", "test"} <= subsets:
            got = " and ".join(sorted(filter(None, subsets)))
            self.notes.append(f"{table}: the published split has {got} only, so the images are divided anew")
        for kind, what in (
            ("repeated", "repeat a row above"),
            ("missing", "name a missing file"),
            ("unlabelled", "have no label"),
        ):
            if number := self.left_out[kind]:
                self.notes.append(f"{number} rows of {table} {what}: skipped")
        if several:
            done = {
                "skip": f"skipped; {OPTIONS_KEY}.several_labels=first takes the first label of each",
                "first": "the first one is taken",
                None: f"each combination is a class; {OPTIONS_KEY}.several_labels=skip leaves them out, =first takes "
                "the first label of each",
            }[self.several_labels]
            self.notes.append(f"{len(several)} images have several labels, such as {'|'.join(several[0])}: {done}")


def find_named_table(root: Path, name: str) -> Path:
    inside = root / name
    return inside if inside.is_file() else Path(name)
