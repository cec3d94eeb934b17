"""Read the folders of an image set: one module a kind of set, found by its name, and here what they share.

A source looks at names only and opens no image.
"""

import os
import re
import unicodedata
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

from lowres_ssl.data.dicom import DICOM_SUFFIXES, is_dicom_file
from lowres_ssl.data.exclusion import are_names_of_runs, compile_exclude, is_run_folder
from lowres_ssl.errors import ConfigError, DataError, did_you_mean
from lowres_ssl.registry import build

IMAGE_SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp", ".webp"}) | DICOM_SUFFIXES
JUNK = frozenset({"__macosx", "thumbs.db", "desktop.ini", "$recycle.bin", "dicomdir", "lowres_ssl_conf"})
SUBSET_FOLDERS = dict.fromkeys(("train", "training"), "train") | dict.fromkeys(("val", "valid", "validation"), "val")
SUBSET_FOLDERS |= dict.fromkeys(("test", "testing"), "test")


@dataclass(frozen=True)
class Listing:
    """Name one image file.

    `path` is absolute. `id` is its path below the folder that holds the set, with forward slashes and composed (NFC)
    letters, so that it is the same on every platform. `label` is the class's name. `group` is the patient, slide or
    source image, None if the name has none. `subset` is "train", "val" or "test" for a set that is published divided.
    """

    path: Path
    id: str
    label: str
    group: str | None
    subset: str | None


class Source(ABC):
    """Read the folders of one kind of set. The constructor's arguments are the `dataset.options` of the config."""

    layout: ClassVar[str]  # how the folder should look, for the message when nothing is found
    official_default: ClassVar[bool] = False  # whether split=auto takes the set's own folders
    numbering_may_restart: ClassVar[bool] = False  # whether one group name may be two patients in two subsets
    exclude: re.Pattern[str] | None = None  # searched for in ids; what it matches is left out
    exclude_classes: Collection[str] = ()

    @cached_property
    def notes(self) -> list[str]:
        """List lines for the user, on what `listings` left out."""
        return []

    @abstractmethod
    def listings(self, root: Path) -> list[Listing]:
        """List every image of the set below `root`, sorted by id; empty if there is none. Raises `DataError`."""

    def list_included(self, root: Path) -> list[Listing]:
        """List the images without excluded names and classes. Raises `ConfigError` for a class that is not there."""
        found = [each for each in self.listings(root) if not (self.exclude and self.exclude.search(each.id))]
        labels = {each.label for each in found}
        for name in self.exclude_classes:
            if found and name not in labels:
                hint = did_you_mean(name, sorted(labels), "dataset.exclude_classes=[{}]")
                raise ConfigError(f"dataset.exclude_classes=[{name}]: no such class{hint}")
        return [each for each in found if each.label not in self.exclude_classes]

    def prepare(self, root: Path) -> None:  # noqa: B027 - most sets need nothing
        """Make `root`, for a set that is generated."""


def build_source(
    name: str, options: dict[str, Any], exclude: Sequence[str] = (), exclude_classes: Collection[str] = ()
) -> Source:
    """Build the source in `data/datasets/<name>.py`. Raises `ConfigError` for an unknown name or option."""
    source = build(__name__, name, Source, options, "dataset.options", "dataset.source")
    source.exclude, source.exclude_classes = compile_exclude(exclude), exclude_classes
    return source


def is_junk(name: str) -> bool:
    """Find hidden files, configs, and what operating systems and scanners add: `.DS_Store`, `Thumbs.db`, `DICOMDIR`."""
    return name.startswith(".") or name.lower() in JUNK


def is_image(name: str) -> bool:
    return not is_junk(name) and os.path.splitext(name)[1].lower() in IMAGE_SUFFIXES  # noqa: PTH122 - thousands of names


def get_subset(folder_name: str) -> str | None:
    """Get the subset that a folder is named after; None for other folders."""
    return SUBSET_FOLDERS.get(folder_name.lower())


def is_image_file(path: str) -> bool:
    """Find images by their suffix, and DICOM files of any name by their content."""
    name = os.path.basename(path)  # noqa: PTH119 - thousands of names
    return is_image(name) or (not is_junk(name) and is_dicom_file(path))


def list_words(name: str) -> list[str]:
    """List the words of a name in lower case: those of "TestSet_2" are test and set."""
    return [word.lower() for word in re.findall(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])", name)]


def guess_subset(name: str) -> str | None:
    """Guess the subset from the words of a name, such as "train_labels" or "TestSet"; None without one, or with
    several."""
    subsets = {subset for word in list_words(name) if (subset := get_subset(word))}
    return subsets.pop() if len(subsets) == 1 else None


