"""Inspect a folder of images: which reader fits, which images and patients it finds, what lies around them.

Every file is read once, for its size in pixels and its hash, and the index of that is kept for the next command.
"""

import os
import shlex
from collections import Counter
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

import yaml

from lowres_ssl.console import pluralise
from lowres_ssl.data import datasets
from lowres_ssl.data.catalogue import Catalogue, build_catalogue
from lowres_ssl.data.datasets import build_source, folders_in, get_subset, images_below, is_image, is_junk, resolve_root
from lowres_ssl.data.datasets.csv import list_tables
from lowres_ssl.data.datasets.folder import has_subset_folders
from lowres_ssl.data.dicom import is_dicom
from lowres_ssl.errors import DataError, UserError
from lowres_ssl.init.colours import ColourSample, sample_colours
from lowres_ssl.init.guess_columns import guess_label_table
from lowres_ssl.init.guess_patients import PatientGuess, guess_patients
from lowres_ssl.registry import list_available

GENERIC_READERS = ("folder", "csv")  # read any set, whatever its file names


@dataclass(frozen=True)
class FolderSurvey:
    """Hold what was found. `conf`: the choice of `conf/dataset` that reads this folder, with these `options`.

    `root`: the folder of the images, the inspected one or one in it. `unreadable`: files that are not in `catalogue`.
    `guess`: how patients were guessed from names, None if they were not. `other_files`: files that are no images, by
    suffix.
    """

    root: Path
    conf: str
    options: dict[str, Any]
    catalogue: Catalogue
    unreadable: int
    guess: PatientGuess | None
    look: ColourSample
    other_files: Counter[str]


def inspect_folder(folder: Path, store_dir: Path) -> FolderSurvey:
    """Raises `DataError` for a folder without labelled images, with what it holds instead."""
    others = count_other_files(folder)
    root, conf, options = folder, guess_published_set(folder), dict[str, Any]()
    table = None if conf else guess_label_table(folder)
    conf = conf or "folder"
    if table is not None:
        root, conf, options = table.root, "csv", table.options
        if table.path.is_relative_to(folder):
            others -= Counter([table.path.suffix.lower()])
    elif not any(images_below(folder)):
        got = (
            f"{pluralise(others.total(), 'other file')} ({format_suffix_counts(others)})"
            if others
            else "an empty folder"
        )
        raise DataError(f"{folder}: no images there, got {got}; wanted one folder a class, with images inside")
    if not build_source(conf, options).listings(root):
        images = pluralise(sum(1 for _ in images_below(root)), "image")
        around = find_enclosing_set(folder)
        more = "" if around is None else f"; if it is a class itself, type lowres-ssl init {shlex.quote(str(around))}"
        raise DataError(
            f"{folder}: {images}, but none in the folder of a class; wanted one folder a class, or a .csv file with "
            f"the columns path and label{more}"
        )
    catalogue, unreadable = read_image_set(conf, options, root, store_dir)
    guess = None
    if conf == "folder" and not any(record.group for record in catalogue.records):
        ids, divided = [record.id for record in catalogue.records], any(record.subset for record in catalogue.records)
        guess = guess_patients(ids, classes=len(catalogue.classes), divided=divided)
        if guess is not None:
            options = options | {"group_pattern": guess.pattern}
            catalogue, unreadable = read_image_set(conf, options, root, store_dir)
    return FolderSurvey(root, conf, options, catalogue, unreadable, guess, sample_colours(catalogue.records), others)


def read_image_set(conf: str, options: dict[str, Any], root: Path, store_dir: Path) -> tuple[Catalogue, int]:
    """Read the set without its unreadable images, and count those."""
    source = build_source(conf, options)
    catalogue = build_catalogue(
        name=conf,
        root=root,
        source=source,
        expected={},
        unlabelled=None,
        skip_unreadable=True,
        cache_dir=store_dir,
    )
    return catalogue, len(source.listings(root)) - len(catalogue.records)


def guess_published_set(folder: Path) -> str | None:
    """Recognise a published set by its file names: its source finds a good part of the images, patients in them, and
    every published class."""
    images = sum(1 for _ in images_below(folder))
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
        enough = grouped and grouped * 10 >= len(found) * 9 and len(found) * 5 >= images
        if enough and len(labels) > 1 and published <= labels:
            return name
    return None


def count_other_files(folder: Path) -> Counter[str]:
    """Count the files below `folder` that are no images by suffix, "" for none. A file without a suffix is opened: it
    may be DICOM, and would be read with one."""
    found: Counter[str] = Counter()
    for place, inner, names in os.walk(folder):
        inner[:] = [name for name in inner if not is_junk(name)]
        for name in names:
            if is_junk(name) or is_image(name):
                continue
            suffix = Path(name).suffix.lower()
            try:
                found["DICOM without .dcm" if not suffix and is_dicom(Path(place, name)) else suffix] += 1
            except (OSError, ValueError):
                found[suffix] += 1
    return found


def format_suffix_counts(others: Counter[str]) -> str:
    """Format the commonest suffixes: "9,000 .nii, 3 without a suffix"."""
    return ", ".join(f"{number:,} {suffix or 'without a suffix'}" for suffix, number in others.most_common(4))


def find_set_folder(file: Path) -> Path:
    """Find the folder to name in place of one of its files: that of its set if it is an image, else its own."""
    beside = file.parent
    if not is_image(file.name) or list_tables(beside) or has_class_folders(beside):
        return beside
    return find_enclosing_set(beside) or beside


def find_enclosing_set(folder: Path) -> Path | None:
    """Find the folder of the set that `folder` is a class of, by what lies beside it; None if it is none."""
    parent = Path(os.path.normpath(folder / ".."))  # "." has no parent by its name
    above = Path(os.path.normpath(parent / ".."))
    try:
        if get_subset(parent.resolve().name) and has_subset_folders(above):
            return above
        return parent if has_class_folders(parent) else None
    except OSError:  # unreadable
        return None


def has_class_folders(folder: Path) -> bool:
    """Whether at least two folders in it hold images, directly: anything may lie around the named folder, and is not
    searched."""
    return sum(any(is_image(entry.name) for entry in inner.iterdir()) for inner in folders_in(folder)) > 1


def find_empty_classes(root: Path) -> list[str]:
    """List the class folders without an image, relative to `root`."""
    folder = resolve_root(root)
    subsets = [each for each in folders_in(folder) if get_subset(each.name)]
    parents = subsets if has_subset_folders(folder) else [folder]
    empty = [inner for parent in parents for inner in folders_in(parent) if not any(images_below(inner))]
    return [each.relative_to(folder).as_posix() for each in empty]


def find_unused_folders(root: Path) -> list[str]:
    """List the folders of images beside train and test in a divided set: their images are not in the set."""
    folder = resolve_root(root)
    others = [inner for inner in folders_in(folder) if not get_subset(inner.name)]
    return [inner.name for inner in others if any(images_below(inner))] if has_subset_folders(folder) else []
