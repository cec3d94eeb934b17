"""Find the folder of images that was typed; unpack arrays in one .npz file, as MedMNIST's are, into one."""

import csv
import math
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any
from zipfile import BadZipFile, ZipFile

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from lowres_ssl.config.overrides import is_utf8
from lowres_ssl.console import log_info, shorten_list
from lowres_ssl.data.datasets import guess_subset
from lowres_ssl.data.image_folder import scan_folder
from lowres_ssl.errors import ConfigError, DataError
from lowres_ssl.init.left_out import ARCHIVE_SUFFIXES
from lowres_ssl.init.write_config import make_dataset_name
from lowres_ssl.io.atomic import replacing_folder
from lowres_ssl.io.checksummed_json import hash_content

ARRAYS_SUFFIX = ".npz"  # files that are read as a folder is
TABLE_NAME = "labels.csv"
ORIGIN_NAME = ".unpacked"  # has the digest of the file whose images lie beside it
WANTED_ARRAYS = "wanted arrays such as train_images [N,H,W] or [N,H,W,3] in uint8 and train_labels [N]"
MAX_IMAGE_BYTES = 2**28  # of one image
NO_CLASS = "none"  # of an image whose columns of classes are all 0


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


def unpack_arrays(folder: Path, data_dir: Path) -> Path:
    """Return the folder to read: `folder` itself, or, for an .npz file or a folder with one and without images, a new
    folder in `data_dir`; nothing is done where its images are there already. Raises `DataError`."""
    files = [folder]
    if folder.is_dir():
        found = sorted(each for each in folder.iterdir() if each.suffix.lower() == ARRAYS_SUFFIX)
        if not found or scan_folder(folder).images:
            return folder
        files = found
    if len(files) > 1:
        names = shorten_list([each.name for each in files])
        raise DataError(f"{folder}: which file? got {names}, wanted one; type lowres-ssl init {files[0]}")
    try:
        with ZipFile(files[0]) as archive:
            digest = hash_content([[each.filename, each.CRC] for each in archive.infolist()])
        return unpack_file(files[0], digest, data_dir)
    except (OSError, ValueError, EOFError, BadZipFile, zlib.error) as error:
        raise DataError(f"{files[0]}: cannot be unpacked into {data_dir} ({error})") from error


def unpack_file(file: Path, digest: str, data_dir: Path) -> Path:
    """Return the folder in `data_dir` with the pictures of `file`: a new one, or that of an earlier call. Raises
    `DataError` where folders of that name hold something else."""
    name = make_dataset_name(file.stem)
    places = [data_dir / name, data_dir / f"{name}_images"]
    for place in places:
        if (place / ORIGIN_NAME).is_file() and (place / ORIGIN_NAME).read_text() == digest:
            log_info(f"{file}: read from {place}, where it was unpacked before")
            return place
    target = next((each for each in places if not each.exists()), None)
    if target is None:
        raise DataError(f"{file}: {places[0]} and {places[1]} hold other files; type data_dir=FOLDER")
    with np.load(file, allow_pickle=False) as arrays, replacing_folder(target) as temporary:
        rows = list(save_images(file, arrays, temporary))
        with (temporary / TABLE_NAME).open("w", encoding="utf-8", newline="") as table:
            csv.writer(table).writerows([("path", "label", "split"), *rows])
        (temporary / ORIGIN_NAME).write_text(digest)
    log_info(f"{file}: {len(rows):,} images unpacked into {target}")
    return target


def save_images(file: Path, arrays: Any, folder: Path) -> Iterator[tuple[str, str, str]]:
    """Save each image of the arrays with labels, one at a time; yield its path, label and subset. Raises `DataError`
    where there is none."""
    shapes = {}
    for key in (each for each in arrays.files if f"{each}.npy" in arrays.zip.namelist()):
        with open_array(arrays, key) as (_, shape, _):
            shapes[key] = shape
    pairs = [
        (key, other)
        for key, shape in shapes.items()
        if len(shape) >= 3 and (other := find_labels(key, shapes)) is not None
    ]
    if not pairs:
        got = shorten_list([f"{key} {list(shape)}" for key, shape in shapes.items()]) or "none"
        raise DataError(f"{file}: got {got}; {WANTED_ARRAYS}")
    for key, other in pairs:
        subset = guess_subset(key) or ""
        (folder / (subset or "images")).mkdir(exist_ok=True)
        with open_array(arrays, key) as (stream, shape, dtype):
            size = math.prod(shape[1:])
            if dtype != np.uint8 or shape[3:] not in ((), (1,), (3,)) or size > MAX_IMAGE_BYTES:
                raise DataError(f"{file}: {key} is {dtype} {list(shape)}; {WANTED_ARRAYS}")
            for number, label in enumerate(format_labels(arrays[other])):
                image = np.frombuffer(stream.read(size), np.uint8).reshape(shape[1:])
                name = f"{subset or 'images'}/{number:06d}.png"
                Image.fromarray(image.squeeze(-1) if image.shape[2:] == (1,) else image).save(folder / name)
                yield name, label, subset


@contextmanager
def open_array(arrays: Any, key: str) -> Iterator[tuple[IO[bytes], tuple[int, ...], np.dtype[Any]]]:
    """Open an array at its first number, with its shape and its kind of numbers: it may be larger than the memory.
    Raises `ValueError` for one that is stored by columns."""
    with arrays.zip.open(f"{key}.npy") as stream:
        is_first = np.lib.format.read_magic(stream) == (1, 0)
        read_header = np.lib.format.read_array_header_1_0 if is_first else np.lib.format.read_array_header_2_0
        shape, by_columns, dtype = read_header(stream)
        if by_columns and len(shape) > 2:
            raise ValueError(f"{key} is stored by columns; save it with numpy.ascontiguousarray")
        yield stream, shape, dtype


def find_labels(key: str, shapes: dict[str, tuple[int, ...]]) -> str | None:
    """Find the array with a row for each image of the array `key`; one named labels before others."""
    others = [
        other
        for other, shape in shapes.items()
        if 1 <= len(shape) <= 2 and shape[0] == shapes[key][0] and guess_subset(key) == guess_subset(other)
    ]
    return min(others, key=lambda other: "label" not in other.lower(), default=None)


def format_labels(labels: NDArray[Any]) -> list[str]:
    """Format labels [N] or [N,1]; of columns of classes, 1 or 0, the numbers of those with 1: "3|5"."""
    if labels.ndim == 1 or labels.shape[1] == 1:
        return [str(label) for label in labels.reshape(-1)]
    return ["|".join(map(str, np.flatnonzero(row))) or NO_CLASS for row in labels]
