"""A folder of images, of any number, decoded batch by batch: never more than two batches are in memory."""

import os
import warnings
from collections import Counter, deque
from collections.abc import Generator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lowres_ssl.data.datasets import images_below
from lowres_ssl.data.decode import GreyRange, decode_image
from lowres_ssl.data.image_metadata import format_image_error
from lowres_ssl.errors import DataError, UserError

ImageFiles = Sequence[tuple[Path, str]]  # the path and the id of each
Pixels = NDArray[np.uint8]


@dataclass(frozen=True)
class DecodedBatch:
    """`ids` of the images that could be read, and those: uint8 [B, C, R, R], B may be 0. `unreadable`: the others, the
    path of each and why."""

    ids: list[str]
    images: Pixels
    unreadable: list[tuple[Path, str]]


def list_image_files(folder: Path) -> list[tuple[Path, str]]:
    """Every image file below `folder`, sorted by its id, the path relative to it. Raises `DataError`."""
    if not folder.is_dir():
        what = "not a folder" if folder.exists() else "no such folder"
        raise DataError(f"{folder}: {what}, wanted one with images, at any depth; type images=FOLDER")
    found = list(images_below(folder.resolve()))
    if not found:
        raise DataError(f"{folder}: no images there, wanted some, at any depth; type images=FOLDER")
    twice = next((id for id, count in Counter(id for _, id in found).items() if count > 1), None)
    if twice is not None:
        raise DataError(f"{twice}: two files are spelt like this, differing in encoding only; rename one of them")
    return found


def iter_decoded_batches(
    files: ImageFiles, *, colour: bool, size: int, batch_size: int, grey_range: GreyRange | None = None
) -> Generator[DecodedBatch, None, None]:
    """The images as the store of a run holds them, in order; while one batch is used the next is decoded in threads."""

    def read(path: Path) -> Pixels | str:
        try:
            return decode_image(path, colour=colour, size=size, grey_range=grey_range)[0]
        except UserError:
            raise
        except Exception as error:  # whatever a decoder stumbles over, the file is the cause
            return format_image_error(error)

    waiting: deque[tuple[ImageFiles, list[Future[Pixels | str]]]] = deque()
    # What Pillow warns of is no matter here; what it cannot read it raises.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        pool = ThreadPoolExecutor(max_workers=min(32, (os.cpu_count() or 1) + 1))
        try:
            for start in range(0, len(files), batch_size):
                part = files[start : start + batch_size]
                waiting.append((part, [pool.submit(read, path) for path, _ in part]))
                if len(waiting) > 1:
                    yield collect_batch(*waiting.popleft(), colour, size)
            yield collect_batch(*waiting.popleft(), colour, size)
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


def collect_batch(files: ImageFiles, results: list["Future[Pixels | str]"], colour: bool, size: int) -> DecodedBatch:
    images = np.empty((len(files), 3 if colour else 1, size, size), dtype=np.uint8)
    ids: list[str] = []
    unreadable: list[tuple[Path, str]] = []
    for (path, id), future in zip(files, results, strict=True):
        result = future.result()
        if isinstance(result, str):
            unreadable.append((path, result))
        else:
            images[len(ids)] = result
            ids.append(id)
    return DecodedBatch(ids, images[: len(ids)], unreadable)
