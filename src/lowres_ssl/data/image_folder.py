"""Scan a folder once: the images and other files at any depth, without those of runs and of operating systems."""

import os
import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

from lowres_ssl.console import log_info, pluralise
from lowres_ssl.data.dicom import DICOM_SUFFIXES, is_dicom_file
from lowres_ssl.errors import DataError

IMAGE_SUFFIXES = (
    frozenset({".png", ".jpg", ".jpeg", ".jpe", ".jfif", ".tif", ".tiff", ".bmp", ".webp"}) | DICOM_SUFFIXES
)
JUNK = frozenset({"__macosx", "thumbs.db", "desktop.ini", "$recycle.bin", "dicomdir", "lowres_ssl_conf"})
OUTPUT_FILES = {"pretrain": "*/run.json", "evaluate": "*/run.json", "stores": "index-*.json"}  # below an output folder
RUN_FILE = re.compile(r"(?:run|store|index-[0-9a-f]{8})\.json")  # in the folder of a run, of images or of indices

ImagePaths = Sequence[tuple[Path, str]]  # the path and the id of each


@dataclass(frozen=True)
class ImageFolder:
    """Hold what one scan of a folder found.

    `root` is the folder as it was named, `top` the absolute one that ids start from: `root`, or the one in it that
    holds the set (`enter`). An id is a path below `top`, with forward slashes and composed (NFC) letters, so that it is
    the same on every platform. `images`: the absolute path and the id of each image, sorted by id. `other_files`: the
    same of all other files. `folders`: the ids of all folders, with and without images, sorted.
    """

    root: Path
    top: Path
    images: tuple[tuple[Path, str], ...]
    other_files: tuple[tuple[Path, str], ...] = ()
    folders: tuple[str, ...] = ()

    @cached_property
    def ids(self) -> list[str]:
        """List the ids of the images."""
        return [id for _, id in self.images]

    @cached_property
    def inner_folders(self) -> Mapping[str, list[str]]:
        """Map the id of each folder ("": the top) to the ids of the folders directly in it."""
        inner: dict[str, list[str]] = defaultdict(list)
        for id in self.folders:
            inner[id.rpartition("/")[0]].append(id)
        return dict(inner)

    @cached_property
    def filled(self) -> Collection[str]:
        """The ids of the folders with an image at any depth."""
        return {id[:end] for id in self.ids for end, letter in enumerate(id) if letter == "/"}

    def exclude(self, pattern: re.Pattern[str] | None) -> "ImageFolder":
        """Leave out what has an id that `pattern` matches (`compile_exclude`)."""
        if pattern is None:
            return self
        return replace(
            self,
            images=tuple(each for each in self.images if not pattern.search(each[1])),
            other_files=tuple(each for each in self.other_files if not pattern.search(each[1])),
            folders=tuple(id for id in self.folders if not pattern.search(id)),
        )

    def enter(self) -> "ImageFolder":
        """Enter the folder that holds the set: this one, or the one inside a re-upload's further single folders.

        A folder is entered if it is the only one and no image lies beside it, unless it holds only images: then it is a
        class.
        """
        inner, occupied, id = self.inner_folders, {id.rpartition("/")[0] for id in self.ids}, ""
        while len(inner.get(id, [])) == 1 and inner[id][0] in inner and id not in occupied:
            id = inner[id][0]
        if not id:
            return self
        start = len(id) + 1
        return ImageFolder(
            self.root,
            self.top / id,
            tuple((path, own[start:]) for path, own in self.images),
            tuple((path, own[start:]) for path, own in self.other_files if own.startswith(f"{id}/")),
            tuple(own[start:] for own in self.folders if own.startswith(f"{id}/")),
        )


