"""Read any folder of class folders, or of train[/val]/test folders of class folders."""

import re
from pathlib import Path
from typing import ClassVar

from lowres_ssl.data.datasets import Listing, Source, folders_in, get_subset, images_below, resolve_root
from lowres_ssl.errors import ConfigError, DataError


class ClassFolderReader(Source):
    """Take the top folder's name as the class; images may lie deeper in it, and those beside the class folders are left
    out. `group_pattern` is a regular expression searched for in the id (such as `tumour/p12_3.png`); its group named
    `group`, else its first one, is the patient. An image it does not match has none.
    """

    layout: ClassVar[str] = "one folder a class with images inside, or train, [val,] test folders of such class folders"
    official_default: ClassVar[bool] = True

    def __init__(self, group_pattern: str | None = None) -> None:
        self.pattern: re.Pattern[str] | None = None
        if group_pattern is not None:
            key = f"dataset.options.group_pattern={group_pattern}"
            try:
                self.pattern = re.compile(group_pattern)
            except re.error as error:
                raise ConfigError(f"{key}: not a regular expression ({error}); try '([^/_]+)_'") from error
            if not self.pattern.groups:
                raise ConfigError(f"{key}: got no group, wanted one around the patient's name; try '([^/_]+)_'")

    def listings(self, root: Path) -> list[Listing]:
        """Raises `DataError` if a class has no training folder, `ConfigError` if the pattern fits no image."""
        folder = resolve_root(root, self.exclude)
        divided = has_subset_folders(folder, self.exclude)
        found = []
        for path, id in images_below(folder, self.exclude):
            top, _, inner = id.partition("/") if divided else ("", "", id)
            label, slash, _ = inner.partition("/")
            subset = get_subset(top)
            if slash and (subset or not divided):
                found.append(Listing(path, id, label, self.find_group(id), subset))
        trained = {listing.label for listing in found if listing.subset == "train"}
        missing = sorted({listing.label for listing in found} - trained)
        if divided and missing:
            raise DataError(
                f"{folder}: class {missing[0]} has no training image, got {', '.join(sorted(trained)) or 'none'}; "
                f"add a folder train/{missing[0]}, or leave the class out with 'dataset.exclude=[{missing[0]}]'"
            )
        if self.pattern and found and all(listing.group is None for listing in found):
            raise ConfigError(
                f"dataset.options.group_pattern={self.pattern.pattern}: fits none of the {len(found)} images; "
                f"wanted a pattern for ids like {found[0].id}"
            )
        return found

    def find_group(self, id: str) -> str | None:
        match = self.pattern.search(id) if self.pattern else None
        return match and (match["group"] if "group" in match.re.groupindex else match[1])


def has_subset_folders(folder: Path, exclude: re.Pattern[str] | None = None) -> bool:
    """Check for a train folder and another subset's, with class folders in it, not images."""
    subsets = {get_subset(inner.name): inner for inner in folders_in(folder, exclude)}
    return "train" in subsets and len(subsets.keys() - {None}) > 1 and bool(folders_in(subsets["train"], exclude))
