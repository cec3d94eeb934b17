"""Decode image files to squares of bytes, one file or many of them in threads.

Whatever changes these bytes must change DECODER_VERSION.
"""

import os
import warnings
from collections import deque
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from functools import partial, wraps
from itertools import islice
from pathlib import Path
from typing import NamedTuple, ParamSpec, TypeVar

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

from lowres_ssl.console import CountProgress
from lowres_ssl.data.dicom import is_dicom, read_dicom
from lowres_ssl.errors import UserError

DECODER_VERSION = 1
WHITE = 255
BIT_DEPTHS = (8, 10, 12, 14)  # of cameras and scanners that write files of 16 bits
Item = TypeVar("Item")
Result = TypeVar("Result")
Arguments = ParamSpec("Arguments")
GreyRange = tuple[float, float]  # the stored values that become black and white
ImageFiles = Sequence[tuple[Path | Image.Image, str]]  # each file, or image in memory, and its id
# The formats that are read beside DICOM, whatever the file's name is. Pillow knows more; one starts a program (EPS).
IMAGE_FORMATS = ("PNG", "JPEG", "TIFF", "BMP", "WEBP", "GIF")


class DecodedImage(NamedTuple):
    """Hold `pixels`, uint8 [C, size, size] (C = 3 RGB, or 1 grey), and the original height and width in pixels.
    `max_grey`: the highest value in a grey file of 16 bits; None for others, and DICOM, which names its own range."""

    pixels: NDArray[np.uint8]
    height: int
    width: int
    max_grey: int | None


def decode_image(
    path: Path | Image.Image, *, colour: bool, size: int, grey_range: GreyRange | None = None
) -> DecodedImage:
    """Decode an image to a square of bytes.

    Upright by its EXIF tag; the first frame of several; transparent parts become white; 16 bits and floats are scaled
    to 8, grey ones of `grey_range` if that is given; DICOM as in `data/dicom.py`. Squeezed to a square by an
    antialiased triangle filter. Raises what Pillow or pydicom raise for a broken file, `ConfigError` without pydicom.
    """
    image, max_grey = read_deep_image(path, grey_range)
    width, height = image.size
    image = image.convert("RGB" if colour else "L").resize((size, size), Image.Resampling.BILINEAR)
    pixels = np.asarray(image, dtype=np.uint8)
    pixels = pixels.transpose(2, 0, 1) if colour else pixels[None]  # [H, W, C] or [H, W] -> [C, H, W]
    return DecodedImage(pixels, height, width, max_grey)


def count_used_bits(max_grey: int) -> int | None:
    """Count the bits that grey values up to this need, where files of 16 bits use fewer; None if all are used."""
    return next((bits for bits in BIT_DEPTHS if max_grey < 2**bits), None)


def explain_failure(read: Callable[Arguments, Result]) -> Callable[Arguments, Result | str]:
    """Wrap a reader of image files: where it fails, it returns the reason. A `UserError` is still raised."""

    @wraps(read)
    def read_or_explain(*args: Arguments.args, **kwargs: Arguments.kwargs) -> Result | str:
        try:
            return read(*args, **kwargs)
        except UserError:
            raise
        except Exception as error:  # decoders raise errors of any class; the file is the cause
            return format_image_error(error)

    return read_or_explain


decode_or_explain = explain_failure(decode_image)


def format_image_error(error: Exception) -> str:
    """Explain in a few words why a file could not be read."""
    if isinstance(error, UnidentifiedImageError):
        return f"its content is none of {', '.join(IMAGE_FORMATS)}"
    if isinstance(error, Image.DecompressionBombError):
        return f"it has more pixels than Pillow's limit of {2 * (Image.MAX_IMAGE_PIXELS or 0):,}"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return (str(error) or type(error).__name__).splitlines()[0]


def read_image(path: Path | Image.Image, grey_range: GreyRange | None = None) -> Image.Image:
    """Read an image in its own size, upright, in 8 bits a channel and without transparency."""
    return read_deep_image(path, grey_range)[0]


def read_deep_image(path: Path | Image.Image, grey_range: GreyRange | None) -> tuple[Image.Image, int | None]:
    """Read what `read_image` does, and the `max_grey` of `DecodedImage`."""
    if isinstance(path, Image.Image):
        return convert_to_uint8(path, grey_range)
    if is_dicom(path):
        return read_dicom(path, grey_range), None
    with Image.open(path, formats=IMAGE_FORMATS) as opened:
        return convert_to_uint8(opened, grey_range)


