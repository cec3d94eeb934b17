"""One image file -> one square of bytes. Whatever changes these bytes must change DECODER_VERSION."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from lowres_ssl.data.dicom import is_dicom, read_dicom

DECODER_VERSION = 1
WHITE = 255
GreyRange = tuple[float, float]  # the stored values that are shown black and white
# What a file may hold, whatever its name says, beside DICOM. Pillow knows more; one starts a program (EPS).
IMAGE_FORMATS = ("PNG", "JPEG", "TIFF", "BMP", "WEBP", "GIF")


def decode_image(
    path: Path, *, colour: bool, size: int, grey_range: GreyRange | None = None
) -> tuple[NDArray[np.uint8], int, int]:
    """The image as uint8 [C, size, size] (C = 3 RGB, or 1 grey), and its original height and width in pixels.

    Upright by its EXIF tag; the first frame of several; transparent parts become white; 16 bits and floats are scaled
    to 8, grey ones of `grey_range` if that is given; DICOM as `data/dicom.py` says. Squeezed to a square by an
    antialiased triangle filter. Raises whatever Pillow or pydicom do for a broken file, `ConfigError` where pydicom is
    needed and not there.
    """
    image = read_image(path, grey_range)
    width, height = image.size
    image = image.convert("RGB" if colour else "L").resize((size, size), Image.Resampling.BILINEAR)
    pixels = np.asarray(image, dtype=np.uint8)
    # [H, W, C] or [H, W] -> [C, H, W]
    return (pixels.transpose(2, 0, 1) if colour else pixels[None]), height, width


def read_image(path: Path, grey_range: GreyRange | None = None) -> Image.Image:
    """The picture as large as it is, upright, in 8 bits a channel and without transparency."""
    if is_dicom(path):
        return read_dicom(path, grey_range)
    with Image.open(path, formats=IMAGE_FORMATS) as opened:
        return to_8_bit_image(ImageOps.exif_transpose(opened), grey_range)


def to_8_bit_image(image: Image.Image, grey_range: GreyRange | None) -> Image.Image:
    """The same picture in 8 bits a channel and without transparency."""
    if image.mode.startswith("I") or image.mode == "F":
        return Image.fromarray(scale_to_uint8(np.asarray(image), grey_range))
    if image.has_transparency_data:
        picture = image.convert("RGBA")
        paper = Image.new("RGBA", picture.size, (WHITE, WHITE, WHITE, WHITE))
        return Image.alpha_composite(paper, picture).convert("RGB")
    return image


def scale_to_uint8(values: NDArray[np.generic], grey_range: GreyRange | None) -> NDArray[np.uint8]:
    """Grey values of more than 8 bits, [H, W], scaled to uint8.

    Whole numbers by the range of their type, 0 to 65535, so that images stay comparable; floats in 0 to 1 by that
    range. Values outside of it have no known range: they are stretched from the least to the greatest. A `grey_range`
    takes the place of all that; what is outside of it is black or white.
    """
    numbers = values.astype(np.float64)
    if not np.isfinite(numbers).all():
        raise ValueError("it has values that are not numbers")
    if grey_range is not None:
        low, high = grey_range
        return np.rint((np.clip(numbers, low, high) - low) * (255.0 / (high - low))).astype(np.uint8)
    low, high = (0.0, 65535.0) if np.issubdtype(values.dtype, np.integer) else (0.0, 1.0)
    least, greatest = float(numbers.min()), float(numbers.max())
    if least < low or greatest > high:
        low, high = least, greatest
    return np.rint((numbers - low) * (255.0 / (high - low))).astype(np.uint8)
