"""Inspect a folder of images: layout, sizes, colours, classes, patients."""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from numpy.typing import NDArray
from PIL import Image

from lowres_ssl.config.overrides import is_utf8
from lowres_ssl.data import datasets
from lowres_ssl.data.catalogue import Catalogue, ImageRecord, build_catalogue, check_readable, find_unreadable_classes
from lowres_ssl.data.datasets import (
    Source,
    build_source,
    folders_in,
    get_subset,
    images_below,
    resolve_root,
)
from lowres_ssl.data.datasets.folder import find_copies, has_subset_folders
from lowres_ssl.data.decode import IMAGE_FORMATS, decode_or_explain, map_in_threads
from lowres_ssl.data.exclusion import compile_exclude
from lowres_ssl.data.image_store import drop_records
from lowres_ssl.data.small_classes import FEWEST_TO_DIVIDE, find_small_classes, leave_out_small_classes
from lowres_ssl.errors import ConfigError, DataError, UserError
from lowres_ssl.init.find_table import TableSearch, find_label_table, list_used_tables
from lowres_ssl.init.find_unreadable import find_unreadable
from lowres_ssl.init.folder_levels import FolderReading, read_folder_levels
from lowres_ssl.init.guess_exclusions import Exclusion, guess_exclusions
from lowres_ssl.init.guess_labels import should_ignore_labels
from lowres_ssl.init.guesses import PatientGuess, guess_patients
from lowres_ssl.init.other_files import ARCHIVE_SUFFIXES, count_other_files, format_other_files
from lowres_ssl.init.typed_input import ARRAYS_SUFFIX, TypedInput
from lowres_ssl.registry import list_available

COLOUR_SAMPLE_SIZE = 100
SAMPLE_IMAGE_SIZE = 32  # of a decoded image, in pixels
MAX_GREY_SPREAD = 4.0  # the mean difference of the channels up to which a picture is grey; JPEG leaves some
STAIN_HUES = (225.0, 350.0)  # hues of the usual stains (haematoxylin and eosin, Giemsa), in degrees
MIN_STAINED_SHARE = 0.05  # of the coloured pixels: in a blood smear most are red cells, and only the nuclei are violet
MIN_SATURATION = 0.12  # below which a pixel counts as grey
BIT_DEPTHS = (8, 10, 12, 14)
UNLABELLED: dict[str, Any] = {"labelled": False}  # the options of a folder whose images have no labels
GENERIC_READERS = ("folder", "csv")  # read any set, whatever its file names


@dataclass(frozen=True)
class ColourSample:
    """Count the `decoded` images that are grey, or coloured like stained tissue. `bits`: those that the grey values
    need, where files of 16 bits use fewer, as cameras and scanners do; None if all are used."""

    decoded: int
    grey: int
    stained: int
    bits: int | None

    @property
    def images(self) -> str:
        """Choose the config group `images`."""
        if self.grey * 10 >= self.decoded * 9:
            return "xray"
        return "histology" if self.stained * 10 >= self.decoded * 6 else "any"


@dataclass(frozen=True)
class FolderSurvey:
    """Hold what was found. `conf`: the choice of `conf/dataset` that reads this folder, with these `options`.

    `root`: the inspected folder. `unreadable`: the reason for each file that is not in `catalogue`. `guess`: how
    patients were guessed from names, None if they were not. `other_files`: files that are no images, by suffix.
    `exclusions`, `lost_classes` (without a readable image) and `min_class_images`: what is left out. `notes`: other
    readings of the folder, and tables that were not used.
    """

    root: Path
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

    @property
    def exclude(self) -> re.Pattern[str] | None:
        return compile_exclude([each.pattern for each in self.exclusions])


