"""Read the size and the hash of each image file, and keep them in one JSON a folder: the second time is fast.

Patients named in DICOM files are never kept: they are read again each time.
"""

import hashlib
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from PIL import Image

from lowres_ssl.data.decode import IMAGE_FORMATS, explain_failure, map_in_threads
from lowres_ssl.data.dicom import is_dicom, read_dicom_header
from lowres_ssl.errors import CheckpointError, DataError
from lowres_ssl.io.checksummed_json import read_record, write_record
from lowres_ssl.io.locks import lock

EXIF_ORIENTATION = 0x0112  # the EXIF tag; from 5 on, the picture lies on its side


@dataclass(frozen=True)
class ImageMetadata:
    """Hold size, time of change and SHA-256 of an image file, and the image's height and width in pixels, upright."""

    bytes: int
    mtime_ns: int
    height: int
    width: int
    sha256: str
    is_dicom: bool


@dataclass(frozen=True)
class MetadataIndex:
    """Hold the files of a folder by path."""

    VERSION: ClassVar[int] = 3

    files: Mapping[str, ImageMetadata]


@dataclass(frozen=True)
class ReadImages:
    """Hold what was read of files: the `images` by path, the reason for each unreadable one, the id of the patient in
    each DICOM file, and `notes` for the user. Patients are never written to a file."""

    images: Mapping[Path, ImageMetadata]
    problems: Mapping[Path, str]
    patients: Mapping[Path, str | None]
    notes: list[str]


def find_index_file(folder: Path, store_dir: Path) -> Path:
    """Name the index of a folder's files."""
    digest = hashlib.sha256(str(folder).encode("utf-8", "surrogateescape")).hexdigest()[:8]
    return store_dir / f"index-{digest}.json"


def read_image_metadata(paths: Sequence[Path], index_file: Path) -> ReadImages:
    """Read each file's metadata, from the index where size and time of the file are the same.

    Of several processes at once one reads the files, and the others wait for its index.
    """
    problems: dict[Path, str] = {}
    notes: list[str] = []
    with ExitStack() as stack:
        images = look_up_metadata(paths, index_file)
        if len(images) < len(paths):
            with suppress(OSError):  # nothing can be written there: each reads for itself
                stack.enter_context(lock(index_file, "index of the images"))
                images = look_up_metadata(paths, index_file)
        fresh = [path for path in paths if path not in images]
        for path, found in zip(fresh, map_in_threads(read_file_metadata, fresh, label="Reading images"), strict=True):
            if isinstance(found, str):
                problems[path] = found
            else:
                images[path] = found
        if fresh:
            try:
                index = MetadataIndex({make_index_key(path): image for path, image in images.items()})
                write_record(index_file, index)
            except OSError as error:
                notes = [f"{index_file}: the index could not be kept ({error.strerror}), it is read anew each time"]
    dicom = [path for path, image in images.items() if image.is_dicom]
    patients = dict(zip(dicom, map_in_threads(read_dicom_patient, dicom, label="Reading DICOM headers"), strict=True))
    return ReadImages(images, problems, patients, notes)


def look_up_metadata(paths: Sequence[Path], index_file: Path) -> dict[Path, ImageMetadata]:
    """Look up the files in the index whose size and time have not changed."""
    try:
        index = read_record(index_file, MetadataIndex, "read anew")
    except CheckpointError:
        index = None
    known: dict[Path, ImageMetadata] = {}
    for path in paths:
        image = None if index is None else index.files.get(make_index_key(path))
        with suppress(OSError):  # `read_file_metadata` gives the reason
            if image is not None and (image.bytes, image.mtime_ns) == get_stamp(path):
                known[path] = image
    return known


def get_stamp(path: Path) -> tuple[int, int]:
    """Get size in bytes and time of change in ns."""
    stat = path.stat()
    return stat.st_size, stat.st_mtime_ns


def make_index_key(path: Path) -> str:
    """Spell a path as text that JSON can hold, whatever bytes a file name is made of."""
    return str(path).encode("utf-8", "backslashreplace").decode()


@explain_failure
def read_file_metadata(path: Path) -> ImageMetadata:
    """Read one file; return the reason where it is unreadable. Raises `ConfigError` where pydicom is missing."""
    stamp, shows_dicom = get_stamp(path), is_dicom(path)
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
        if not file.tell():
            raise ValueError("the file is empty")
        file.seek(0)
        if shows_dicom:
            height, width, _ = read_dicom_header(path)
        else:
            with Image.open(file, formats=IMAGE_FORMATS) as image:
                width, height = image.size
                # Asking a PNG for its EXIF data would decode it whole, and its orientation is next to never set.
                if image.format != "PNG" and image.getexif().get(EXIF_ORIENTATION, 1) >= 5:
                    height, width = width, height
    return ImageMetadata(*stamp, height, width, digest, shows_dicom)


def read_dicom_patient(path: Path) -> str | None:
    """Read the patient again. Raises `DataError` for a file that was damaged since, without another size or time."""
    found = explain_failure(read_dicom_header)(path)
    if isinstance(found, str):
        raise make_unreadable_error(path, found)
    return found[2]


def make_unreadable_error(path: Path, reason: str, others: int = 0) -> DataError:
    more = f" (and {others} more)" if others else ""
    return DataError(f"{path}: not a readable image{more}: {reason}; dataset.skip_unreadable=true leaves it out")