def scan_folder(root: Path) -> ImageFolder:
    """Scan a folder at any depth. Links are followed; the folders of runs, and what systems add, are left out.

    Raises `DataError` if `root` or a folder in it is missing or cannot be read.
    """
    if not root.is_dir():
        what = "not a folder" if root.exists() else "no such folder"
        raise DataError(
            f"{root}: {what}; put the images there, name another place with dataset.root=FOLDER, "
            "or see what can be fetched with: lowres-ssl data"
        )
    top = root.resolve()
    images: list[tuple[Path, str]] = []
    others: list[tuple[Path, str]] = []
    folders: list[str] = []
    seen: set[tuple[int, int]] = set()

    def refuse(error: OSError) -> None:
        raise DataError(f"{error.filename}: cannot be read ({error.strerror}); check its permissions") from error

    for folder, inner, names in os.walk(top, onerror=refuse, followlinks=True):
        id = "" if folder == str(top) else make_portable(os.path.relpath(folder, top))
        status = os.stat(folder)  # noqa: PTH116 - of thousands of folders
        place = status.st_dev, status.st_ino
        if place in seen or (id and is_run_folder(Path(folder), {*inner, *names})):
            inner.clear()  # a link back up would never end
            continue
        seen.add(place)
        folders += [id] if id else []
        inner[:] = sorted(name for name in inner if not is_junk(name))
        for name in names:
            if not is_junk(name):
                path = os.path.join(folder, name)  # noqa: PTH118 - of thousands of files
                own = f"{id}/{make_portable(name)}".lstrip("/")
                (images if is_image_file(path) else others).append((Path(path), own))
    for each in (images, others):
        each.sort(key=lambda pair: pair[1])
    return ImageFolder(root, top, tuple(images), tuple(others), tuple(sorted(folders)))


def list_image_files(folder: Path, key: str = "images", exclude: Sequence[str] = ()) -> ImagePaths:
    """List the path and the id of each image below `folder`, sorted by id, without those that a pattern of `exclude`
    matches. Raises `DataError` for a missing or empty folder, with `key=FOLDER` as what to type."""
    if not folder.is_dir():
        what = "not a folder" if folder.exists() else "no such folder"
        raise DataError(f"{folder}: {what}, wanted one with images, at any depth; type {key}=FOLDER")
    scanned = scan_folder(folder)
    found = scanned.exclude(compile_exclude(exclude))
    if left_out := len(scanned.images) - len(found.images):
        log_info(f"{folder}: {pluralise(left_out, 'image')} left out by exclude=[{','.join(exclude)}]")
    if not found.images:
        raise DataError(f"{folder}: no images there, wanted some, at any depth; type {key}=FOLDER")
    check_unique_ids(found.ids)
    return found.images


def compile_exclude(patterns: Sequence[str]) -> re.Pattern[str] | None:
    """Compile patterns such as `*_mask*` or `normal/masks`, to be searched for in an id: each stands for whole names of
    files and folders, in which `*` is any text and `?` any letter; upper and lower case are the same."""
    parts = [re.escape(unicodedata.normalize("NFC", each).strip("/")) for each in patterns]
    texts = [part.replace(r"\*", "[^/]*").replace(r"\?", "[^/]") for part in parts if part]
    return re.compile(f"(?:^|/)(?:{'|'.join(texts)})(?:/|$)", re.IGNORECASE) if texts else None


def is_run_folder(folder: Path, names: Collection[str]) -> bool:
    """Whether a folder with files and folders of these names is the output or store folder of runs, or a run's: its
    pictures are no images of a set."""
    if any(map(RUN_FILE.fullmatch, names)):
        return True
    written = [folder / name for name in OUTPUT_FILES.keys() & names]
    return any(any(each.glob(OUTPUT_FILES[each.name])) for each in written)


def is_junk(name: str) -> bool:
    """Find hidden files, configs, and what operating systems, offices and scanners add: `.DS_Store`, `DICOMDIR`."""
    return name.startswith((".", "~$")) or name.lower() in JUNK


def is_image_file(path: str) -> bool:
    """Find images by their suffix, and DICOM files of any name by their content."""
    return os.path.splitext(path)[1].lower() in IMAGE_SUFFIXES or is_dicom_file(path)  # noqa: PTH122 - thousands of names


def make_portable(name: str) -> str:
    """Spell a file name as every platform does: composed letters, and no bytes that are not text."""
    return unicodedata.normalize("NFC", os.fsencode(name).decode("utf-8", "replace"))


def check_unique_ids(ids: Iterable[str]) -> None:
    """Raise `DataError` for two names that differ only in how a letter is encoded: elsewhere they are one."""
    twice = [id for id, count in Counter(ids).items() if count > 1]
    if twice:
        raise DataError(f"{twice[0]}: two files have this name, differing in encoding only; rename one of them")
