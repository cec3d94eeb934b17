"""Hold what the user typed for `init`, and format its command with other words."""

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from lowres_ssl.config.overrides import format_command
from lowres_ssl.errors import ConfigError

NONE = "none"  # typed for a table, patient or split that is not to be used


@dataclass(frozen=True)
class TypedInput:
    """Hold the table and its columns, and what the folders are; None: guessed.

    name, images: of the config, which change nothing of how the folder is read.
    """

    name: str | None = field(default=None, compare=False)
    images: str | None = field(default=None, compare=False)
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

    def forget_reading(self) -> "TypedInput":
        """Keep what does not say how the folder is read."""
        return TypedInput(name=self.name, images=self.images, exclude=self.exclude)

    def format_init(self, folder: Path, **changes: Any) -> str:
        """Format the command of another reading, which replaces the config of this one: `changes`, beside what else was
        typed."""
        words = []
        for key, value in vars(replace(self, **changes)).items():
            match value:
                case None | []:
                    continue
                case bool():
                    text = str(value).lower()
                case list():
                    text = f"[{','.join(value)}]"
                case dict():
                    text = ",".join(f"{subset}:{word}" for subset, own in value.items() for word in own)
                case _:
                    text = str(value)
            words.append(f"{key}={text}")
        return format_command("init", str(folder), *words, "force=true")


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
