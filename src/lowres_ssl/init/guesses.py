"""Guess columns, patients and settings of a new data set."""

import math
import os
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median_low
from typing import Any

import numpy as np

from lowres_ssl.config.overrides import format_budget
from lowres_ssl.data.catalogue import Catalogue
from lowres_ssl.data.datasets import IMAGE_SUFFIXES, folders_in, get_subset
from lowres_ssl.data.datasets.csv import CsvTable, is_existing_file, list_spellings, list_tables, read_table
from lowres_ssl.data.splits import Split
from lowres_ssl.errors import DataError

LABEL_COLUMNS = ("label", "labels", "class", "category", "diagnosis", "dx", "target", "finding", "finding labels", "y")
PATIENT_COLUMNS = (
    *("patient", "patient_id", "patientid", "patient id", "subject", "subject_id", "subjectid", "case", "case_id"),
    *("person", "person_id", "pid", "donor", "slide", "slide_id", "lesion_id", "group"),
)
SPLIT_COLUMNS = ("split", "set", "subset", "partition", "fold", "phase")
MAX_CHECKED_ROWS = 50  # of whose files most must exist
PATH_SUFFIXES = ("", *sorted(IMAGE_SUFFIXES))


@dataclass(frozen=True)
class TableGuess:
    """Hold the file, the folder of the images, and the options of `dataset=csv` that are not its defaults."""

    path: Path
    root: Path
    options: dict[str, Any]


def guess_label_table(folder: Path) -> TableGuess | None:
    """Guess how to read the table in `folder`; None if there is none that names images there.

    Raises `DataError` for one without a clear label.
    """
    for path in list_tables(folder):
        table = read_table(path)
        named = next(
            (
                (root, column, suffix)
                for root in (folder, *folders_in(folder))
                for suffix in PATH_SUFFIXES
                for column in range(len(table.columns))
                if has_named_files(table, column, root, suffix)
            ),
            None,
        )
        if named is not None:
            root, column, suffix = named
            return TableGuess(path, root, build_csv_options(table, folder, root, column, suffix))
    return None


def has_named_files(table: CsvTable, column: int, root: Path, suffix: str) -> bool:
    """Whether the cells of a column name files below `root`. Called for every folder, suffix and column, so it ends as
    soon as too many files are missing."""
    names = [cells[column] for _, cells in table.rows[:MAX_CHECKED_ROWS]]
    missing, most = 0, len(names) // 5
    for name in names:
        if not name or not is_there(name + suffix, [root]):
            missing += 1
            if missing > most:
                return False
    return missing < len(names)


def build_csv_options(table: CsvTable, folder: Path, root: Path, path: int, suffix: str) -> dict[str, Any]:
    """List the options that differ from conf/dataset/csv.yaml."""
    others = [place for place in range(len(table.columns)) if place != path]
    label = find_column(table, LABEL_COLUMNS, others)
    if label is None and len(others) == 1:
        label = others[0]
    if label is None:
        raise DataError(
            f"{table.path}: names images in its column {table.columns[path]!r}, but which one is the label? got "
            f"{', '.join(repr(table.columns[place]) for place in others) or 'no other'}; rename that column to label"
        )
    patient, split = find_column(table, PATIENT_COLUMNS, others), find_column(table, SPLIT_COLUMNS, others)
    if split is not None and any(get_subset(cells[split]) is None for _, cells in table.rows):
        split = None
    alone = root == folder and len(list_tables(folder)) == 1
    options: dict[str, Any] = {} if alone else {"table": os.path.relpath(table.path, root)}
    for key, place in (("path", path), ("label", label), ("patient", patient), ("split", split)):
        column = None if place is None else table.columns[place]
        if column != key and (column is not None or key in table.columns):  # optional columns may be missing
            options[key] = column
    if suffix:
        options["suffix"] = suffix
    named = {cells[path] + suffix for _, cells in table.rows if cells[path]}
    if not all(is_there(name, {root, table.path.parent}) for name in named):
        options["skip_missing"] = True
    return options


def is_there(name: str, folders: Iterable[Path]) -> bool:
    """Whether a cell names a file in one of the folders."""
    return any(is_existing_file(folder / each) for each in list_spellings(name) for folder in folders)


def find_column(table: CsvTable, names: Iterable[str], among: list[int]) -> int | None:
    """Find the first of these columns that has one of the names; an earlier name counts more."""
    heads = {place: table.columns[place].lower() for place in among}
    return next((place for name in names for place, head in heads.items() if head == name), None)


PATIENT_WORDS = "patient|person|subject|donor|slide|case|subj|pat|sub|pid|p"


@dataclass(frozen=True)
class PatientGuess:
    """Hold a `pattern` for `dataset.options.group_pattern`; the number of `groups` among the `matched` images; the
    largest group and its number of images."""

    pattern: str
    groups: int
    matched: int
    example: str
    example_images: int


