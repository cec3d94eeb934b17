"""The image store: every image of a catalogue decoded once, as one memory-mapped array in one folder.

A folder is `images.npy` (uint8 [N, C, R, R]) and `store.json`, named by a key over what determines its bytes. Nothing
else writes there; whatever is missing or damaged is made anew. The checksum of the images is looked at when a process
first opens them: that reads them once, as the training would.
"""

import hashlib
import json
import os
import re
import shutil
import sys
import zlib
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lowres_ssl.console import log_warning
from lowres_ssl.data.catalogue import Catalogue, ImageRecord
from lowres_ssl.data.decode import DECODER_VERSION, GreyRange, decode_image
from lowres_ssl.data.file_reading import map_in_threads
from lowres_ssl.data.image_metadata import SKIP_HINT, format_image_error
from lowres_ssl.errors import DataError, UserError
from lowres_ssl.io.atomic import replacing_folder
from lowres_ssl.io.checksummed_json import FORMAT_VERSIONS, verify_checksum, write_checked_json
from lowres_ssl.io.locks import lock

SPARE_BYTES = 64 * 2**20  # left free on the disk
MAX_SIZE_RATIO = 8  # times the training size: an 8% crop then has twice the pixels of its view


@dataclass(frozen=True)
class ImageStore:
    """Decoded images: those with labels in the catalogue's order, then the unlabelled ones.

    `images`: uint8 [N, C, R, R], memory-mapped; what is written to it never reaches the file. `sizes`: int32 [N, 2],
    original height and width in pixels. `ids`: of each row. `path`: the store's folder.
    """

    images: NDArray[np.uint8]
    sizes: NDArray[np.int32]
    ids: tuple[str, ...]
    path: Path


