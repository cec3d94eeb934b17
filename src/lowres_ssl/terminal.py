"""Text for the terminal: columns, sizes in words, and what is being done. Colour where it is seen; quiet if asked.

Environment: `LOWRES_SSL_QUIET` (what `--quiet` sets, so that the workers of a launcher have it, too), `NO_COLOR`,
`FORCE_COLOR`, `TERM`, `CI`.
"""

import os
import sys
from collections.abc import Collection, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any, TextIO

from lowres_ssl.errors import in_one_line


def columns(heads: Sequence[str] | None, rows: Sequence[Sequence[str]], right: Collection[int] = ()) -> str:
    """The rows below their heads, each column as wide as its widest cell; those in `right` aligned to the right."""
    lines = [list(heads), *rows] if heads is not None else list(rows)
    widths = [max(len(cell) for cell in column) for column in zip(*lines, strict=True)]
    padded = (
        (cell.rjust(width) if place in right else cell.ljust(width))
        for line in lines
        for place, (cell, width) in enumerate(zip(line, widths, strict=True))
    )
    return "\n".join("  ".join(next(padded) for _ in widths).rstrip() for _ in lines)


def size_of(path: Path) -> str:
    """How much a file or a folder takes, in words."""
    return in_words(bytes_of(path))


def bytes_of(path: Path) -> int:
    """Bytes of a file, or of all files below a folder."""
    files = [path] if path.is_file() else (each for each in path.rglob("*") if each.is_file())
    return sum(file.stat().st_size for file in files)


def in_words(count: float) -> str:
    for unit in ("bytes", "kB", "MB"):
        if count < 1000:
            return f"{count:.0f} {unit}"
        count /= 1000
    return f"{count:.1f} GB"


def count(number: int, what: str) -> str:
    """ "1 epoch", "2 epochs"."""
    return f"{number:,} {what}" if number == 1 else f"{number:,} {what}s"


def duration(seconds: float) -> str:
    """ "40 s", "12 min", "3.5 h", "2.1 days"."""
    for unit, length in (("days", 86400.0), ("h", 3600.0)):
        if seconds >= 1.5 * length:
            return f"{seconds / length:.1f} {unit}"
    return f"{seconds / 60:.0f} min" if seconds >= 90 else f"{max(1, round(seconds))} s"


QUIET = "LOWRES_SSL_QUIET"
STYLES = {"best": "1", "failure": "31", "warning": "33"}  # bold, red, yellow


def is_quiet() -> bool:
    """Whether only results and errors are wanted."""
    return os.environ.get(QUIET, "") not in ("", "0")


def is_terminal(stream: TextIO) -> bool:
    """Whether what is written there can be written over: no pipe, no file, no log of a build."""
    watched = os.environ.get("CI", "") in ("", "0", "false")
    return watched and stream.isatty() and os.environ.get("TERM") != "dumb"


def has_colour(stream: TextIO) -> bool:
    """NO_COLOR (https://no-color.org) goes before FORCE_COLOR, either set to anything; without, a terminal has it."""
    if os.environ.get("NO_COLOR"):
        return False
    return bool(os.environ.get("FORCE_COLOR")) or (stream.isatty() and os.environ.get("TERM") != "dumb")


def styled(text: str, style: str, stream: TextIO) -> str:
    """The text in one of `STYLES`, if `stream` has colour."""
    return f"\x1b[{STYLES[style]}m{text}\x1b[0m" if has_colour(stream) else text


def say(text: str) -> None:
    """What is being done, on standard error: standard output is for results."""
    if not is_quiet():
        write(in_one_line(text))


def warn(text: str) -> None:
    """What is doubtful, or was put right."""
    if not is_quiet():
        write(f"{styled('note:', 'warning', sys.stderr)} {in_one_line(text)}")


def fail(text: str) -> None:
    """What went wrong; said even when it is quiet."""
    write(f"{styled('lowres-ssl:', 'failure', sys.stderr)} {in_one_line(text)}")


def write(line: str) -> None:
    """A line on standard error that leaves a bar that is shown there whole."""
    bars: Any = sys.modules.get("tqdm")  # where nobody has loaded it, there is none
    with bars.tqdm.external_write_mode(file=sys.stderr) if bars is not None else nullcontext():
        # In one piece: a signal between a text and its line's end would glue the next line to it.
        sys.stderr.write(f"{line}\n")
        sys.stderr.flush()
