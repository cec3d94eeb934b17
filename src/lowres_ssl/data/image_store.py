"""Decode every image of a catalogue once, into one memory-mapped array in one folder: the image store.

A folder is `images.npy` (uint8 [N, C, R, R]) and `store.json`, named by a key over what determines its bytes. A missing
or damaged store is built again. The checksum of the images is checked when a process first opens them: that reads them
once, as the training would.
"""

import hashlib
import json
import os
import re
import shutil
import sys
import zlib
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from lowres_ssl.console import log_warning
from lowres_ssl.data.catalogue import Catalogue
from lowres_ssl.data.catalogue_subset import drop_records
from lowres_ssl.data.decode import DECODER_VERSION, decode_or_explain, map_in_threads
from lowres_ssl.data.image_metadata import make_unreadable_error
from lowres_ssl.errors import CheckpointError, DataError
from lowres_ssl.io.atomic import replacing_folder
from lowres_ssl.io.checksummed_json import read_record, write_record
from lowres_ssl.io.locks import lock

SPARE_BYTES = 64 * 2**20  # stay free on the disk
DECODED_AHEAD = 64  # images that wait to be stored


@dataclass(frozen=True)
class ImageStore:
    """Hold decoded images: those with labels in the catalogue's order, then the unlabelled ones.

    `images`: uint8 [N, C, R, R], memory-mapped; writes to it never reach the file. `sizes`: int32 [N, 2], original
    height and width in pixels. `ids`: of each row. `path`: the store's folder.
    """

    images: NDArray[np.uint8]
    sizes: NDArray[np.int32]
    ids: tuple[str, ...]
    path: Path


@dataclass(frozen=True)
class StoreMeta:
    """Hold what `store.json` records: the original height and width of each id, the reason for each id left out, and
    the CRC-32 of `images.npy`, whose rows after those of the ids are empty."""

    VERSION: ClassVar[int] = 3

    key: str
    ids: tuple[str, ...]
    heights: tuple[int, ...]
    widths: tuple[int, ...]
    dropped: Mapping[str, str]
    crc32: int


def get_store_folder(catalogue: Catalogue, *, colour: bool, storage_size: int, store_dir: Path) -> Path:
    """Name the folder of the decoded images, whether it exists or not."""
    key = compute_store_key(catalogue, colour, storage_size)
    name = re.sub(r"[^A-Za-z0-9._-]+", "_", catalogue.name)[:60]
    return store_dir / f"{name}-{storage_size}px-{key[:8]}"


def compute_store_key(catalogue: Catalogue, colour: bool, size: int) -> str:
    images = [[record.id, record.sha256] for record in catalogue.records + catalogue.unlabelled]
    content = [StoreMeta.VERSION, DECODER_VERSION, colour, size, images]
    content += [] if catalogue.grey_range is None else [list(catalogue.grey_range)]
    return hashlib.sha256(json.dumps(content).encode()).hexdigest()


def open_image_store(
    catalogue: Catalogue, *, colour: bool, storage_size: int, store_dir: Path, skip_unreadable: bool
) -> tuple[ImageStore, Catalogue]:
    """Open the decoded images, decode them first if needed; and return the catalogue of just those.

    An image that cannot be decoded raises `DataError`; with `skip_unreadable` it is left out of both and counted in the
    notes. Raises `DataError` as well for a lack of disk space, or if a class has no readable image.
    """
    key = compute_store_key(catalogue, colour, storage_size)
    folder = get_store_folder(catalogue, colour=colour, storage_size=storage_size, store_dir=store_dir)
    meta = read_store_meta(folder, key)
    if meta is None:
        if folder.exists():
            log_warning(f"{folder}: the decoded images are damaged, or of an earlier version; decoded anew")
        try:
            with lock(folder, f"decoded images of {catalogue.name}"):
                meta = read_store_meta(folder, key)  # another process may have built it while this one waited
                meta = meta or build_image_store(catalogue, folder, key, colour, storage_size, skip_unreadable)
        except OSError as error:
            raise DataError(
                f"{folder}: the decoded images could not be written ({error.strerror or error}); "
                "name another place with output_dir=FOLDER"
            ) from error
    if meta.dropped and not skip_unreadable:
        first = next(each for each in catalogue.records + catalogue.unlabelled if each.id in meta.dropped)
        raise make_unreadable_error(first.path, meta.dropped[first.id])
    return load_image_store(folder, meta), drop_records(catalogue, meta.dropped)


