"""Sources: how the folders of one kind of image set are read. One file a kind, found by its name; this one holds what
they share: the listing they return, the walk through a folder, and the check of a source's options.

A source looks at names only. It opens no image: `data/index.py` does.
"""

import os
import unicodedata
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

from lowres_ssl.data.dicom import DICOM_SUFFIXES
from lowres_ssl.errors import DataError
from lowres_ssl.registry import build

IMAGE_SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp", ".webp"}) | DICOM_SUFFIXES
JUNK = frozenset({"__macosx", "thumbs.db", "desktop.ini", "$recycle.bin"})
SIDES = {
    "train": "train",
    "training": "train",
    "val": "val",
    "valid": "val",
    "validation": "val",
    "test": "test",
    "testing": "test",
}


@dataclass(frozen=True)
class Listing:
    """One image file, by its name alone.

    `path` is absolute. `id` is its path below the folder that holds the set, with forward slashes and composed (NFC)
    letters, so that it is the same on every platform. `label` is the class's name. `group` is the patient, slide or
    source image, None where the name does not tell. `side` is "train", "val" or "test" for a set that comes divided.
    """

    path: Path
    id: str
    label: str
    group: str | None
    side: str | None


class Source(ABC):
    """Reads the folders of one kind of set. Its constructor's arguments are the `dataset.options` of the config."""

    layout: ClassVar[str]  # what the folder should look like, for the message when nothing is found
    official_default: ClassVar[bool] = False  # divided as the set's own folders say, unless asked otherwise
    numbering_may_restart: ClassVar[bool] = False  # a group's name may mean someone else on another side

    @cached_property
    def notes(self) -> list[str]:
        """Lines for the user, on what `listings` left out."""
        return []

    @abstractmethod
    def listings(self, root: Path) -> list[Listing]:
        """Every image of the set below `root`, sorted by id; empty if there is none. Raises `DataError`."""

    def prepare(self, root: Path) -> None:  # noqa: B027 - most sets need nothing
        """Make `root`, for a set that is drawn rather than fetched."""


def build_source(name: str, options: dict[str, Any]) -> Source:
    """The source in `data/sources/<name>.py`, built with `options`. Raises `ConfigError` if either is not known."""
    return build(__name__, name, Source, options, "dataset.options", "dataset.source")


def is_junk(name: str) -> bool:
    """What operating systems leave behind: `.DS_Store`, `._x.png`, `Thumbs.db`, `__MACOSX`, anything hidden."""
    return name.startswith(".") or name.lower() in JUNK


def is_image(name: str) -> bool:
    return not is_junk(name) and os.path.splitext(name)[1].lower() in IMAGE_SUFFIXES  # noqa: PTH122 - thousands of names


def folders_in(folder: Path) -> list[Path]:
    """The folders directly in `folder`, by name, without junk."""
    return sorted(entry for entry in folder.iterdir() if entry.is_dir() and not is_junk(entry.name))


def resolve_root(root: Path) -> Path:
    """The folder that really holds the set: `root`, or what a re-upload has wrapped in further single folders.

    A folder is stepped into if it is the only one and no image lies beside it, unless it holds nothing but images: then
    it is a class. Raises `DataError` if `root` is missing or cannot be read.
    """
    if not root.is_dir():
        what = "not a folder" if root.exists() else "no such folder"
        raise DataError(
            f"{root}: {what}; put the images there, name another place with dataset.root=FOLDER, "
            "or see what can be fetched with: lowres-ssl data"
        )
    folder = root.resolve()
    try:
        while len(inner := folders_in(folder)) == 1 and folders_in(inner[0]) and not has_images(folder):
            folder = inner[0]
    except OSError as error:
        raise DataError(f"{folder}: cannot be read ({error.strerror}); check its permissions") from error
    return folder


def has_images(folder: Path) -> bool:
    return any(is_image(entry.name) for entry in folder.iterdir())


def images_below(root: Path) -> Iterator[tuple[Path, str]]:
    """The absolute path and the id of each image file at any depth below `root`, sorted by id. Links are followed.

    Raises `DataError` if a folder cannot be read.
    """
    found: list[tuple[Path, str]] = []
    seen: set[str] = set()
    pending = [(str(root), "")]
    while pending:
        folder, prefix = pending.pop()
        real = os.path.realpath(folder)
        if real in seen:  # a link back up would never end
            continue
        seen.add(real)
        try:
            with os.scandir(folder) as entries:
                for entry in entries:
                    if is_junk(entry.name):
                        continue
                    if entry.is_dir():
                        pending.append((entry.path, f"{prefix}{portable(entry.name)}/"))
                    elif is_image(entry.name):
                        found.append((Path(entry.path), prefix + portable(entry.name)))
        except OSError as error:
            raise DataError(f"{folder}: cannot be read ({error.strerror}); check its permissions") from error
    return iter(sorted(found, key=lambda pair: pair[1]))


def portable(name: str) -> str:
    """A file name as every platform would spell it: composed letters, and no bytes that are not text."""
    return unicodedata.normalize("NFC", os.fsencode(name).decode("utf-8", "replace"))


def outermost(listings: Iterable[Listing], key: str = "id") -> list[Listing]:
    """One listing for each value of `key`, the one nearest to the root, sorted by id: some re-uploads hold a second
    copy of everything one level further down."""
    kept: dict[str, Listing] = {}
    for listing in sorted(listings, key=lambda each: (len(each.path.parts), each.id)):
        name = listing.id.rpartition("/")[2] if key == "name" else listing.id
        kept.setdefault(name, listing)
    return sorted(kept.values(), key=lambda each: each.id)