def folders_in(folder: Path, exclude: re.Pattern[str] | None = None) -> list[Path]:
    """List the folders directly in `folder`, by name, without junk, excluded ones and those of runs."""
    return sorted(
        entry
        for entry in folder.iterdir()
        if entry.is_dir()
        and not is_junk(entry.name)
        and not (exclude and exclude.search(make_portable(entry.name)))
        and not is_run_folder(entry)
    )


def resolve_root(root: Path, exclude: re.Pattern[str] | None = None) -> Path:
    """Find the folder that holds the set: `root`, or the one inside a re-upload's further single folders.

    A folder is entered if it is the only one and no image lies beside it, unless it holds only images: then it is a
    class. Raises `DataError` if `root` is missing or cannot be read.
    """
    if not root.is_dir():
        what = "not a folder" if root.exists() else "no such folder"
        raise DataError(
            f"{root}: {what}; put the images there, name another place with dataset.root=FOLDER, "
            "or see what can be fetched with: lowres-ssl data"
        )
    folder = root.resolve()
    try:
        while len(inner := folders_in(folder, exclude)) == 1 and folders_in(inner[0], exclude):
            if any(is_image_file(str(entry)) for entry in folder.iterdir()):
                break
            folder = inner[0]
    except OSError as error:
        raise DataError(f"{error.filename}: cannot be read ({error.strerror}); check its permissions") from error
    return folder


def images_below(root: Path, exclude: re.Pattern[str] | None = None) -> Iterator[tuple[Path, str]]:
    """List the absolute path and the id of each image at any depth below `root`, sorted by id. Links are followed;
    files and folders whose id `exclude` matches, and the folders of runs, are left out.

    Raises `DataError` if a folder cannot be read.
    """
    found: list[tuple[Path, str]] = []
    seen: set[tuple[int, int]] = set()
    pending = [(str(root), "")]
    while pending:
        folder, prefix = pending.pop()
        try:
            status = os.stat(folder)  # noqa: PTH116 - of thousands of folders
            place = status.st_dev, status.st_ino
            if place in seen:  # a link back up would never end
                continue
            seen.add(place)
            with os.scandir(folder) as opened:
                entries = list(opened)
            if prefix and are_names_of_runs(Path(folder), [entry.name for entry in entries]):
                continue
            for entry in entries:
                id = prefix + make_portable(entry.name)
                if is_junk(entry.name) or (exclude and exclude.search(id)):
                    continue
                if entry.is_dir():
                    pending.append((entry.path, f"{id}/"))
                elif is_image_file(entry.path):
                    found.append((Path(entry.path), id))
        except OSError as error:
            raise DataError(f"{folder}: cannot be read ({error.strerror}); check its permissions") from error
    return iter(sorted(found, key=lambda pair: pair[1]))


def list_image_files(folder: Path, key: str = "images") -> list[tuple[Path, str]]:
    """List the path and the id of each image below `folder`, sorted by id. Raises `DataError` for a missing or empty
    folder, with `key=FOLDER` as what to type."""
    if not folder.is_dir():
        what = "not a folder" if folder.exists() else "no such folder"
        raise DataError(f"{folder}: {what}, wanted one with images, at any depth; type {key}=FOLDER")
    found = list(images_below(folder.resolve()))
    if not found:
        raise DataError(f"{folder}: no images there, wanted some, at any depth; type {key}=FOLDER")
    check_unique_ids(id for _, id in found)
    return found


def make_portable(name: str) -> str:
    """Spell a file name as every platform does: composed letters, and no bytes that are not text."""
    return unicodedata.normalize("NFC", os.fsencode(name).decode("utf-8", "replace"))


def check_unique_ids(ids: Iterable[str]) -> None:
    """Raise `DataError` for two names that differ only in how a letter is encoded: elsewhere they are one."""
    twice = [id for id, count in Counter(ids).items() if count > 1]
    if twice:
        raise DataError(f"{twice[0]}: two files have this name, differing in encoding only; rename one of them")


def keep_outermost(listings: Iterable[Listing], key: str = "id") -> list[Listing]:
    """Keep one listing for each id (or file name), the nearest to the root: some re-uploads hold a second copy of
    everything one level further down. Sorted by id."""
    kept: dict[str, Listing] = {}
    for listing in sorted(listings, key=lambda each: (len(each.path.parts), each.id)):
        kept.setdefault(listing.id.rpartition("/")[2] if key == "name" else listing.id, listing)
    return sorted(kept.values(), key=lambda each: each.id)
