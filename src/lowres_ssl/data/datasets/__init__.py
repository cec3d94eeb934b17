"""Read the folders of an image set: one module a kind of set, found by its name, and here what they share.

A source looks at names only and opens no image.
"""

import re
from abc import ABC, abstractmethod
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

from lowres_ssl.data.image_folder import ImageFolder, compile_exclude
from lowres_ssl.errors import ConfigError, did_you_mean
from lowres_ssl.registry import build


@dataclass(frozen=True)
class Listing:
    """Name one image file.

    `path` is absolute. `id` is its path below the folder that holds the set (`ImageFolder`). `label` is the class's
    name. `group` is the patient, slide or source image, None if the name has none. `subset` is "train", "val" or "test"
    for a set that is published divided.
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
    def listings(self, folder: ImageFolder) -> list[Listing]:
        """List every image of the set in a folder, sorted by id; empty if there is none. Raises `DataError`."""

    def list_included(self, folder: ImageFolder) -> list[Listing]:
        """List the images without excluded names and classes. Raises `ConfigError` for a class that is not there."""
        found = self.listings(folder.exclude(self.exclude))
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


class IdPattern:
    """Search an id, such as `tumour/p12_3.png`, with a regular expression for its patient or class; the word is the
    pattern's group named `group`, else its first one."""

    def __init__(self, key: str, pattern: str) -> None:
        """`key`: what the user types to set it. Raises `ConfigError` for what is no pattern with a group."""
        self.typed = f"dataset.options.{key}={pattern}"
        try:
            self.pattern = re.compile(pattern)
        except re.error as error:
            raise ConfigError(f"{self.typed}: not a regular expression ({error}); try '([^/_]+)_'") from error
        if not self.pattern.groups:
            what = "class" if key == "label_pattern" else "patient"
            raise ConfigError(f"{self.typed}: got no group, wanted one around the {what}'s name; try '([^/_]+)_'")

    def search(self, id: str) -> str | None:
        match = self.pattern.search(id)
        return match and (match["group"] if "group" in match.re.groupindex else match[1])

    def check_fits(self, ids: Sequence[str]) -> None:
        """Raise `ConfigError` for a pattern that fits none of the images."""
        if ids and all(self.search(id) is None for id in ids):
            raise ConfigError(
                f"{self.typed}: fits none of the {len(ids)} images; wanted a pattern for ids like {ids[0]}"
            )


def keep_outermost(listings: Iterable[Listing], key: str = "id") -> list[Listing]:
    """Keep one listing for each id (or file name), the nearest to the root: some re-uploads hold a second copy of
    everything one level further down. Sorted by id."""
    kept: dict[str, Listing] = {}
    for listing in sorted(listings, key=lambda each: (len(each.path.parts), each.id)):
        kept.setdefault(listing.id.rpartition("/")[2] if key == "name" else listing.id, listing)
    return sorted(kept.values(), key=lambda each: each.id)