def choose_storage_size(catalogue: Catalogue, image_size: int) -> int:
    """The side in pixels to store images at: twice the training size, not above the median original's shorter side."""
    shorter = sorted(min(record.height, record.width) for record in catalogue.records)
    return max(1, min(2 * image_size, shorter[(len(shorter) - 1) // 2]))


def get_original_size(catalogue: Catalogue, image_size: int) -> int:
    """The side in pixels at which storing loses nothing that a view could show: the longest side of all originals, so
    that none is reduced in either direction, not above eight times the training size."""
    longest = max(max(record.height, record.width) for record in catalogue.records)
    return max(1, min(MAX_SIZE_RATIO * image_size, longest))


def get_store_folder(catalogue: Catalogue, *, colour: bool, storage_size: int, store_dir: Path) -> Path:
    """Where the decoded images are, or would be."""
    key = compute_store_key(catalogue.records + catalogue.unlabelled, colour, storage_size, catalogue.grey_range)
    name = re.sub(r"[^A-Za-z0-9._-]+", "_", catalogue.name)[:60]
    return store_dir / f"{name}-{storage_size}px-{key[:8]}"


def open_image_store(
    catalogue: Catalogue,
    *,
    colour: bool,
    storage_size: int,
    store_dir: Path,
    skip_unreadable: bool,
    progress: bool = True,
) -> tuple[ImageStore, Catalogue]:
    """The decoded images, and the catalogue of just those, made now if they are not there yet.

    An image that cannot be decoded raises `DataError`; with `skip_unreadable` it is left out of both and counted in the
    notes. Raises `DataError` as well for a lack of disk space, or if a class has no readable image.
    """
    records = catalogue.records + catalogue.unlabelled
    key = compute_store_key(records, colour, storage_size, catalogue.grey_range)
    folder = get_store_folder(catalogue, colour=colour, storage_size=storage_size, store_dir=store_dir)
    meta = check_store_rows(records, read_store_meta(folder, key))
    if meta is None:
        if folder.exists():
            log_warning(f"{folder}: the decoded images are damaged, or of an earlier version; decoded anew")
        try:
            with lock(folder, f"decoded images of {catalogue.name}"):
                # Another process may have made them while this one waited.
                meta = check_store_rows(records, read_store_meta(folder, key))
                if meta is None:
                    build_image_store(
                        folder, key, records, colour, storage_size, catalogue.grey_range, skip_unreadable, progress
                    )
        except OSError as error:
            raise DataError(
                f"{folder}: the decoded images could not be written ({error.strerror or error}); "
                "name another place with output_dir=FOLDER"
            ) from error
        meta = meta or check_store_rows(records, read_store_meta(folder, key))
    if meta is None:
        raise DataError(f"{folder}: the decoded images are damaged again after writing them; check the disk")
    dropped: dict[str, str] = meta["dropped"]
    if dropped and not skip_unreadable:
        first = next(record for record in records if record.id in dropped)
        raise make_unreadable_error(first, dropped[first.id])
    return load_image_store(folder, meta), drop_records(catalogue, dropped)


def find_image_store(folder: Path) -> ImageStore | None:
    """The store in `folder` as it was left there, if it is whole; whether it is that of some catalogue is not asked."""
    meta = read_own_meta(folder)
    return None if meta is None else load_image_store(folder, meta)


def drop_undecodable(catalogue: Catalogue, folder: Path) -> Catalogue:
    """The catalogue less what could not be decoded when its store in `folder` was made; the same if none is there."""
    meta = check_store_rows(catalogue.records + catalogue.unlabelled, read_own_meta(folder))
    return catalogue if meta is None else drop_records(catalogue, meta["dropped"])


def read_own_meta(folder: Path) -> dict[str, Any] | None:
    try:
        key = json.loads((folder / "store.json").read_text(encoding="utf-8"))["key"]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return read_store_meta(folder, key)


def load_image_store(folder: Path, meta: dict[str, Any]) -> ImageStore:
    return ImageStore(
        images=np.load(folder / "images.npy", mmap_mode="c"),
        sizes=np.array(meta["sizes"], dtype=np.int32).reshape(-1, 2),
        ids=tuple(meta["ids"]),
        path=folder,
    )


def drop_records(catalogue: Catalogue, dropped: dict[str, str]) -> Catalogue:
    """The catalogue less the ids in `dropped` (id -> why), with a note. Raises `DataError` if a class is lost by it."""
    if not dropped:
        return catalogue
    first, reason = next(iter(dropped.items()))
    left = replace(
        catalogue,
        records=tuple(record for record in catalogue.records if record.id not in dropped),
        unlabelled=tuple(record for record in catalogue.unlabelled if record.id not in dropped),
        notes=(*catalogue.notes, f"{len(dropped)} unreadable images left out, for one {first}: {reason}"),
    )
    if left.classes != catalogue.classes:
        lost = sorted(set(catalogue.classes) - set(left.classes))[0]
        raise DataError(f"{catalogue.root}: class {lost} has no readable image, wanted at least 2; replace its files")
    return left


def make_unreadable_error(record: ImageRecord, reason: str) -> DataError:
    return DataError(f"{record.path}: not a readable image: {reason}; {SKIP_HINT}")


def compute_store_key(records: tuple[ImageRecord, ...], colour: bool, size: int, grey_range: GreyRange | None) -> str:
    content = [
        FORMAT_VERSIONS["store"],
        DECODER_VERSION,
        colour,
        size,
        [[record.id, record.sha256] for record in records],
    ]
    content += [] if grey_range is None else [list(grey_range)]
    return hashlib.sha256(json.dumps(content).encode()).hexdigest()


def read_store_meta(folder: Path, key: str) -> dict[str, Any] | None:
    """What `store.json` says; None if the store is not there, is another's, or does not hold what it should."""
    try:
        meta = verify_checksum(json.loads((folder / "store.json").read_text(encoding="utf-8")))
        if meta["schema"] != FORMAT_VERSIONS["store"] or meta["key"] != key:
            return None
        images = np.load(folder / "images.npy", mmap_mode="r")
        whole = images.offset + images.nbytes == (folder / "images.npy").stat().st_size
        fits = list(images.shape) == meta["shape"] and len(meta["ids"]) == len(meta["sizes"]) == len(images)
        fits = fits and images.dtype == np.uint8 and isinstance(meta["dropped"], dict)
        return meta if whole and fits and compute_file_checksum(folder / "images.npy") == meta["crc32"] else None
    except Exception:  # whatever the readers of JSON and of arrays stumble over, it is made anew
        return None


def compute_file_checksum(path: Path) -> int:
    """CRC-32 of a file's bytes, worked out again only where the file is another than when it was last asked for."""
    known = path.stat()
    return compute_cached_checksum(path, known.st_ino, known.st_size, known.st_mtime_ns)


@lru_cache(maxsize=64)  # the jobs of a sweep open the same few stores
def compute_cached_checksum(path: Path, _inode: int, _size: int, _mtime_ns: int) -> int:
    checksum = 0
    with path.open("rb") as file:
        while block := file.read(2**22):
            checksum = zlib.crc32(block, checksum)
    return checksum


def check_store_rows(records: tuple[ImageRecord, ...], meta: dict[str, Any] | None) -> dict[str, Any] | None:
    """The same; None if its rows are not those of the records, or a size is none: then somebody else wrote it."""
    if meta is None or [record.id for record in records if record.id not in meta["dropped"]] != meta["ids"]:
        return None
    sizes = [side for size in meta["sizes"] if isinstance(size, list) and len(size) == 2 for side in size]
    whole = all(type(side) is int and 0 <= side < 2**31 for side in sizes)
    reasons = all(isinstance(reason, str) for reason in meta["dropped"].values())
    return meta if whole and reasons and len(sizes) == 2 * len(meta["ids"]) else None


def build_image_store(
    folder: Path,
    key: str,
    records: tuple[ImageRecord, ...],
    colour: bool,
    size: int,
    grey_range: GreyRange | None,
    skip_unreadable: bool,
    progress: bool,
) -> None:
    """Decode everything into a new folder beside `folder`, then put it there."""
    shape = (len(records), 3 if colour else 1, size, size)
    with replacing_folder(folder) as temporary:
        images = allocate_array(temporary / "images.npy", shape)

        def decode_row(row: int) -> tuple[int, int] | str:
            try:
                images[row], height, width = decode_image(
                    records[row].path, colour=colour, size=size, grey_range=grey_range
                )
            except UserError:
                raise
            except Exception as error:  # whatever a decoder stumbles over, the file is the cause
                return format_image_error(error)
            return height, width

        sizes: dict[int, tuple[int, int]] = {}
        dropped: dict[str, str] = {}
        rows = range(len(records))
        results = map_in_threads(decode_row, rows, label="Decoding images", progress=progress)
        for row, result in zip(rows, results, strict=True):
            if not isinstance(result, str):
                sizes[row] = result
            elif skip_unreadable:
                dropped[records[row].id] = result
            else:
                results.close()
                raise make_unreadable_error(records[row], result)
        if not sizes:
            raise DataError(f"{folder}: none of {len(records)} images is readable, for one {next(iter(dropped))}")
        if dropped:
            images = compact_images(temporary, images, list(sizes))
        images.flush()
        meta = {
            "schema": FORMAT_VERSIONS["store"],
            "key": key,
            "shape": list(images.shape),
            "ids": [records[row].id for row in sizes],
            "sizes": list(sizes.values()),
            "dropped": dropped,
            "crc32": compute_file_checksum(temporary / "images.npy"),
        }
        write_checked_json(temporary / "store.json", meta)


def compact_images(folder: Path, images: np.memmap[Any, Any], rows: list[int]) -> np.memmap[Any, Any]:
    """`images.npy` in `folder` again, with these rows only."""
    smaller = allocate_array(folder / "smaller.npy", (len(rows), *images.shape[1:]))
    for place, row in enumerate(rows):
        smaller[place] = images[row]
    (folder / "smaller.npy").replace(folder / "images.npy")
    return smaller


def allocate_array(path: Path, shape: tuple[int, ...]) -> np.memmap[Any, Any]:
    """A new uint8 array on disk, all of its space taken: writing to a mapped file on a full disk would kill us.

    Raises `DataError` if the space is not there.
    """
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
