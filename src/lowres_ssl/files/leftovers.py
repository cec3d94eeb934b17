"""Temporary files and folders beside what they are to become, and an end for those whose process was killed.

Each is locked (`flock`) by the process that fills it, and the system lets go of the lock when that process dies,
however it dies. Whoever next writes the same file or folder removes what nobody holds.
"""

import fcntl
import glob
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

SUFFIX = ".part"


def beginning(target: Path) -> str:
    return f".{target.name[:40]}."


def new_file(target: Path) -> tuple[int, Path]:
    """An open descriptor and the path of a new file in the folder of `target`, locked until it is closed."""
    sweep(target)
    while True:
        descriptor, name = tempfile.mkstemp(prefix=beginning(target), suffix=SUFFIX, dir=target.parent)
        if is_held(descriptor, Path(name)):
            return descriptor, Path(name)
        os.close(descriptor)


@contextmanager
def new_folder(target: Path) -> Iterator[Path]:
    """A new folder beside `target`, locked; whatever is still there at the end of the block goes."""
    sweep(target)
    while True:
        folder = Path(tempfile.mkdtemp(prefix=beginning(target), suffix=SUFFIX, dir=target.parent))
        try:
            descriptor = os.open(folder, os.O_RDONLY)
        except FileNotFoundError:
            continue
        if is_held(descriptor, folder):
            break
        os.close(descriptor)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        os.close(descriptor)


def is_held(descriptor: int, path: Path) -> bool:
    """Lock it; False where another process has just taken it for a leftover."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:  # a file system without locks, on which nothing is swept either
        return True
    return path.exists()


def sweep(target: Path) -> None:
    """Remove what dead processes left of their attempts at `target`."""
    for path in target.parent.glob(f"{glob.escape(beginning(target))}*{SUFFIX}"):
        try:
            descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW)
        except OSError:
            continue
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if path.is_dir():
                shutil.rmtree(path)
            else:
                path.unlink()
        except OSError:  # its process lives, or it is not ours to remove
            continue
        finally:
            os.close(descriptor)
