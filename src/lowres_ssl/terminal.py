"""Plain text for the terminal: columns, sizes in words, and what is being done."""

import sys
from collections.abc import Collection, Sequence
from pathlib import Path

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


def say(text: str) -> None:
    """What is being done, on standard error: standard output is for results."""
    # In one piece: a signal between a text and its line's end would glue the next line to it.
    sys.stderr.write(f"{in_one_line(text)}\n")
    sys.stderr.flush()