def find_image_store(folder: Path) -> ImageStore | None:
    """Load the store in `folder`, of whatever catalogue; None if it is missing or damaged."""
    meta = read_store_meta(folder)
    return None if meta is None else load_image_store(folder, meta)


def load_image_store(folder: Path, meta: StoreMeta) -> ImageStore:
    images = np.load(folder / "images.npy", mmap_mode="c")[: len(meta.ids)]
    return ImageStore(images, np.array([meta.heights, meta.widths], dtype=np.int32).T, meta.ids, folder)


def read_store_meta(folder: Path, key: str | None = None) -> StoreMeta | None:
    """Read `store.json` and check the images against it; None if the store is missing, damaged, or has another key."""
    try:
        meta = read_record(folder / "store.json", StoreMeta, "decoded again")
        whole = meta is not None and key in (None, meta.key)
        return meta if meta and whole and compute_file_checksum(folder / "images.npy") == meta.crc32 else None
    except (CheckpointError, OSError):
        return None


def compute_file_checksum(path: Path) -> int:
    """Compute the CRC-32 of a file's bytes, once a process while the file is unchanged."""
    stat = path.stat()
    return compute_cached_checksum(path, stat.st_ino, stat.st_size, stat.st_mtime_ns)


@lru_cache(maxsize=64)  # the jobs of a sweep open the same few stores
def compute_cached_checksum(path: Path, _inode: int, _size: int, _mtime_ns: int) -> int:
    checksum = 0
    with path.open("rb") as file:
        while block := file.read(2**22):
            checksum = zlib.crc32(block, checksum)
    return checksum


def build_image_store(
    catalogue: Catalogue, folder: Path, key: str, colour: bool, size: int, skip_unreadable: bool
) -> StoreMeta:
    """Decode everything into a new folder beside `folder`, then rename it."""
    records = catalogue.records + catalogue.unlabelled
    decode = partial(decode_or_explain, colour=colour, size=size, grey_range=catalogue.grey_range)
    with replacing_folder(folder) as temporary:
        images = allocate_array(temporary / "images.npy", (len(records), 3 if colour else 1, size, size))
        sizes: dict[str, tuple[int, int]] = {}
        dropped: dict[str, str] = {}
        paths = [record.path for record in records]
        with closing(map_in_threads(decode, paths, label="Decoding images", ahead=DECODED_AHEAD)) as results:
            for record, result in zip(records, results, strict=True):
                if not isinstance(result, str):
                    images[len(sizes)], height, width, _ = result
                    sizes[record.id] = (height, width)
                elif skip_unreadable:
                    dropped[record.id] = result
                else:
                    raise make_unreadable_error(record.path, result)
        if not sizes:
            raise DataError(f"{folder}: none of {len(records)} images is readable, for one {next(iter(dropped))}")
        images.flush()
        heights, widths = zip(*sizes.values(), strict=True)
        meta = StoreMeta(key, tuple(sizes), heights, widths, dropped, compute_file_checksum(temporary / "images.npy"))
        write_record(temporary / "store.json", meta)
    return meta


def allocate_array(path: Path, shape: tuple[int, ...]) -> np.memmap[Any, Any]:
    """Allocate a uint8 array on disk with all of its space: writing to a mapped file on a full disk would kill the
    process. Raises `DataError` if the space is missing."""
    needed = int(np.prod(shape, dtype=np.int64))
    free = shutil.disk_usage(path.parent).free
    if needed + SPARE_BYTES > free:
        raise DataError(
            f"{path.parent.parent}: the decoded images need {needed / 1e6:,.1f} MB, and {SPARE_BYTES / 1e6:,.0f} MB "
            f"are to stay free, got {free / 1e6:,.1f} MB; "
            "take a smaller dataset.storage_size, or another place with output_dir=FOLDER"
        )
    array = np.lib.format.open_memmap(path, mode="w+", dtype=np.uint8, shape=shape)
    if sys.platform == "linux":
        with path.open("r+b") as file:
            os.posix_fallocate(file.fileno(), 0, array.offset + needed)
    return array
