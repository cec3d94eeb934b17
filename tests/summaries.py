"""What the long tests leave in `build/torture/`: a line a file, written whether they passed or not."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

FOLDER = Path(__file__).resolve().parents[1] / "build" / "torture"


@contextmanager
def told(name: str, about: str) -> Iterator[list[str]]:
    """Around what takes long: a line with what it was about, what was added to the list, seconds, and how it ended."""
    started, more, ending = time.monotonic(), list[str](), "failed"
    try:
        yield more
        ending = "passed"
    finally:
        line = f"{', '.join([about, *more])}: {ending}, {time.monotonic() - started:.0f} s.\n"
        FOLDER.mkdir(parents=True, exist_ok=True)
        (FOLDER / f"{name}.md").write_text(line, encoding="utf-8")
