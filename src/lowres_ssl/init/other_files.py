"""Count the files of a folder that are no images, and name what can be done with those that hold some."""

import os
from collections import Counter
from pathlib import Path

from lowres_ssl.console import pluralise
from lowres_ssl.data.datasets import is_image_file, is_junk
from lowres_ssl.data.exclusion import is_run_folder

ARCHIVE_SUFFIXES = frozenset([".zip", ".tar", ".tgz", ".tbz2", ".txz", ".gz", ".bz2", ".xz", ".zst", ".rar", ".7z"])
VOLUME_SUFFIXES = frozenset(
    [*(".nii", ".nii.gz", ".mha", ".mhd", ".nrrd", ".nhdr", ".mgz", ".mgh", ".mnc", ".mif"), *(".hdr", ".img", ".vtk")]
)
# What files of these suffixes are called, and what to do with them.
KINDS = (
    ("volume", VOLUME_SUFFIXES, "save the slices that count as .png (docs/own_data.md shows how)"),
    (
        "slide",
        frozenset([".svs", ".ndpi", ".mrxs", ".scn", ".czi", ".lif", ".nd2", ".vsi"]),
        "save tiles of it as .png",
    ),
    ("video", frozenset([".avi", ".mp4", ".mov", ".mpg", ".mpeg", ".wmv", ".mkv"]), "save frames of it as .png"),
    ("picture", frozenset([".gif", ".jp2", ".j2k", ".heic", ".jfif", ".pgm", ".ppm", ".avif"]), "save it as .png"),
    ("archive", ARCHIVE_SUFFIXES, "unpack it"),
)
MAX_NAMED_SUFFIXES = 4


def count_other_files(folder: Path) -> Counter[str]:
    """Count the files below `folder` that are no images by suffix, "" for none."""
    found: Counter[str] = Counter()
    for place, inner, names in os.walk(folder):
        inner[:] = [name for name in inner if not is_junk(name) and not is_run_folder(Path(place, name))]
        found.update(
            get_suffix(name)
            for name in names
            if not is_junk(name) and not is_image_file(os.path.join(place, name))  # noqa: PTH118 - thousands of names
        )
    return found


def get_suffix(name: str) -> str:
    """Get the suffix in lower case, `.nii.gz` as one."""
    whole = "".join(Path(name).suffixes[-2:]).lower()
    return whole if whole in VOLUME_SUFFIXES else Path(name).suffix.lower()


def format_other_files(others: Counter[str]) -> str:
    """Format the files by kind: "8 volumes (8 .nii.gz): save ...; 3 other files (2 .txt, 1 without a suffix)"."""
    kinds = [*KINDS, ("other file", frozenset(others).difference(*(suffixes for _, suffixes, _ in KINDS)), "")]
    parts = []
    for noun, suffixes, advice in kinds:
        own = Counter({suffix: number for suffix, number in others.items() if suffix in suffixes})
        if own:
            counts = own.most_common(MAX_NAMED_SUFFIXES)
            named = ", ".join(f"{number:,} {suffix or 'without a suffix'}" for suffix, number in counts)
            parts.append(f"{pluralise(own.total(), noun)} ({named})" + (f": {advice}" if advice else ""))
    return "; ".join(parts)
