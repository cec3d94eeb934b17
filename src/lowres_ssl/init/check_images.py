"""Look at the images of a folder: which of them cannot be read, and the colours and bits of a sample."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from lowres_ssl.data.catalogue import ImageRecord
from lowres_ssl.data.decode import (
    IMAGE_FORMATS,
    count_used_bits,
    decode_or_explain,
    explain_failure,
    map_in_threads,
    read_image,
)
from lowres_ssl.data.dicom import is_dicom
from lowres_ssl.data.image_metadata import ReadImages, find_index_file, read_image_metadata

MAX_DECODED = 2000  # evenly spread over a larger set, whose other files are found when it is decoded
DRAFT_SIZE = (64, 64)  # JPEG is decoded at an eighth of its size, which finds damage as well
COLOUR_SAMPLE_SIZE = 100
SAMPLE_IMAGE_SIZE = 32  # of a decoded image, in pixels
MAX_GREY_SPREAD = 4.0  # the mean difference of the channels up to which a picture is grey; JPEG leaves some
STAIN_HUES = (225.0, 350.0)  # hues of the usual stains (haematoxylin and eosin, Giemsa), in degrees
MIN_STAINED_SHARE = 0.05  # of the coloured pixels: in a blood smear most are red cells, and only the nuclei are violet
MIN_SATURATION = 0.12  # below which a pixel counts as grey


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


def check_images(files: Sequence[Path], root: Path, store_dir: Path) -> ReadImages:
    """Read the headers of the files, and the pixels of a sample; `problems` has the reason for each that cannot be
    read. Raises `ConfigError` without pydicom."""
    read = read_image_metadata(files, find_index_file(root, store_dir))
    paths = [path for path in files if path not in read.problems]
    rows = np.unique(np.linspace(0, len(paths) - 1, num=min(MAX_DECODED, len(paths)), dtype=int))
    sample = [paths[row] for row in rows]
    reasons = map_in_threads(check_decodable, sample, label="Checking images")
    undecodable = {path: reason for path, reason in zip(sample, reasons, strict=True) if reason}
    images = {path: image for path, image in read.images.items() if path not in undecodable}
    return replace(read, images=images, problems={**read.problems, **undecodable})


@explain_failure
def check_decodable(path: Path) -> None:
    """Decode the pixels of a file, of a JPEG at an eighth of its size; return the reason where they cannot be."""
    if path.suffix.lower() in (".jpg", ".jpeg", ".jpe", ".jfif") and not is_dicom(path):
        with Image.open(path, formats=IMAGE_FORMATS) as image:
            image.draft(None, DRAFT_SIZE)
            image.load()
    else:
        read_image(path)


def sample_colours(records: Sequence[ImageRecord]) -> ColourSample:
    """Decode a sample, evenly spread over the set."""
    rows = np.unique(np.linspace(0, len(records) - 1, num=min(COLOUR_SAMPLE_SIZE, len(records)), dtype=int))
    paths = [records[row].path for row in rows]
    results = map_in_threads(partial(decode_or_explain, colour=True, size=SAMPLE_IMAGE_SIZE), paths)
    decoded = [each for each in results if not isinstance(each, str)]
    pictures = [each.pixels.transpose(1, 2, 0).astype(np.float64) for each in decoded]
    highest = max((each.max_grey for each in decoded if each.max_grey is not None), default=None)
    bits = None if highest is None else count_used_bits(highest)
    grey = sum(float(np.ptp(picture, axis=2).mean()) <= MAX_GREY_SPREAD for picture in pictures)
    return ColourSample(len(pictures), grey, sum(map(is_stained_image, pictures)), bits)


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
