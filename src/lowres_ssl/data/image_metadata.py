"""Read the size and the hash of each image file, and keep them in one JSON a folder: the second time is fast.

Patients named in DICOM files are never kept: they are read again each time.
"""

import hashlib
from collections.abc import Mapping
from contextlib import ExitStack, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar

from PIL import Image

from lowres_ssl.data.datasets import Listing
from lowres_ssl.data.decode import IMAGE_FORMATS, format_image_error, map_in_threads
from lowres_ssl.data.dicom import check_regular, is_dicom, read_dicom_header
from lowres_ssl.errors import CheckpointError, DataError, UserError
from lowres_ssl.io.checksummed_json import read_record, write_record
from lowres_ssl.io.locks import lock

EXIF_ORIENTATION = 0x0112  # the EXIF tag; from 5 on, the picture lies on its side
SKIP_HINT = "dataset.skip_unreadable=true leaves it out"


@dataclass(frozen=True)
class ImageMetadata:
    """Hold an image's size in pixels (upright) and the SHA-256 of its file, or the reason why it cannot be read.

    `patient` is the id in a DICOM file, None in others. It is never written to a file.
    """

    height: int
    width: int
    sha256: str
    problem: str | None = None
    is_dicom: bool = False
    patient: str | None = None


@dataclass(frozen=True)
class IndexedFile:
    """Hold what the index knows of a file as long as its size and time are these."""

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

    files: Mapping[str, IndexedFile]


def read_image_metadata(
    listings: list[Listing], index_file: Path
) -> tuple[list[tuple[Listing, ImageMetadata]], list[str]]:
    """Read each listing's metadata, from the index where size and time of the file are the same; and notes.

    Of several processes at once one reads the files, and the others wait for its index.
    """
    with ExitStack() as stack:
        known, stamps = look_up_metadata(listings, index_file)
        if len(known) < len({listing.path for listing in listings}):
            with suppress(OSError):  # nothing can be written there: each reads for itself
                stack.enter_context(lock(index_file, "index of the images"))
                known, stamps = look_up_metadata(listings, index_file)
        dicom = [path for path, metadata in known.items() if metadata.is_dicom]
        patients = map_in_threads(read_dicom_patient, dicom, label="Reading DICOM headers")
        for path, patient in zip(dicom, patients, strict=True):
            known[path] = replace(known[path], patient=patient)
        fresh = [listing.path for listing in listings if listing.path not in known]
        read = map_in_threads(read_file_metadata, fresh, label="Reading images")
        known.update(zip(fresh, read, strict=True))
        found = [(listing, known[listing.path]) for listing in listings]
        if not fresh:
            return found, []
        entries = {
            make_index_key(path): IndexedFile(*stamps[path], each.height, each.width, each.sha256, each.is_dicom)
            for path, each in known.items()
            if not each.problem and path in stamps
        }
        try:
            write_record(index_file, MetadataIndex(entries))
        except OSError as error:
            return found, [f"{index_file}: the index could not be kept ({error.strerror}), it is read anew each time"]
    return found, []


def look_up_metadata(
    listings: list[Listing], index_file: Path
) -> tuple[dict[Path, ImageMetadata], dict[Path, tuple[int, int]]]:
    """Look up the unchanged files in the index; and return size in bytes and time in ns of each existing file."""
    try:
        index = read_record(index_file, MetadataIndex, "read anew")
    except CheckpointError:
        index = None
    files = {} if index is None else index.files
    known: dict[Path, ImageMetadata] = {}
    stamps: dict[Path, tuple[int, int]] = {}
    for listing in listings:
        try:
            stat = listing.path.stat()
        except OSError:  # read_file_metadata gives the reason
            continue
        stamps[listing.path] = (stat.st_size, stat.st_mtime_ns)
        entry = files.get(make_index_key(listing.path))
        if entry and (entry.bytes, entry.mtime_ns) == stamps[listing.path]:
            known[listing.path] = ImageMetadata(entry.height, entry.width, entry.sha256, is_dicom=entry.is_dicom)
    return known, stamps


def make_index_key(path: Path) -> str:
    """Spell a path as text that JSON can hold, whatever bytes a file name is made of."""
    return str(path).encode("utf-8", "backslashreplace").decode()


def read_file_metadata(path: Path) -> ImageMetadata:
    """Read size and hash of one file; the reason why it is unreadable is in `problem`. Raises `ConfigError` only, where
    pydicom is needed and missing."""
    try:
        check_regular(path)
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
            if not file.tell():
                return ImageMetadata(0, 0, "", "the file is empty")
            if is_dicom(path):
                header = read_dicom_header(path)
                return ImageMetadata(header.height, header.width, digest, is_dicom=True, patient=header.patient)
            file.seek(0)
            with Image.open(file, formats=IMAGE_FORMATS) as image:
                width, height = image.size
                # Asking a PNG for its EXIF data would decode it whole, and its orientation is next to never set.
                sideways = image.format != "PNG" and image.getexif().get(EXIF_ORIENTATION, 1) >= 5
    except UserError:
        raise
    except Exception as error:  # decoders raise errors of any class; the file is the cause
        return ImageMetadata(0, 0, "", format_image_error(error))
    return ImageMetadata(width, height, digest) if sideways else ImageMetadata(height, width, digest)


def read_dicom_patient(path: Path) -> str | None:
    """Read the patient again. Raises `DataError` for a file that was damaged since, without another size or time."""
    try:
        return read_dicom_header(path).patient
    except UserError:
        raise
    except Exception as error:
        raise DataError(f"{path}: not a readable image: {format_image_error(error)}; {SKIP_HINT}") from error
