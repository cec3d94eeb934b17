"""Unpack images that are published as arrays in one .npz file, as MedMNIST's are, into pictures and a table."""

import csv
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from lowres_ssl.console import log_info, shorten_list
from lowres_ssl.data.datasets import guess_subset, images_below
from lowres_ssl.errors import DataError
from lowres_ssl.init.typed_input import ARRAYS_SUFFIX
from lowres_ssl.init.write_config import make_dataset_name
from lowres_ssl.io.atomic import replacing_folder

TABLE_NAME = "labels.csv"
NO_CLASS = "none"  # of an image whose columns of classes are all 0


def unpack_arrays(folder: Path, data_dir: Path) -> Path:
    """Return the folder to read: `folder` itself, or, for an .npz file or a folder with one and without images, a new
    folder in `data_dir`; nothing is done where that is there already. Raises `DataError`."""
    files = [folder]
    if folder.is_dir():
        found = sorted(each for each in folder.iterdir() if each.suffix.lower() == ARRAYS_SUFFIX)
        if not found or any(True for _ in images_below(folder)):
            return folder
        files = found
    if len(files) > 1:
        names = shorten_list([each.name for each in files])
        raise DataError(f"{folder}: which file? got {names}, wanted one; type lowres-ssl init {files[0]}")
    target = data_dir / make_dataset_name(files[0].stem)
    if (target / TABLE_NAME).is_file():
        log_info(f"{files[0]}: read from {target}, where it was unpacked before")
        return target
    try:
        with np.load(files[0], allow_pickle=False) as arrays, replacing_folder(target) as temporary:
            rows = list(save_images(files[0], arrays, temporary))
            with (temporary / TABLE_NAME).open("w", encoding="utf-8", newline="") as file:
                csv.writer(file).writerows([("path", "label", "split"), *rows])
    except (OSError, ValueError, BadZipFile) as error:
        raise DataError(f"{files[0]}: cannot be unpacked into {target} ({error})") from error
    log_info(f"{files[0]}: {len(rows):,} images unpacked into {target}")
    return target


def save_images(file: Path, arrays: Any, folder: Path) -> Iterator[tuple[str, str, str]]:
    """Save each array of images with labels, one at a time; yield the path, label and subset of each image. Raises
    `DataError` where there is none."""
    shapes = {key: arrays[key].shape for key in arrays.files}
    wanted = "wanted arrays such as train_images [N,H,W] or [N,H,W,3] in uint8 and train_labels [N]"
    pairs = [
        (key, other)
        for key, shape in shapes.items()
        for other, own in shapes.items()
        if len(shape) >= 3 and 1 <= len(own) <= 2 and shape[0] == own[0] and guess_subset(key) == guess_subset(other)
    ]
    if not pairs:
        got = shorten_list([f"{key} {list(shape)}" for key, shape in shapes.items()]) or "none"
        raise DataError(f"{file}: got {got}; {wanted}")
    for key, other in pairs:
        images, subset = arrays[key], guess_subset(key) or ""
        if images.dtype != np.uint8 or images.shape[3:] not in ((), (1,), (3,)):
            raise DataError(f"{file}: {key} is {images.dtype} {list(images.shape)}; {wanted}")
        (folder / (subset or "images")).mkdir(exist_ok=True)
        for number, (image, label) in enumerate(zip(images, format_labels(arrays[other]), strict=True)):
            name = f"{subset or 'images'}/{number:06d}.png"
            Image.fromarray(image.squeeze(-1) if image.shape[2:] == (1,) else image).save(folder / name)
            yield name, label, subset


def format_labels(labels: NDArray[Any]) -> list[str]:
    """Format labels [N] or [N,1]; of columns of classes, 1 or 0, the numbers of those with 1: "3|5"."""
    if labels.ndim == 1 or labels.shape[1] == 1:
        return [str(label) for label in labels.reshape(-1)]
    return ["|".join(map(str, np.flatnonzero(row))) or NO_CLASS for row in labels]
