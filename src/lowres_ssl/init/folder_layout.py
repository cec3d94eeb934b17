"""Class folders around what was typed, and those without images: for what `lowres-ssl init` says."""

import os
from pathlib import Path

from lowres_ssl.data.datasets import SIDES, folders_in, images_below, is_image, resolve_root
from lowres_ssl.data.datasets.csv import list_tables
from lowres_ssl.data.datasets.folder import has_subset_folders


def find_set_folder(file: Path) -> Path:
    """The folder to name in place of one of its files: that of its set if it is an image, else the one it lies in."""
    beside = file.parent
    if not is_image(file.name) or list_tables(beside) or has_class_folders(beside):
        return beside
    return find_enclosing_set(beside) or beside


def find_enclosing_set(folder: Path) -> Path | None:
    """The folder of the set that `folder` is a class of, by what lies beside it; None if it is none."""
    parent = Path(os.path.normpath(folder / ".."))  # "." has no parent by its name
    above = Path(os.path.normpath(parent / ".."))
    try:
        if parent.resolve().name.lower() in SIDES and has_subset_folders(above):
            return above
        return parent if has_class_folders(parent) else None
    except OSError:  # not ours to look into
        return None


def has_class_folders(folder: Path) -> bool:
    """Whether at least two folders in it hold images, directly: anything at all may lie around what was typed, and is
    not searched."""
    return sum(any(is_image(entry.name) for entry in inner.iterdir()) for inner in folders_in(folder)) > 1


def find_empty_classes(root: Path) -> list[str]:
    """The folders of classes without an image, as they are called below `root`."""
    folder = resolve_root(root)
    sides = (
        [inner for inner in folders_in(folder) if inner.name.lower() in SIDES]
        if has_subset_folders(folder)
        else [folder]
    )
    empty = [inner for side in sides for inner in folders_in(side) if not any(images_below(inner))]
    return [each.relative_to(folder).as_posix() for each in empty]


def find_unused_folders(root: Path) -> list[str]:
    """The folders of images beside train and test, where the set comes divided: nothing of them is in the set."""
    folder = resolve_root(root)
    others = [inner for inner in folders_in(folder) if inner.name.lower() not in SIDES]
    return [inner.name for inner in others if any(images_below(inner))] if has_subset_folders(folder) else []
