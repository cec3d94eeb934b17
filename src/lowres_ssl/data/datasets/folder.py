"""Read any folder of class folders, or of train[/val]/test folders of class folders."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

from lowres_ssl.console import shorten_list
from lowres_ssl.data.datasets import IdPattern, Listing, Source, SplitWords, get_subset
from lowres_ssl.data.image_folder import ImageFolder
from lowres_ssl.errors import DataError


class ClassFolderReader(Source):
    """Take the top folder's name as the class; images may lie deeper in it, and those beside the class folders are left
    out, as is a folder with a copy of the folders beside it.

    The patterns are regular expressions searched for in the id (such as `tumour/p12_3.png`); the group named `group`,
    else the first one, is the patient (`group_pattern`) or the class (`label_pattern`, where the top folder is not). An
    image without a class is left out, one without a patient has none. `split_words` maps train, val and test to names
    of top folders, where they are called otherwise. Images alone, in no folder, have no label; with `labelled: false`
    none has.
    """

    layout: ClassVar[str] = "one folder a class with images inside, or train, [val,] test folders of such class folders"
    official_default: ClassVar[bool] = True

    def __init__(
        self,
        group_pattern: str | None = None,
        label_pattern: str | None = None,
        split_words: dict[str, Any] | None = None,
        labelled: bool = True,
    ) -> None:
        self.group_pattern = None if group_pattern is None else IdPattern("group_pattern", group_pattern)
        self.label_pattern = None if label_pattern is None else IdPattern("label_pattern", label_pattern)
        self.subsets, self.names_subsets = SplitWords(split_words), split_words is not None
        self.labelled = labelled

    def listings(self, folder: ImageFolder) -> list[Listing]:
        """Raises `DataError` if a class has no training folder, `ConfigError` if a pattern fits no image."""
        folder = folder.enter()
        for pattern in (self.label_pattern, self.group_pattern):
            if pattern is not None:
                pattern.check_fits(folder.ids)
        groups = {id: self.group_pattern.search(id) if self.group_pattern else None for id in folder.ids}
        if not self.labelled or (self.label_pattern is None and not any("/" in id for id in folder.ids)):
            return [Listing(path, id, "", groups[id], None) for path, id in folder.images]
        divided = self.names_subsets or has_subset_folders(folder)
        divided_below = not divided and self.label_pattern is None and has_subsets_below(folder.ids)
        copies = find_copies(folder.ids)
        if copies:
            self.notes.append(f"{shorten_list(sorted(copies))}: a copy of the folders beside it, left out")
        found = []
        for path, id in folder.images:
            top, _, inner = id.partition("/") if divided else ("", "", id)
            label = self.label_pattern.search(id) if self.label_pattern else inner.rpartition("/")[0].partition("/")[0]
            subset = get_subset(id.split("/")[1]) if divided_below else self.subsets.get(top)
            if label and (subset or not divided) and id.partition("/")[0] not in copies:
                found.append(Listing(path, id, label, groups[id], subset))
        if divided or divided_below:
            check_trained_classes(folder.top, found)
        return found


def check_trained_classes(top: Path, listings: Sequence[Listing]) -> None:
    """Raise `DataError` for a class without a training image, with the one that may be the same."""
    trained = sorted({listing.label for listing in listings if listing.subset == "train"})
    missing = sorted({listing.label for listing in listings}.difference(trained))
    if not missing:
        return
    for spelt in trained:
        if spelt.casefold().split() == missing[0].casefold().split():
            raise DataError(
                f"{top}: class {missing[0]!r} has no training image, but {spelt!r} has; if they are one, rename the "
                "folders so that they are spelt alike"
            )
    raise DataError(
        f"{top}: class {missing[0]} has no training image, got {shorten_list(trained) or 'none'}; add a folder "
        f"train/{missing[0]}, or leave the class out with 'dataset.exclude=[{missing[0]}]'"
    )


def has_subsets_below(ids: Sequence[str]) -> bool:
    """Whether all images lie in train, test and perhaps val folders inside the class folders."""
    subsets = {get_subset(id.split("/")[1]) if id.count("/") > 1 else None for id in ids}
    return {"train", "test"} <= subsets and None not in subsets


def find_copies(ids: Sequence[str]) -> set[str]:
    """Find the top folders that hold, one level deeper, little else than what lies beside them."""
    known = set(ids)
    tops = Counter(id.partition("/")[0] for id in ids if id.count("/") > 1)
    copied = Counter(top for top, _, inner in (id.partition("/") for id in ids) if "/" in inner and inner in known)
    return {top for top, number in copied.items() if 10 * number >= 9 * tops[top] and number < len(ids)}


def has_subset_folders(folder: ImageFolder) -> bool:
    """Check for a train folder and another subset's, with class folders in it, not images."""
    subsets = {get_subset(name): name for name in folder.inner_folders.get("", [])}
    return "train" in subsets and len(subsets.keys() - {None}) > 1 and subsets["train"] in folder.inner_folders
