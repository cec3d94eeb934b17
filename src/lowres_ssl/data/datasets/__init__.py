"""Read the folders of an image set: one module a kind of set, found by its name, and here what they share.

A source looks at names only and opens no image.
"""

import re
from abc import ABC, abstractmethod
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

from lowres_ssl.data.image_folder import ImageFolder, compile_exclude
from lowres_ssl.errors import ConfigError, DataError, did_you_mean
from lowres_ssl.registry import build

SPLIT_WORDS_KEY = "dataset.options.split_words"
SUBSET_WORDS = dict.fromkeys(("train", "training", "trainset"), "train")
SUBSET_WORDS |= dict.fromkeys(("val", "valid", "validation", "valset", "dev", "devset"), "val")
SUBSET_WORDS |= dict.fromkeys(("test", "testing", "testset", "holdout"), "test")


@dataclass(frozen=True)
class Listing:
    """Name one image file.

    `path` is absolute, and not compared. `id` is its path below the folder that holds the set (`ImageFolder`), with
    forward slashes. `label` is the class's name, "" without one. `group` is the patient, slide or source image, None if
    the name has none. `subset` is "train", "val" or "test" for a set that is published divided.
    """

    path: Path = field(compare=False)
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


def get_subset(word: str) -> str | None:
    """Get the subset that a folder is named after; None for other folders."""
    return SUBSET_WORDS.get(normalise_word(word))


def guess_subset(name: str) -> str | None:
    """Guess the subset from the words of a name, such as "train_labels" or "TestSet"; None without one, or with
    several."""
    subsets = {subset for word in list_words(name) if (subset := get_subset(word))}
    return subsets.pop() if len(subsets) == 1 else None


def guess_table_subset(table: Path, top: Path) -> str | None:
    """Guess the subset from the name of a table, else from that of its folder below `top`."""
    return guess_subset(table.stem) or (None if table.parent == top else guess_subset(table.parent.name))


def list_words(name: str) -> list[str]:
    """List the words of a name in lower case: those of "TestSet_2" are test and set."""
    return [word.lower() for word in re.findall(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])", name)]


class SplitWords:
    """Look up the subset of a word; without `words`, the usual names of train, val and test are known."""

    def __init__(self, words: dict[str, Any] | None) -> None:
        """`words`: by subset, one word or a list of them. Raises `ConfigError` for another subset."""
        self.subsets = SUBSET_WORDS
        if words is not None:
            self.subsets = {}
            for subset, own in words.items():
                if subset not in SUBSET_WORDS.values():
                    raise ConfigError(
                        f"{SPLIT_WORDS_KEY}: got {subset}, wanted train, val and test, such as {{train:1,test:0}}"
                    )
                for word in own if isinstance(own, list) else [own]:
                    self.subsets[normalise_word(str(word))] = subset

    def get(self, word: str) -> str | None:
        return self.subsets.get(normalise_word(word))

    def parse(self, word: str, where: str) -> str:
        """Raises `DataError` for a word of no subset, with `where` it is."""
        if subset := self.get(word):
            return subset
        wanted = "train, val or test" if self.subsets is SUBSET_WORDS else f"one of {', '.join(self.subsets)}"
        raise DataError(
            f"{where}: split is {word!r}, wanted {wanted}; name its words with "
            f"'{SPLIT_WORDS_KEY}={{train:WORD,test:WORD}}', or, if the column means something else, type "
            "dataset.options.split=null"
        )


def normalise_word(word: str) -> str:
    """Spell 1, 1.0 and True of a spreadsheet alike whatever wrote them."""
    return word.strip().lower().removesuffix(".0")


def keep_outermost(listings: Iterable[Listing], key: str = "id") -> list[Listing]:
    """Keep one listing for each id (or file name), the nearest to the root: some re-uploads hold a second copy of
    everything one level further down. Sorted by id."""
    kept: dict[str, Listing] = {}
    for listing in sorted(listings, key=lambda each: (len(each.path.parts), each.id)):
        kept.setdefault(listing.id.rpartition("/")[2] if key == "name" else listing.id, listing)
    return sorted(kept.values(), key=lambda each: each.id)
