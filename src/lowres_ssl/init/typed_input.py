"""Hold what the user typed for `init` in place of what it would guess, and format its command with other words."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lowres_ssl.config.overrides import format_command


@dataclass(frozen=True)
class TypedInput:
    """Hold the table and its columns, and what the folders are; None: guessed."""

    table: str | None = None
    label: str | None = None
    patient: str | None = None
    split: str | None = None
    split_words: dict[str, Any] | None = None
    class_level: int | None = None
    top: str | None = None


def format_init(folder: Path, *words: str) -> str:
    return format_command("init", str(folder), *words)
