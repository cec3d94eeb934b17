"""Decode a folder of images, of any number, batch by batch: at most two batches are in memory."""

import os
import warnings
from collections.abc import Generator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from itertools import zip_longest
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lowres_ssl.data.datasets import check_unique_ids, images_below
from lowres_ssl.data.decode import GreyRange, decode_or_explain
from lowres_ssl.errors import DataError

ImageFiles = Sequence[tuple[Path, str]]  # the path and the id of each


@dataclass(frozen=True)
class DecodedBatch:
    """Hold the `ids` of the readable images, their pixels (uint8 [B, C, R, R], B may be 0), and the path of each
    unreadable one with the reason."""

    ids: list[str]
    images: NDArray[np.uint8]
    unreadable: list[tuple[Path, str]]


def list_image_files(folder: Path) -> list[tuple[Path, str]]:
    """List every image file below `folder`, sorted by its id, the path relative to it. Raises `DataError`."""
    if not folder.is_dir():
        what = "not a folder" if folder.exists() else "no such folder"
        raise DataError(f"{folder}: {what}, wanted one with images, at any depth; type images=FOLDER")
    found = list(images_below(folder.resolve()))
    if not found:
        raise DataError(f"{folder}: no images there, wanted some, at any depth; type images=FOLDER")
    check_unique_ids(id for _, id in found)
    return found


def iter_decoded_batches(
    files: ImageFiles, *, colour: bool, size: int, batch_size: int, grey_range: GreyRange | None = None
) -> Generator[DecodedBatch, None, None]:
    """Yield the images in order, decoded as for a run's store; the next batch is decoded while one is in use."""
    decode = partial(decode_or_explain, colour=colour, size=size, grey_range=grey_range)
    parts = [files[start : start + batch_size] for start in range(0, len(files), batch_size)]
    channels = 3 if colour else 1
    pool = ThreadPoolExecutor(max_workers=min(32, (os.cpu_count() or 1) + 1))
    with warnings.catch_warnings():
        try:
            warnings.simplefilter("ignore")  # Pillow warns of odd tags; what it cannot read it raises
            ahead = [pool.submit(decode, path) for path, _ in parts[0]]
            for part, following in zip_longest(parts, parts[1:], fillvalue=()):
                waiting, ahead = ahead, [pool.submit(decode, path) for path, _ in following]
                results = [future.result() for future in waiting]
                pairs = list(zip(part, results, strict=True))
                read = [(id, result[0]) for (_, id), result in pairs if not isinstance(result, str)]
                images = (
                    np.stack([pixels for _, pixels in read]) if read else np.empty((0, channels, size, size), np.uint8)
                )
                unreadable = [(path, result) for (path, _), result in pairs if isinstance(result, str)]
                yield DecodedBatch([id for id, _ in read], images, unreadable)
        finally:
            pool.shutdown(wait=True, cancel_futures=True)
