"""Check and hold what the user typed for `init`, and format its command with other words."""

from dataclasses import dataclass, field
from pathlib import Path

from lowres_ssl.config.overrides import format_command, is_utf8
from lowres_ssl.errors import ConfigError, DataError
from lowres_ssl.init.left_out import ARCHIVE_SUFFIXES

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
    """Format the command of another reading: it replaces the config of this one."""
    return format_command("init", str(folder), *words, "force=true")


def check_image_folder(typed: str | None) -> Path:
    """Raise `ConfigError` for no folder, `DataError` for what is none and no file of arrays."""
    if not typed:
        raise ConfigError("init: got no folder, wanted the one with your images; type lowres-ssl init FOLDER")
    folder = Path(typed)
    if not (typed.isprintable() and is_utf8(str(folder.absolute()))):
        raise ConfigError(f"{typed!r}: got a control character, or bytes that are no text; rename the folder")
    if folder.is_file() and folder.suffix.lower() != ARRAYS_SUFFIX:
        if folder.suffix.lower() in ARCHIVE_SUFFIXES:
            raise DataError(f"{folder}: an archive, wanted a folder; unpack it, then type lowres-ssl init FOLDER")
        raise DataError(f"{folder}: a file, wanted the folder with the images; type lowres-ssl init FOLDER")
    if not folder.exists():
        raise DataError(f"{folder}: no such folder, wanted the one with your images; check how it is spelt")
    return folder
