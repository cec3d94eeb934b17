"""Inspect a folder of images: layout, sizes, colours, classes, patients."""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from importlib.resources import files
from pathlib import Path
from typing import Any

import yaml

from lowres_ssl.data import datasets
from lowres_ssl.data.catalogue import Catalogue, build_catalogue, check_readable, find_unreadable_classes
from lowres_ssl.data.catalogue_subset import FEWEST_TO_DIVIDE, find_small_classes, leave_out_small_classes
from lowres_ssl.data.datasets import build_source
from lowres_ssl.data.image_folder import ImageFolder, compile_exclude, scan_folder
from lowres_ssl.errors import DataError, UserError
from lowres_ssl.init.check_images import ColourSample, check_images, sample_colours
from lowres_ssl.init.find_table import TableSearch, find_label_table, list_used_tables
from lowres_ssl.init.folder_levels import (
    PATIENT_WORDS,
    FolderReading,
    are_no_classes,
    read_file_names,
    read_folder_levels,
)
from lowres_ssl.init.left_out import Exclusion, count_other_files, format_other_files, guess_exclusions
from lowres_ssl.init.typed_input import TypedInput
from lowres_ssl.registry import list_available

UNLABELLED: dict[str, Any] = {"labelled": False}  # the options of a folder whose images have no labels
GENERIC_READERS = ("folder", "csv")  # read any set, whatever its file names
MAX_COPY_MARKS = 20


@dataclass(frozen=True)
class PatientGuess:
    """Hold a `pattern` for `dataset.options.group_pattern`; the number of `groups` among the `matched` images; the
    largest group and its number of images."""

    pattern: str
    groups: int
    matched: int
    example: str
    example_images: int


@dataclass(frozen=True)
class FolderSurvey:
    """Hold what was `typed` and what was found.

    `conf`: the choice of `conf/dataset` that reads this folder, with these `options`. `folder`: without what is left
    out. `unreadable`: the reason for each file that is not in `catalogue`. `guess`: how patients were guessed from
    names, None if they were not. `other_files`: files that are no images, by suffix. `exclusions`, `lost_classes`
    (without a readable image) and `min_class_images`: what is left out. `notes`: other readings of the folder, and
    tables that were not used.
    """

    typed: TypedInput
    folder: ImageFolder
    conf: str
    options: dict[str, Any]
    catalogue: Catalogue
    unreadable: Mapping[Path, str]
    guess: PatientGuess | None
    look: ColourSample
    other_files: Counter[str]
    exclusions: Sequence[Exclusion]
    lost_classes: Sequence[str]
    min_class_images: int
    notes: Sequence[str]


def inspect_folder(root: Path, store_dir: Path, typed: TypedInput) -> FolderSurvey:
    """Raise `DataError` for a folder without images, with what it holds instead."""
    folder = scan_folder(root)
    others = count_other_files(folder)
    published = guess_published_set(folder) if typed == TypedInput() else None
    conf, options, depth = published or "folder", dict[str, Any](), 1
    search = TableSearch() if published else find_label_table(folder, typed)
    notes = search.notes
    if search.options is not None:
        conf, options, depth = "csv", search.options, 0
        others -= Counter(Path(each).suffix.lower() for each in list_used_tables(options))
    try:
        if not folder.images:
            got = format_other_files(others) or "an empty folder"
            raise DataError(f"{root}: no images there, got {got}; wanted one folder a class, with images inside")
        exclusions = guess_exclusions(folder.images, typed.exclude, guess=conf == "folder")
        excluded = [each.pattern for each in exclusions]
        included = folder.exclude(compile_exclude(excluded))
        if conf == "folder":
            reading = read_class_folders(included, typed, has_table=search.names_images)
            options, depth, notes = reading.options, reading.depth, [*notes, *reading.notes]
        source = build_source(conf, options, excluded)
        listings = source.list_included(folder)
        read = check_images([each.path for each in listings], included.enter().top, store_dir)
        unreadable = read.problems
        lost = sorted(find_unreadable_classes(listings, unreadable))
        labels = {each.label for each in listings}
        if len(labels) - len(lost) < min(2, len(labels)):
            check_readable(root, listings, unreadable)
        guess = None
        labelled = [each for each in listings if each.label and each.path not in unreadable]
        is_generic = conf in GENERIC_READERS and len(labels.difference(lost)) > 1
        by_folder = {each.group for each in labelled} if getattr(source, "grouped_by_folder", False) else set()
        if is_generic and not any((each.group and not by_folder) or read.patients.get(each.path) for each in labelled):
            guess = guess_patients([each.id for each in labelled], classes=len(labels) - len(lost), depth=depth)
        if guess is not None and by_folder and (guess.groups > len(by_folder) or guess.matched < len(labelled)):
            guess = None  # finer than the folders that the table names
        if guess is not None:
            options = options | {"group_pattern": guess.pattern}
        read_set = partial(
            build_catalogue, name=conf, folder=folder, cache_dir=store_dir, skip_unreadable=True, known=read
        )
        catalogue = read_set(source=build_source(conf, options, excluded, lost))
    except DataError as error:
        raise DataError("; ".join([str(error), *notes])) from error
    small = find_small_classes(catalogue, FEWEST_TO_DIVIDE)
    if conf == "folder" and catalogue.records and not typed.labelled and len(catalogue.classes) - len(small) < 2:
        options, small, lost, guess = UNLABELLED, {}, [], None
        catalogue = read_set(source=build_source(conf, options, excluded))
    catalogue = leave_out_small_classes(catalogue, FEWEST_TO_DIVIDE)
    return FolderSurvey(
        typed=typed,
        folder=included,
        conf=conf,
        options=options,
        catalogue=catalogue,
        unreadable=unreadable,
        guess=guess,
        look=sample_colours(catalogue.records or catalogue.unlabelled),
        other_files=others,
        exclusions=exclusions,
        lost_classes=lost,
        min_class_images=FEWEST_TO_DIVIDE if small else 1,
        notes=notes,
    )


