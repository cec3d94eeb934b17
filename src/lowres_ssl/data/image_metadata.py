"""The header and the hash of each file, remembered in one JSON a folder: a second look at 6,000 images takes a moment.

Patients that a DICOM file names are never kept: they are looked up again each time.
"""

import hashlib
import json
from contextlib import ExitStack, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from PIL import Image, UnidentifiedImageError

from lowres_ssl.data.datasets import Listing
from lowres_ssl.data.decode import IMAGE_FORMATS
from lowres_ssl.data.dicom import is_dicom, read_dicom_header
from lowres_ssl.data.file_reading import check_regular, map_in_threads
from lowres_ssl.errors import DataError, UserError
from lowres_ssl.io.checksummed_json import FORMAT_VERSIONS, verify_checksum, write_checked_json
from lowres_ssl.io.locks import lock

EXIF_ORIENTATION = 0x0112  # the EXIF tag; from 5 on, the picture lies on its side
DICOM_MARK = "dicom"  # marks the entries of such files in what is kept
SKIP_HINT = "dataset.skip_unreadable=true leaves it out"


@dataclass(frozen=True)
class ImageMetadata:
    """What reading a file once tells: size in pixels (upright), hash of the bytes; or why it cannot be read.

    `patient` is the id in a DICOM file, None in others. It is never kept in a file.
    """

    height: int
    width: int
    sha256: str
    problem: str | None = None
    is_dicom: bool = False
    patient: str | None = None


def read_image_metadata(
    listings: list[Listing], cache_file: Path, progress: bool
) -> tuple[list[tuple[Listing, ImageMetadata]], list[str]]:
    """Each listing with its header, from the cache where size and time of the file are the same; and notes.

    Of several processes at once one reads the files, and the others wait for what it keeps.
    """
    with ExitStack() as stack:
        known, stamps = read_cached_metadata(listings, cache_file)
        if len(known) < len({listing.path for listing in listings}):
            with suppress(OSError):  # nothing can be written there: each reads for itself
                stack.enter_context(lock(cache_file, "index of the images"))
                known, stamps = read_cached_metadata(listings, cache_file)
        # Patients are not kept, so they are looked up again.
        dicom = [path for path, header in known.items() if header.is_dicom]
        patients = map_in_threads(read_dicom_patient, dicom, label="Reading DICOM headers", progress=progress)
        for path, patient in zip(dicom, patients, strict=True):
            known[path] = replace(known[path], patient=patient)
        fresh = [listing.path for listing in listings if listing.path not in known]
        found = map_in_threads(read_file_metadata, fresh, label="Reading images", progress=progress)
        known.update(zip(fresh, found, strict=True))
        headers = [(listing, known[listing.path]) for listing in listings]
        if not fresh:
            return headers, []
        entries = {
            make_cache_key(path): [
                *stamps[path],
                header.height,
                header.width,
                header.sha256,
                *([DICOM_MARK] * header.is_dicom),
            ]
            for path, header in known.items()
            if not header.problem and path in stamps
        }
        try:
            write_checked_json(cache_file, {"version": FORMAT_VERSIONS["index"], "files": entries})
        except OSError as error:
            return headers, [f"{cache_file}: the index could not be kept ({error.strerror}), it is read anew each time"]
    return headers, []


def read_cached_metadata(
    listings: list[Listing], cache_file: Path
) -> tuple[dict[Path, ImageMetadata], dict[Path, list[int]]]:
    """What is known of the files as they are; and size in bytes and time in ns of each that is there."""
    cache = load_metadata_cache(cache_file)
    known: dict[Path, ImageMetadata] = {}
    stamps: dict[Path, list[int]] = {}
    for listing in listings:
        try:
            stat = listing.path.stat()
        except OSError:  # read_header will say why
            continue
        stamps[listing.path] = [stat.st_size, stat.st_mtime_ns]
        entry = cache.get(make_cache_key(listing.path))
        if entry and entry[:2] == stamps[listing.path]:
            height, width, sha256, *kind = entry[2:]
            known[listing.path] = ImageMetadata(height, width, sha256, is_dicom=kind == [DICOM_MARK])
    return known, stamps


def make_cache_key(path: Path) -> str:
    """The path as text that JSON can hold, whatever bytes a file name is made of."""
    return str(path).encode("utf-8", "backslashreplace").decode()


def load_metadata_cache(cache_file: Path) -> dict[str, list[Any]]:
    """Path -> [bytes, mtime in ns, height, width, sha256], with "dicom" behind it for such a file; empty if there is
    none, or it is damaged."""
    try:
        content = verify_checksum(json.loads(cache_file.read_text(encoding="utf-8")))
        if content["version"] != FORMAT_VERSIONS["index"]:
            return {}
        return {
            path: entry
            for path, entry in content["files"].items()
            if [type(value) for value in entry[:5]] == [int, int, int, int, str] and entry[5:] in ([], [DICOM_MARK])
        }
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return {}


def read_file_metadata(path: Path) -> ImageMetadata:
    """Size and hash of one file. What is wrong with it is in `problem`; raises `ConfigError` only, where pydicom is
    needed and not there."""
    try:
        check_regular(path)
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
            if not file.tell():
                return ImageMetadata(0, 0, "", "the file is empty")
            if is_dicom(path):
                said = read_dicom_header(path)
                return ImageMetadata(said.height, said.width, digest, is_dicom=True, patient=said.patient)
            file.seek(0)
            with Image.open(file, formats=IMAGE_FORMATS) as image:
                width, height = image.size
                # Asking a PNG for its EXIF data would decode it whole, and its orientation is next to never set.
                sideways = image.format != "PNG" and image.getexif().get(EXIF_ORIENTATION, 1) >= 5
    except UserError:
        raise
    except Exception as error:  # whatever a decoder stumbles over, the file is the cause
        return ImageMetadata(0, 0, "", format_image_error(error))
    return ImageMetadata(width, height, digest) if sideways else ImageMetadata(height, width, digest)


def read_dicom_patient(path: Path) -> str | None:
    """Of a DICOM file that could be read before."""
    try:
        return read_dicom_header(path).patient
    except UserError:
        raise
    except Exception as error:  # it was damaged, with the size and time that it had
        raise DataError(f"{path}: not a readable image: {format_image_error(error)}; {SKIP_HINT}") from error


def format_image_error(error: Exception) -> str:
    """Why Pillow could not read a file, in a few words."""
    if isinstance(error, UnidentifiedImageError):
        return f"its content is none of {', '.join(IMAGE_FORMATS)}"
    if isinstance(error, Image.DecompressionBombError):
        return f"it has more pixels than Pillow's limit of {2 * (Image.MAX_IMAGE_PIXELS or 0):,}"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return (str(error) or type(error).__name__).splitlines()[0]