def convert_to_uint8(opened: Image.Image, grey_range: GreyRange | None) -> tuple[Image.Image, int | None]:
    image = ImageOps.exif_transpose(opened)
    if image.mode.startswith("I") or image.mode == "F":
        values = np.asarray(image)
        max_grey = int(values.max()) if image.mode.startswith("I;16") else None
        return Image.fromarray(scale_to_uint8(values, grey_range)), max_grey
    if image.has_transparency_data:
        image = image.convert("RGBA")
        paper = Image.new("RGBA", image.size, (WHITE, WHITE, WHITE, WHITE))
        image = Image.alpha_composite(paper, image).convert("RGB")
    return image, None


def scale_to_uint8(values: NDArray[np.generic], grey_range: GreyRange | None) -> NDArray[np.uint8]:
    """Scale grey values of more than 8 bits, [H, W], to uint8.

    Whole numbers by the range of their type, 0 to 65535, so that images stay comparable; floats in 0 to 1 by that
    range. Values outside of it have no known range: they are stretched from the least to the greatest. A `grey_range`
    takes the place of all that; what is outside of it is black or white.
    """
    numbers = values.astype(np.float64)
    if not np.isfinite(numbers).all():
        raise ValueError("it has values that are not numbers")
    if grey_range is not None:
        low, high = grey_range
        numbers = np.clip(numbers, low, high)
    else:
        low, high = (0.0, 65535.0) if np.issubdtype(values.dtype, np.integer) else (0.0, 1.0)
        least, greatest = float(numbers.min()), float(numbers.max())
        if least < low or greatest > high:
            low, high = least, greatest
    return np.rint((numbers - low) * (255.0 / (high - low))).astype(np.uint8)


def map_in_threads(
    function: Callable[[Item], Result], items: Sequence[Item], *, label: str = "", ahead: int = 256
) -> Generator[Result, None, None]:
    """Yield `function` of each item, in order, computed at most `ahead` items before it is asked for; with progress on
    standard error if there is a `label`.

    Pillow and hashlib release the interpreter lock. Pending work is dropped when the caller stops early.
    """
    shown = CountProgress(label, len(items), first=f"{label}: {len(items)}", wanted=bool(label and items))
    # Pillow warns of odd tags and of images of 100 megapixels; what it cannot read it raises.
    with warnings.catch_warnings(), shown:
        warnings.simplefilter("ignore")
        pool = ThreadPoolExecutor(max_workers=min(32, (os.cpu_count() or 1) + 1))
        waiting: deque[Future[Result]] = deque()
        try:
            for item in items:
                waiting.append(pool.submit(function, item))
                if len(waiting) > ahead:
                    yield waiting.popleft().result()
                    shown.add(1)
            while waiting:
                yield waiting.popleft().result()
                shown.add(1)
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


@dataclass(frozen=True)
class DecodedBatch:
    """Hold the `ids` of the readable images, their pixels (uint8 [B, C, R, R], B may be 0), the path of each unreadable
    one with the reason, and the `max_grey` of each image that has one, by id."""

    ids: list[str]
    images: NDArray[np.uint8]
    unreadable: list[tuple[Path, str]]
    max_greys: dict[str, int]


def iter_decoded_batches(
    files: ImageFiles, *, colour: bool, size: int, batch_size: int, grey_range: GreyRange | None = None
) -> Generator[DecodedBatch, None, None]:
    """Yield the images in order, decoded as for a run's store; the next batch is decoded while one is in use, so that
    at most two batches are in memory."""
    decode = partial(decode_or_explain, colour=colour, size=size, grey_range=grey_range)
    with closing(map_in_threads(decode, [path for path, _ in files], ahead=batch_size)) as results:
        for start in range(0, len(files), batch_size):
            part = files[start : start + batch_size]
            ids: list[str] = []
            unreadable: list[tuple[Path, str]] = []
            max_greys: dict[str, int] = {}
            images = np.empty((len(part), 3 if colour else 1, size, size), np.uint8)
            for (path, id), result in zip(part, islice(results, len(part)), strict=True):
                if isinstance(result, str):
                    unreadable.append((path if isinstance(path, Path) else Path(id), result))
                else:
                    images[len(ids)] = result.pixels
                    ids.append(id)
                    if result.max_grey is not None:
                        max_greys[id] = result.max_grey
            yield DecodedBatch(ids, images[: len(ids)], unreadable, max_greys)
