"""Turn the words by which a table or its folders name subsets into train, val or test."""

from typing import Any

from lowres_ssl.data.datasets import get_subset
from lowres_ssl.errors import ConfigError, DataError

KEY = "dataset.options.split_words"


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
