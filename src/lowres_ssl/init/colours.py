"""Decode a sample of a set's images, and see whether they are grey, stained tissue, or other colour images."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from lowres_ssl.data.catalogue import ImageRecord
from lowres_ssl.data.decode import IMAGE_FORMATS, decode_or_explain, map_in_threads
from lowres_ssl.data.dicom import is_dicom

COLOUR_SAMPLE_SIZE = 100
SAMPLE_IMAGE_SIZE = 32  # of a decoded image, in pixels
MAX_GREY_SPREAD = 4.0  # the mean difference of the channels up to which a picture is grey; JPEG leaves some
STAIN_HUES = (225.0, 350.0)  # hues of the usual stains (haematoxylin and eosin, Giemsa), in degrees
MIN_STAINED_SHARE = 0.05  # of the coloured pixels: in a blood smear most are red cells, and only the nuclei are violet
MIN_SATURATION = 0.12  # below which a pixel counts as grey
BIT_DEPTHS = (8, 10, 12, 14)


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


def sample_colours(records: Sequence[ImageRecord]) -> ColourSample:
    """Decode a sample, evenly spread over the set."""
    rows = np.unique(np.linspace(0, len(records) - 1, num=min(COLOUR_SAMPLE_SIZE, len(records)), dtype=int))
    paths = [records[row].path for row in rows]
    decode = partial(decode_or_explain, colour=True, size=SAMPLE_IMAGE_SIZE)
    results = map_in_threads(decode, paths)
    pictures = [each[0].transpose(1, 2, 0).astype(np.float64) for each in results if not isinstance(each, str)]
    highest = max((value for value in map(get_max_grey, paths) if value is not None), default=None)
    bits = None if highest is None else next((bits for bits in BIT_DEPTHS if highest < 2**bits), None)
    grey = sum(float(np.ptp(picture, axis=2).mean()) <= MAX_GREY_SPREAD for picture in pictures)
    return ColourSample(len(pictures), grey, sum(map(is_stained_image, pictures)), bits)


def get_max_grey(path: Path) -> int | None:
    """Get the highest grey value of an image of 16 bits; None for others. DICOM files name their own range."""
    try:
        if is_dicom(path):
            return None
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
