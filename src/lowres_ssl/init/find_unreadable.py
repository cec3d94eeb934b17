"""Find the files that cannot be read when a folder is first looked at: their headers, and the pixels of a sample."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from lowres_ssl.data.datasets import Listing
from lowres_ssl.data.decode import IMAGE_FORMATS, format_image_error, map_in_threads, read_image
from lowres_ssl.data.dicom import is_dicom
from lowres_ssl.data.image_metadata import find_index_file, read_image_metadata
from lowres_ssl.errors import UserError

MAX_DECODED = 2000  # evenly spread over a larger set, whose other files are found when it is decoded
DRAFT_SIZE = (64, 64)  # JPEG is decoded at an eighth of its size, which finds damage as well


def find_unreadable(listings: Sequence[Listing], root: Path, store_dir: Path) -> dict[Path, str]:
    """Find the reason for each file whose header or pixels cannot be read. Raises `ConfigError` without pydicom."""
    files = [each.path for each in listings]
    problems = dict(read_image_metadata(files, find_index_file(root, store_dir)).problems)
    paths = [path for path in files if path not in problems]
    rows = np.unique(np.linspace(0, len(paths) - 1, num=min(MAX_DECODED, len(paths)), dtype=int))
    sample = [paths[row] for row in rows]
    reasons = map_in_threads(explain_undecodable, sample, label="Checking images")
    return problems | {path: reason for path, reason in zip(sample, reasons, strict=True) if reason}


def explain_undecodable(path: Path) -> str | None:
    """Return the reason why the pixels of a file cannot be decoded; None where they can."""
    try:
        if path.suffix.lower() in (".jpg", ".jpeg") and not is_dicom(path):
            with Image.open(path, formats=IMAGE_FORMATS) as image:
                image.draft(None, DRAFT_SIZE)
                image.load()
        else:
            read_image(path)
    except UserError:
        raise
    except Exception as error:  # decoders raise errors of any class; the file is the cause
        return format_image_error(error)
    return None
