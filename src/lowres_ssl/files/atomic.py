"""Files that appear whole or not at all: written beside their place, synced, renamed."""

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from lowres_ssl.files.leftovers import new_file


@contextmanager
def replacing(path: Path, keep_previous: bool = False) -> Iterator[IO[bytes]]:
    """A binary file to write to; it becomes `path` when the block ends without an error, else leaves nothing.

    With `keep_previous`, what was at `path` goes to `previous_of(path)`, once the new file is whole. Raises `OSError`,
    which names `path`.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor, temporary = new_file(path)
    try:
        with os.fdopen(descriptor, "wb") as file:
            yield file
            file.flush()
            os.fsync(descriptor)
            temporary.chmod(0o644)
            if keep_previous and path.exists():
                path.replace(previous_of(path))
            temporary.replace(path)
    except BaseException as error:
        temporary.unlink(missing_ok=True)
        # Writing knows no name, and renaming that of the temporary.
        if isinstance(error, OSError) and error.errno and error.filename in (None, str(temporary)):
            error.filename = str(path)
        raise
    sync_folder(path.parent)


def previous_of(path: Path) -> Path:
    """Where `replacing` keeps what was at `path` before."""
    return path.with_name(f"{path.stem}-previous{path.suffix}")


def sync_folder(folder: Path) -> None:
    """Make a rename inside `folder` survive a power cut."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_text(path: Path, text: str) -> None:
    with replacing(path) as file:
        file.write(text.encode())


def write_json(path: Path, value: Any) -> None:
    """Strict JSON: NaN and infinity are refused, since other readers refuse them."""
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n")
