"""Find the images below a folder by what tables call them: with or without folders and suffix, in parts."""

import os
import re
from collections import defaultdict
from collections.abc import Iterable
from functools import cached_property
from pathlib import Path

from lowres_ssl.data.datasets import guess_subset
from lowres_ssl.data.image_folder import IMAGE_SUFFIXES, ImageFolder, make_portable

MASK_FOLDER = re.compile(r"mask|segm|annot|ground.?truth|contour|overlay|(?:^|[_ -])gt(?:$|[_ -])", re.IGNORECASE)
SERIES = re.compile(r"[\d.]{20,}|[\da-f-]{32,}")
MAX_JOINED = 3  # folders and name, as in 000001_01_01_109.png for 000001_01_01/109.png


class FileIndex:
    """Look up the images of a folder. Upper and lower case are the same."""

    def __init__(self, folder: ImageFolder) -> None:
        self.folder, self.paths = folder, {id: path for path, id in folder.images}

    @cached_property
    def all_paths(self) -> dict[str, Path]:
        """Map the id of each file, image or not, to its path."""
        return self.paths | {id: path for path, id in self.folder.other_files}

    @cached_property
    def by_ending(self) -> dict[str, list[str]]:
        """Map the ends of ids (`list_endings`) to ids."""
        return group_ids((ending, id) for id in self.paths for ending in list_endings(id))

    @cached_property
    def by_joined_name(self) -> dict[str, list[str]]:
        """Map names joined with those of the folders above, and numbers without leading zeros, to ids."""
        keys = []
        for id in self.paths:
            *folders, stem = (*id.lower().split("/")[:-1], get_stem(id))
            keys += [("_".join([*folders[-depth:], stem]), id) for depth in range(1, min(MAX_JOINED, len(folders) + 1))]
            keys += [(str(int(stem)), id)] if stem.isdecimal() and stem[0] == "0" else []
        return group_ids(keys)

    @cached_property
    def by_folder(self) -> dict[str, list[str]]:
        """Map the id of each folder to the ids of the images anywhere in it."""
        return group_ids((id[:end].lower(), id) for id in self.paths for end, letter in enumerate(id) if letter == "/")

    @cached_property
    def by_folder_name(self) -> dict[str, list[str]]:
        """Map names of folders to their ids."""
        return group_ids((folder.rpartition("/")[2], folder) for folder in self.by_folder)

    def find(self, cell: str, table: Path | None = None) -> tuple[list[str], str]:
        """List the ids of the images that a cell of `table` may mean, none or several where it is not clear which. The
        second value is the end of the path that is the same in both (`list_endings`), which no other cell may have; ""
        where all of the cell or of the id is."""
        parts, endings = split_parts(cell), list_endings(cell)
        if not parts:
            return [], ""
        depth = next((each for each in reversed(range(len(parts))) if endings[each] in self.by_ending), 0)
        known = self.by_ending.get(endings[depth]) or self.by_ending.get(get_stem("_".join(parts)), [])
        if not known:
            return self.by_joined_name.get(endings[0]) or self.find_series(parts), ""
        others, subset = set(known), None if table is None else guess_subset(table.stem)
        beside = None if table is None else os.path.join(table.parent, "")  # noqa: PTH118 - text, of 100,000 rows

        def rank(id: str) -> tuple[bool, bool, bool, bool, bool]:
            """The folder of the table or its subset, and the whole name first; then what is no mask and no copy."""
            is_copy = any(id[end + 1 :] in others for end, letter in enumerate(id) if letter == "/")
            is_mask = MASK_FOLDER.search(id.rpartition("/")[0]) is not None
            is_near = beside is not None and str(self.paths[id]).startswith(beside)
            is_same_subset = subset is not None and subset in map(guess_subset, id.split("/")[:-1])
            return is_near, is_same_subset, id.lower().endswith(parts[-1]), not is_mask, not is_copy

        if len(known) > 1:
            ranks = list(map(rank, known))
            best = max(ranks)
            known = [id for id, own in zip(known, ranks, strict=True) if own == best]
        is_whole = depth in (len(parts) - 1, known[0].count("/"))
        return known, "" if is_whole else endings[depth]

    def find_series(self, parts: list[str]) -> list[str]:
        """List the only image in the folder of a path, if that is named as a series is: DICOM files that were saved in
        another format keep the folder, not the name."""
        folders = self.by_folder_name.get(parts[-2], []) if len(parts) > 1 and SERIES.fullmatch(parts[-2]) else []
        images = self.by_folder[folders[0]] if len(folders) == 1 else []
        return images if len(images) == 1 else []

    def find_folder(self, cell: str) -> list[str]:
        """List the ids of the images in the folder that a cell names: below the root, from a folder above it on, or
        anywhere if there is one of its name."""
        parts = split_parts(cell)
        tails = ["/".join(parts[start:]) for start in range(len(parts))]
        alone = self.by_folder_name.get(parts[0], []) if len(parts) == 1 else []
        places = [tail for tail in tails if tail in self.by_folder] + (alone if len(alone) == 1 else [])
        return self.by_folder[places[0]] if places else []


def group_ids(pairs: Iterable[tuple[str, str]]) -> dict[str, list[str]]:
    groups: dict[str, list[str]] = defaultdict(list)
    for key, id in pairs:
        groups[key].append(id)
    return dict(groups)


def split_parts(cell: str) -> list[str]:
    """Split a path as any system writes it into lower-case parts; `..` and drives go."""
    return [part for part in re.split(r"[/\\]", make_portable(cell).lower()) if part.strip(". ") and part[-1] != ":"]


def list_endings(cell: str) -> list[str]:
    """List the ends of a path without suffix: the name, the name with its folder, and so on."""
    *folders, name = split_parts(cell) or [""]
    parts = [*folders, get_stem(name)]
    return ["/".join(parts[start:]) for start in range(len(parts) - 1, -1, -1)]


def get_stem(id: str) -> str:
    """Return the lower-case name without the suffix of an image; other dots stay (`1.2.840.1`)."""
    name = id.rpartition("/")[2].lower()
    stem, dot, suffix = name.rpartition(".")
    return stem if dot + suffix in IMAGE_SUFFIXES else name
