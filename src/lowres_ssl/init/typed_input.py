"""Hold what the user typed for `init` in place of what it would guess, and format its command with other words."""

from dataclasses import dataclass, field
from pathlib import Path

from lowres_ssl.config.overrides import format_command
from lowres_ssl.errors import ConfigError

NONE = "none"  # typed for a table, patient or split that is not to be used
ARRAYS_SUFFIX = ".npz"  # files that are read as a folder is


@dataclass(frozen=True)
class TypedInput:
    """Hold the table and its columns, and what the folders are; None: guessed."""

    table: str | None = None
    path: str | None = None
    label: str | None = None
    patient: str | None = None
    split: str | None = None
    split_words: dict[str, list[str]] | None = None
    class_level: int | None = None
    top: str | None = None
    labelled: bool | None = None
    exclude: list[str] = field(default_factory=list)

    def format_init(self, folder: Path, *words: str) -> str:
        """Format the command with other words, beside what else was typed."""
        typed = {key: value for key, value in vars(self).items() if value not in (None, [])}
        if self.split_words is not None:
            typed["split_words"] = ",".join(f"{key}:{word}" for key, own in self.split_words.items() for word in own)
        if self.exclude:
            typed["exclude"] = f"[{','.join(self.exclude)}]"
        if self.labelled is not None:
            typed["labelled"] = str(self.labelled).lower()
        typed |= dict(word.split("=", 1) for word in words)
        return format_init(folder, *(f"{key}={value}" for key, value in typed.items()))


def parse_split_words(typed: str | None) -> dict[str, list[str]] | None:
    """Parse `train:1,train:2,test:0`. Raises `ConfigError`."""
    if typed is None:
        return None
    words: dict[str, list[str]] = {}
    for pair in typed.strip("{}").split(","):
        subset, colon, word = (part.strip() for part in pair.partition(":"))
        if not colon or subset not in ("train", "val", "test"):
            raise ConfigError(f"split_words={typed}: wanted pairs with train, val and test, such as train:1,test:0")
        words.setdefault(subset, []).append(word)
    return words


def format_init(folder: Path, *words: str) -> str:
    return format_command("init", str(folder), *words)