def read_class_folders(folder: ImageFolder, typed: TypedInput, *, has_table: bool) -> FolderReading:
    """Decide where the classes are: in the folders, else in the names of files, else nowhere. Raises `DataError` where
    a table names the images (`has_table`), but has no clear labels."""
    levels = None
    try:
        if typed.labelled is not False:
            levels = read_folder_levels(folder, typed)
    except DataError:
        if has_table or typed.labelled:
            raise
    if levels is not None:
        labels = {each.label for each in build_source("folder", levels.options).listings(folder)}
        if typed.class_level or typed.labelled or (len(labels) > 1 and not are_no_classes(labels)):
            return levels
    named = read_file_names(folder, typed) if typed.labelled is None else None
    if named is None and has_table and typed.labelled is None:
        without = typed.format_init(folder.root, labelled=False)
        raise DataError(f"{folder.root}: no class folders, and no table with clear labels; without labels: {without}")
    notes = () if levels is None else levels.notes
    return FolderReading(UNLABELLED, 0, notes) if named is None else named


def guess_published_set(folder: ImageFolder) -> str | None:
    """Recognise a published set by its file names: its source finds a good part of the images, patients in them, and
    every published class."""
    for name in list_available(datasets.__name__, datasets.Source):
        config = files("lowres_ssl.conf").joinpath("dataset", f"{name}.yaml")
        if name in GENERIC_READERS or not config.is_file():
            continue
        try:
            found = build_source(name, {}).listings(folder)
        except UserError:
            continue
        labels = {listing.label for listing in found}
        published = set(yaml.safe_load(config.read_text(encoding="utf-8"))["expected"])
        grouped = sum(listing.group is not None for listing in found)
        enough = grouped and grouped * 10 >= len(found) * 9 and len(found) * 5 >= len(folder.images)
        if enough and len(labels) > 1 and published and published <= labels:
            return name
    return None


def list_patterns(ids: Sequence[str], depth: int) -> list[tuple[str, int, int, float]]:
    """List patterns from the surest to the least sure, and when each convinces: the fewest groups, in all and a class,
    and the largest share of the images in one group.

    The last ones, which use no word, go from coarse to fine: groups that are too large cost a little, groups that are
    too small are leakage.
    """
    return [
        (f"^{'[^/]+/' * depth}([^/]+)/", 5, 2, 0.3),
        (rf"(?i)(?:^|[/_. -])((?:{PATIENT_WORDS})[_ -]?\d+)(?!\d)", 5, 1, 0.3),
        (r"(?:^|/)([^/]+)_(?:jpe?g|png|bmp|tiff?)\.rf\.", 5, 1, 0.2),  # one image, augmented: x_jpg.rf.HASH.jpg
        *((pattern, 5, 1, 0.3) for pattern in list_copy_patterns(ids)),
        # From the name's first letter and its first digit on: where either may vary, a long name takes minutes.
        *((rf"(?:^|/)([^/\d]*\d[^/]*)(?:[_ .-][^_ ./-]+){{{tokens}}}\.[^./]+$", 10, 3, 0.2) for tokens in (4, 3, 2, 1)),
    ]


def guess_patients(ids: Sequence[str], *, classes: int, depth: int) -> PatientGuess | None:
    """Return the first pattern that convinces; None if none does.

    `ids` are those of the images, such as `tumour/p12_3.png`, with `depth` folders above those of patients. A pattern
    convinces if it fits at least half of the images and at least a third of all share a group with another, in enough
    groups of which none is too large.
    """
    for pattern, fewest, fewest_each_class, largest_share in list_patterns(ids, depth):
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


def list_copy_patterns(ids: Sequence[str]) -> list[str]:
    """List the pattern of images beside copies named after them, such as x.png, x_flip.png and "x - Copy.png"; none
    without, or with more marks of copies than programs write."""
    stems, marks = {id.rpartition(".")[0] for id in ids}, Counter[str]()
    for stem in stems:
        ends = [end for end, letter in enumerate(stem) if letter in "_ .-(" and stem[:end] in stems]
        marks.update(re.sub(r"\d+", r"\\d+", re.escape(stem[end:])) for end in ends[:1])
    if not 0 < len(marks) <= MAX_COPY_MARKS:
        return []
    return [rf"^(.+?)(?:{'|'.join(sorted(marks))})*\.[^./]+$"]


def simplify_pattern(pattern: str, example: str, ids: Sequence[str]) -> str:
    r"""Replace a pattern of many words by one such as `(person\d+)`, where it has the same result for every image."""
    known = re.fullmatch(rf"(?i)((?:{PATIENT_WORDS})[_ -]?)\d+", example)
    if known is None or not pattern.startswith("(?i)"):
        return pattern
    shorter = rf"({known[1]}\d+)"
    groups = [[match and match[1] for match in map(re.compile(each).search, ids)] for each in (shorter, pattern)]
    return shorter if groups[0] == groups[1] else pattern