def check_image_folder(typed: str | None) -> Path:
    """Raise `ConfigError` for no folder, `DataError` for what is none and no file of arrays."""
    if not typed:
        raise ConfigError("init: got no folder, wanted the one with your images; type lowres-ssl init FOLDER")
    folder = Path(typed)
    if not (typed.isprintable() and is_utf8(str(folder.absolute()))):
        raise ConfigError(f"{typed!r}: got a control character, or bytes that are no text; rename the folder")
    if folder.is_file() and folder.suffix.lower() != ARRAYS_SUFFIX:
        if folder.suffix.lower() in ARCHIVE_SUFFIXES:
            raise DataError(f"{folder}: an archive, wanted a folder; unpack it, then type lowres-ssl init FOLDER")
        raise DataError(f"{folder}: a file, wanted the folder with the images; type lowres-ssl init FOLDER")
    if not folder.exists():
        raise DataError(f"{folder}: no such folder, wanted the one with your images; check how it is spelt")
    return folder


def inspect_folder(folder: Path, store_dir: Path, typed: TypedInput) -> FolderSurvey:
    """Raise `DataError` for a folder without images, with what it holds instead."""
    others = count_other_files(folder)
    published = guess_published_set(folder) if typed == TypedInput() else None
    conf, options, depth = published or "folder", dict[str, Any](), 1
    search = TableSearch() if published else find_label_table(folder, typed)
    notes = search.notes
    if search.options is not None:
        conf, options, depth = "csv", search.options, 0
        others -= Counter(Path(each).suffix.lower() for each in list_used_tables(options))
    try:
        images = list(images_below(folder))
        if not images:
            got = format_other_files(others) or "an empty folder"
            raise DataError(f"{folder}: no images there, got {got}; wanted one folder a class, with images inside")
        exclusions = guess_exclusions(images, typed.exclude, guess=conf == "folder")
        excluded = [each.pattern for each in exclusions]
        if conf == "folder":
            levels = read_levels_or_none(folder, typed, compile_exclude(excluded), search.names_images)
            options, depth, notes = levels.options, levels.depth, [*notes, *levels.notes]
        source = build_source(conf, options, excluded)
        listings = source.list_included(folder)
        if conf == "folder" and should_ignore_labels(listings, True if typed.class_level else typed.labelled):
            if search.names_images and typed.labelled is None:
                without = typed.format_init(folder, "labelled=false")
                raise DataError(
                    f"{folder}: no class folders, and no table with clear labels; without labels: {without}"
                )
            options = UNLABELLED
            listings = build_source(conf, options, excluded).list_included(folder)
        unreadable = find_unreadable(listings, resolve_root(folder, source.exclude), store_dir)
        lost = sorted(find_unreadable_classes(listings, unreadable))
        labels = {each.label for each in listings}
        if len(labels) - len(lost) < min(2, len(labels)):
            check_readable(folder, listings, unreadable)
        source = build_source(conf, options, excluded, lost)
        catalogue = read_image_set(source, conf, folder, store_dir, unreadable)
    except DataError as error:
        raise DataError("; ".join([str(error), *notes])) from error
    guess = None
    records = catalogue.records
    if conf in GENERIC_READERS and records and not any(record.group for record in records):
        guess = guess_patients([record.id for record in records], classes=len(catalogue.classes), depth=depth)
        if guess is not None:
            options = options | {"group_pattern": guess.pattern}
            source = build_source(conf, options, excluded, lost)
            catalogue = read_image_set(source, conf, folder, store_dir, unreadable)
    small = find_small_classes(catalogue, FEWEST_TO_DIVIDE)
    if conf == "folder" and records and not typed.labelled and len(catalogue.classes) - len(small) < 2:
        options, small, lost, guess = UNLABELLED, {}, [], None
        catalogue = read_image_set(build_source(conf, options, excluded), conf, folder, store_dir, unreadable)
    catalogue = leave_out_small_classes(catalogue, FEWEST_TO_DIVIDE)
    return FolderSurvey(
        root=folder,
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


def read_levels_or_none(
    folder: Path, typed: TypedInput, exclude: re.Pattern[str] | None, has_table: bool
) -> FolderReading:
    """Decide where the classes are: nowhere if the folders can be none, unless a table names the images."""
    if typed.labelled is False:
        return FolderReading(UNLABELLED, 0)
    try:
        return read_folder_levels(folder, typed, exclude)
    except DataError:
        if has_table or typed.labelled:
            raise
        return FolderReading(UNLABELLED, 0)


def read_image_set(source: Source, conf: str, root: Path, store_dir: Path, unreadable: Mapping[Path, str]) -> Catalogue:
    """Read the set without its unreadable images."""
    catalogue = build_catalogue(name=conf, root=root, source=source, cache_dir=store_dir, skip_unreadable=True)
    images = catalogue.records + catalogue.unlabelled
    return drop_records(catalogue, {each.id: unreadable[each.path] for each in images if each.path in unreadable})


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
        if enough and len(labels) > 1 and published and published <= labels:
            return name
    return None


def sample_colours(records: Sequence[ImageRecord]) -> ColourSample:
    """Decode a sample, evenly spread over the set."""
    rows = np.unique(np.linspace(0, len(records) - 1, num=min(COLOUR_SAMPLE_SIZE, len(records)), dtype=int))
    paths = [records[row].path for row in rows]
    results = map_in_threads(partial(decode_or_explain, colour=True, size=SAMPLE_IMAGE_SIZE), paths)
    pictures = [each[0].transpose(1, 2, 0).astype(np.float64) for each in results if not isinstance(each, str)]
    highest = max((value for value in map(get_max_grey, paths) if value is not None), default=None)
    bits = None if highest is None else next((bits for bits in BIT_DEPTHS if highest < 2**bits), None)
    grey = sum(float(np.ptp(picture, axis=2).mean()) <= MAX_GREY_SPREAD for picture in pictures)
    return ColourSample(len(pictures), grey, sum(map(is_stained_image, pictures)), bits)


def get_max_grey(path: Path) -> int | None:
    """Get the highest grey value of an image of 16 bits; None for others. DICOM files name their own range."""
    try:
        with Image.open(path, formats=IMAGE_FORMATS) as image:
            return int(np.asarray(image).max()) if image.mode.startswith("I;16") else None
    except Exception:  # decoders raise errors of any class; the commands that decode all images name the file
        return None


def is_stained_image(picture: NDArray[np.float64]) -> bool:
    """Whether some of the coloured pixels of [H, W, 3] in 0..255 are violet, purple or pink."""
    highest, spread = picture.max(axis=2), np.ptp(picture, axis=2)
    coloured = spread > MIN_SATURATION * np.maximum(highest, 1)
    if coloured.mean() < MIN_STAINED_SHARE:
        return False
    red, green, blue = (picture[..., channel] for channel in range(3))
    step = np.maximum(spread, 1e-9)
    # The usual hexagon, https://en.wikipedia.org/wiki/HSL_and_HSV#Hue_and_chroma
    hue = 60 * np.select(
        [highest == red, highest == green],
        [((green - blue) / step) % 6, (blue - red) / step + 2],
        (red - green) / step + 4,
    )
    return float(((hue >= STAIN_HUES[0]) & (hue <= STAIN_HUES[1]))[coloured].mean()) >= MIN_STAINED_SHARE


def find_empty_classes(root: Path, exclude: re.Pattern[str] | None) -> list[str]:
    """List the class folders without an image, relative to `root`."""
    folder = resolve_root(root, exclude)
    subsets = [each for each in folders_in(folder, exclude) if get_subset(each.name)]
    parents = subsets if has_subset_folders(folder, exclude) else [folder]
    empty = [
        inner for parent in parents for inner in folders_in(parent, exclude) if not any(images_below(inner, exclude))
    ]
    return [each.relative_to(folder).as_posix() for each in empty]


def find_unused_folders(root: Path, exclude: re.Pattern[str] | None) -> list[str]:
    """List the folders of images beside train and test in a divided set: their images are not in the set."""
    folder = resolve_root(root, exclude)
    others = [inner for inner in folders_in(folder, exclude) if not get_subset(inner.name)]
    if not others or not has_subset_folders(folder, exclude):
        return []
    copies = find_copies([id for _, id in images_below(folder, exclude)])
    return [each.name for each in others if each.name not in copies and any(images_below(each, exclude))]
