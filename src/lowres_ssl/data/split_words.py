"""Turn the words by which folders, files and tables name subsets into train, val or test."""

import re
from pathlib import Path
from typing import Any

from lowres_ssl.errors import ConfigError, DataError

KEY = "dataset.options.split_words"
SUBSET_WORDS = dict.fromkeys(("train", "training", "trainset"), "train")
SUBSET_WORDS |= dict.fromkeys(("val", "valid", "validation", "valset", "dev", "devset"), "val")
SUBSET_WORDS |= dict.fromkeys(("test", "testing", "testset", "holdout"), "test")


def get_subset(word: str) -> str | None:
    """Get the subset that a folder is named after; None for other folders."""
    return SUBSET_WORDS.get(word.lower())


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
        subsets = {}
        for subset, own in (words or {}).items():
            if get_subset(subset) != subset:
                raise ConfigError(f"{KEY}: got {subset}, wanted train, val and test, such as {{train:1,test:0}}")
            for word in own if isinstance(own, list) else [own]:
                subsets[normalise_word(str(word))] = subset
        self.subsets = None if words is None else subsets

    def get(self, word: str) -> str | None:
        return get_subset(word) if self.subsets is None else self.subsets.get(normalise_word(word))

    def parse(self, word: str, where: str) -> str:
        """Raises `DataError` for a word of no subset, with `where` it is."""
        if subset := self.get(word):
            return subset
        wanted = "train, val or test" if self.subsets is None else f"one of {', '.join(self.subsets)}"
        raise DataError(
            f"{where}: split is {word!r}, wanted {wanted}; name its words with '{KEY}={{train:WORD,test:WORD}}', or, "
            "if the column means something else, type dataset.options.split=null"
        )


def normalise_word(word: str) -> str:
    """Spell 1, 1.0 and True of a spreadsheet alike whatever wrote them."""
    return word.strip().lower().removesuffix(".0")
