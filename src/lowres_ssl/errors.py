"""Define the errors that users read, each with its exit code.

A message names what is wrong, what was got, what was wanted, and what to type next, in one line. Any other exception is
a defect of ours and shows its traceback (exit code 1).
"""

import re
from collections.abc import Iterable
from difflib import get_close_matches
from typing import ClassVar

# The messages of PyTorch, on a GPU and on a CPU, and of CUDA's libraries.
OUT_OF_MEMORY_TEXT = re.compile("out of memory|can't allocate memory|STATUS_ALLOC_FAILED")


def is_out_of_memory(error: BaseException) -> bool:
    """Whether memory ran out, the machine's or a GPU's: PyTorch has no error class for a CPU's."""
    return isinstance(error, MemoryError) or (
        isinstance(error, RuntimeError) and OUT_OF_MEMORY_TEXT.search(str(error)) is not None
    )


def escape_line(text: str) -> str:
    """Escape what would break the line, move the cursor or cannot be printed: names of files may hold anything."""
    return "".join(letter if letter.isprintable() else ascii(letter)[1:-1] for letter in text)


def did_you_mean(word: str, known: Iterable[str], typed: str = "{}", *, cutoff: float = 0.6) -> str:
    """Suggest the closest known word: "; did you mean ...?", or "" if none is close. `typed`: how it is typed,
    "method={}". `cutoff`: how close, up to 1."""
    close = get_close_matches(word, [each for each in known if each != word], n=1, cutoff=cutoff)
    return f"; did you mean {typed.replace('{}', close[0], 1)}?" if close else ""


class UserError(Exception):
    """Something the user can put right."""

    exit_code: ClassVar[int] = 1

    def __str__(self) -> str:
        return escape_line(super().__str__())


class ConfigError(UserError):
    """A value, key or combination that cannot be run."""

    exit_code = 2


class DataError(UserError):
    """Images, archives, splits or folders that are missing or broken."""

    exit_code = 3


class CheckpointError(UserError):
    """An encoder, checkpoint or stored result that does not fit what was asked."""

    exit_code = 4


class DamagedError(CheckpointError):
    """A stored file that is truncated or was changed since it was written."""


class TrainingError(UserError):
    """A run that cannot go on: a loss that is no longer finite, or memory that ran out."""


class LockLostError(UserError):
    """This process's lock expired and another process acquired it."""


class Interrupted(KeyboardInterrupt):
    """SIGINT or SIGTERM, after the state was saved. Not an `Exception`: it ends a sweep as well."""

    def __init__(self, message: str, exit_code: int) -> None:
        super().__init__(message)
        self.exit_code = exit_code

    def __reduce__(self) -> tuple[type["Interrupted"], tuple[str, int]]:
        return type(self), (str(self), self.exit_code)  # a launcher's worker sends it back