def list_patterns(divided: bool) -> list[tuple[str, int, int, float]]:
    """List patterns from the surest to the least sure, and when each convinces: the fewest groups, in all and a class,
    and the largest share of the images in one group.

    The last ones, which use no word, go from coarse to fine: groups that are too large cost a little, groups that are
    too small are leakage.
    """
    class_folder = "[^/]+/[^/]+" if divided else "[^/]+"
    return [
        (f"^{class_folder}/([^/]+)/", 5, 2, 0.3),
        (rf"(?i)(?:^|[/_. -])((?:{PATIENT_WORDS})[_ -]?\d+)(?!\d)", 5, 1, 0.3),
        # From the name's first letter and its first digit on: where either may vary, a long name takes minutes.
        *((rf"(?:^|/)([^/\d]*\d[^/]*)(?:[_ .-][^_ ./-]+){{{tokens}}}\.[^./]+$", 10, 3, 0.2) for tokens in (4, 3, 2, 1)),
    ]


def guess_patients(ids: Sequence[str], *, classes: int, divided: bool) -> PatientGuess | None:
    """Return the first pattern that convinces; None if none does.

    `ids` are those of the images, such as `tumour/p12_3.png`. A pattern convinces if it fits at least half of the
    images and at least a third of all share a group with another, in enough groups of which none is too large.
    """
    for pattern, fewest, fewest_each_class, largest_share in list_patterns(divided):
        groups = Counter(match[1] for match in map(re.compile(pattern).search, ids) if match)
        matched = groups.total()
        shared = sum(count for count in groups.values() if count > 1)
        if matched * 2 < len(ids) or shared * 3 < len(ids):
            continue
        example, largest = groups.most_common(1)[0]
        enough = len(groups) >= max(fewest, fewest_each_class * classes)
        if enough and largest <= largest_share * len(ids):
            return PatientGuess(simplify_pattern(pattern, example, ids), len(groups), matched, example, largest)
    return None


def is_patient_folder(name: str) -> bool:
    """Whether a folder's name looks like one patient's, such as `patient_12`."""
    return re.fullmatch(rf"(?i)(?:{PATIENT_WORDS})[_ -]?\d+", name) is not None


def simplify_pattern(pattern: str, example: str, ids: Sequence[str]) -> str:
    r"""Replace a pattern of many words by one such as `(person\d+)`, where it has the same result for every image."""
    known = re.fullmatch(rf"(?i)((?:{PATIENT_WORDS})[_ -]?)\d+", example)
    if known is None or not pattern.startswith("(?i)"):
        return pattern
    shorter = rf"({known[1]}\d+)"
    groups = [[match and match[1] for match in map(re.compile(each).search, ids)] for each in (shorter, pattern)]
    return shorter if groups[0] == groups[1] else pattern


PAPER_NEIGHBOURS = 200
MAX_BATCH_SIZE = 64  # what the recipes' learning rates belong to
PAPER_SIZE, CPU_SIZE, MIN_SIZE = 224, 64, 24
HALF_HOUR_SECONDS, HOUR_SECONDS = 1800, 3600
IMAGES_IN_HALF_AN_HOUR = 1500


@dataclass(frozen=True)
class DefaultSettings:
    """Hold the settings, and the numbers of training images that they depend on: all, and of the smallest class."""

    image_size: int
    batch_size: int
    k: int
    train_images: int
    smallest_class: int


def choose_default_settings(catalogue: Catalogue, split: Split, *, gpu: bool) -> DefaultSettings:
    """Choose the settings for these images and this split."""
    train = np.bincount(catalogue.labels[split.train], minlength=len(catalogue.classes))
    return DefaultSettings(
        image_size=choose_image_size(median_low(min(each.height, each.width) for each in catalogue.records), gpu=gpu),
        batch_size=choose_batch_size(len(split.train)),
        k=choose_neighbours(int(train.min())),
        train_images=len(split.train),
        smallest_class=int(train.min()),
    )


def choose_neighbours(smallest_class: int) -> int:
    """Choose k for KNN: a fifth of the smallest class's training images (at least 1), so that an image's neighbours can
    all be of its class; at least 5 where there are so many, and at most the paper's 200."""
    return min(smallest_class, max(5, smallest_class // 5), PAPER_NEIGHBOURS)


def choose_batch_size(images: int) -> int:
    """Choose the batch size for the images of an epoch (at least 2): the recipes' 64, or the largest power of two that
    the images fill.

    Not lowered for more steps an epoch: the recipes' rates are for 64 images, and smaller batches have fewer images to
    compare each image with. docs/own_data.md has the trial.
    """
    return max(2, 1 << min(images, MAX_BATCH_SIZE).bit_length() - 1)


def choose_image_size(shorter_side: int, *, gpu: bool) -> int:
    """Choose the side in pixels to train at, from the median shorter side of the images: the paper's 224 on a GPU, 64
    for a first try on a CPU; not above the images, in steps of 8 and at least 24."""
    return max(MIN_SIZE, min(PAPER_SIZE if gpu else CPU_SIZE, shorter_side // 8 * 8))


def suggest_budget(images: int) -> str:
    """Suggest the time to compare all methods in, as it is typed: half an hour up to 1,500 images of the set, then in
    proportion, in whole hours."""
    if images <= IMAGES_IN_HALF_AN_HOUR:
        return format_budget(HALF_HOUR_SECONDS)
    return format_budget(HOUR_SECONDS * math.ceil(HALF_HOUR_SECONDS * images / IMAGES_IN_HALF_AN_HOUR / HOUR_SECONDS))
