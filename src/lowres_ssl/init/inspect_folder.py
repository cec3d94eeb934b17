"""What a folder of images holds, as far as it can be told without being told: `lowres-ssl init` shows it.

Every file is read once, for its size in pixels and its hash, as any command would; what was read is kept for the next.
Only a sample is decoded.
"""

import os
import shlex
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from numpy.typing import NDArray
from PIL import Image

from lowres_ssl.console import pluralise
from lowres_ssl.data import datasets
from lowres_ssl.data.catalogue import Catalogue, ImageRecord, build_catalogue
from lowres_ssl.data.datasets import build_source, images_below, is_image, is_junk
from lowres_ssl.data.decode import IMAGE_FORMATS, decode_image, map_in_threads
from lowres_ssl.data.dicom import is_dicom
from lowres_ssl.errors import DataError, UserError
from lowres_ssl.init.folder_layout import find_enclosing_set
from lowres_ssl.init.guess_columns import guess_label_table
from lowres_ssl.init.guess_patients import PatientGuess, guess_patients
from lowres_ssl.registry import list_available

COLOUR_SAMPLE_SIZE = 100
SAMPLE_IMAGE_SIZE = 32  # of a decoded image, in pixels
MAX_GREY_SPREAD = 4.0  # the mean difference of the channels up to which a picture is grey; JPEG leaves some
STAIN_HUES = (225.0, 350.0)  # hues of the usual stains (haematoxylin and eosin, Giemsa), in degrees
MIN_STAINED_SHARE = 0.05  # of the coloured pixels: in a blood smear most are red cells, and only the nuclei are violet
GENERIC_READERS = ("folder", "csv")  # sources of any set, known by no names
BIT_DEPTHS = (8, 10, 12, 14)
MIN_SATURATION = 0.12  # saturation below which a pixel has no hue to speak of


@dataclass(frozen=True)
class ColourSample:
    """Of `decoded` images of the sample so many are grey, or coloured like stained tissue. `bits`: those that the grey
    values in use need, where files of 16 bits have fewer, as cameras and scanners do; None if all are in use."""

    decoded: int
    grey: int
    stained: int
    bits: int | None

    @property
    def images(self) -> str:
        """The choice of the group `images` that fits."""
        if self.grey * 10 >= self.decoded * 9:
            return "xray"
        return "histology" if self.stained * 10 >= self.decoded * 6 else "any"


@dataclass(frozen=True)
class FolderSurvey:
    """`conf`: the choice of `conf/dataset` that reads this folder, with these `options` beside its own.

    `root`: where its images are, the folder or one in it. `unreadable`: files that are not in `catalogue`.
    `guess`: how patients were guessed from names, None if they were not. `other_files`: what is no image, by suffix.
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
    """Raises `DataError` for a folder that holds no set of labelled images, with what it holds instead."""
    others = count_other_files(folder)
    root, conf, options, table = choose_reader(folder)
    if table is not None and table.is_relative_to(folder):
        others -= Counter([table.suffix.lower()])
    elif not any(images_below(folder)):
        raise DataError(
            f"{folder}: no images there{format_other_files(others)}; wanted one folder a class, with images inside"
        )
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
        guess = guess_patients(
            [record.id for record in catalogue.records],
            classes=len(catalogue.classes),
            divided=any(record.side for record in catalogue.records),
        )
        if guess is not None:
            options = options | {"group_pattern": guess.pattern}
            catalogue, unreadable = read_image_set(conf, options, root, store_dir)
    return FolderSurvey(root, conf, options, catalogue, unreadable, guess, sample_colours(catalogue.records), others)


def read_image_set(conf: str, options: dict[str, Any], root: Path, store_dir: Path) -> tuple[Catalogue, int]:
    """What can be read of the set, and how many images cannot."""
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


def choose_reader(folder: Path) -> tuple[Path, str, dict[str, Any], Path | None]:
    """Where the images are, the choice of `conf/dataset` that reads them, its options, and the table of labels: a set
    known by its names, a table, else class folders."""
    known = guess_published_set(folder)
    table = None if known else guess_label_table(folder)
    if table is not None:
        return table.root, "csv", table.options, table.path
    return folder, known or "folder", {}, None


def guess_published_set(folder: Path) -> str | None:
    """A published set, known by its file names: its source finds a good part of the images, patients in them, and every
    class that was published."""
    images = sum(1 for _ in images_below(folder))
    for name in list_available(datasets.__name__):
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
    """How many files below `folder` are no images, by suffix, "" for those without."""
    found: Counter[str] = Counter()
    for place, inner, names in os.walk(folder):
        inner[:] = [name for name in inner if not is_junk(name)]
        others = [name for name in names if not is_junk(name) and not is_image(name)]
        found.update(get_suffix(Path(place, name)) for name in others)
    return found


def get_suffix(path: Path) -> str:
    """A file without a suffix may be DICOM all the same, and would be read if it had one. Others are not opened."""
    if path.suffix:
        return path.suffix.lower()
    try:
        return "DICOM without .dcm" if is_dicom(path) else ""
    except (OSError, ValueError):
        return ""


def format_other_files(others: Counter[str]) -> str:
    """What there is instead of images, for an error."""
    if not others:
        return ", got an empty folder"
    return f", got {pluralise(others.total(), 'other file')} ({format_suffix_counts(others)})"


def format_suffix_counts(others: Counter[str]) -> str:
    """ "9,000 .nii, 3 without a suffix"."""
    return ", ".join(f"{number:,} {suffix or 'without a suffix'}" for suffix, number in others.most_common(4))


def sample_colours(records: Sequence[ImageRecord]) -> ColourSample:
    """Decode some, evenly spread over the set."""
    places = np.unique(np.linspace(0, len(records) - 1, num=min(COLOUR_SAMPLE_SIZE, len(records)), dtype=int))
    paths = [records[place].path for place in places]
    pictures = [
        each for each in map_in_threads(decode_small, paths, label="Looking", progress=False) if each is not None
    ]
    highest = max((value for value in map(get_max_grey, paths) if value is not None), default=None)
    bits = None if highest is None else next((bits for bits in BIT_DEPTHS if highest < 2**bits), None)
    return ColourSample(len(pictures), sum(map(is_grey_image, pictures)), sum(map(is_stained_image, pictures)), bits)


def get_max_grey(path: Path) -> int | None:
    """The highest grey value of an image of 16 bits; None for others. DICOM files say themselves what they use."""
    try:
        if is_dicom(path):
            return None
        with Image.open(path, formats=IMAGE_FORMATS) as image:
            return int(np.asarray(image).max()) if image.mode.startswith("I;16") else None
    except Exception:  # as above
        return None


def decode_small(path: Path) -> NDArray[np.float64] | None:
    """float64 [H, W, 3] of 0 to 255; None if it cannot be decoded."""
    try:
        pixels, *_ = decode_image(path, colour=True, size=SAMPLE_IMAGE_SIZE)
    except UserError:
        raise
    except Exception:  # whatever a decoder stumbles over; the commands that decode all will name it
        return None
    return pixels.transpose(1, 2, 0).astype(np.float64)


def is_grey_image(picture: NDArray[np.float64]) -> bool:
    return float(np.ptp(picture, axis=2).mean()) <= MAX_GREY_SPREAD


def is_stained_image(picture: NDArray[np.float64]) -> bool:
    """Whether some of what has a colour is violet, purple or pink."""
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
