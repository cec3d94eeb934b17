"""Write files and folders that appear whole or not at all, and remove what killed processes left of them.

Each is filled in a temporary folder beside its place. The process that fills it locks that folder (`flock`), and the
system releases the lock when the process dies, however it dies. The next process that writes the same file or folder
removes the temporary folders that nobody holds.
"""

import errno
import fcntl
import glob
import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any

from lowres_ssl.errors import DataError

TEMP_SUFFIX = ".part"


def get_temp_prefix(target: Path) -> str:
    return f".{target.name[:40]}."


@contextmanager
def make_temp_folder(target: Path) -> Iterator[Path]:
    """Make a locked folder beside `target`; what is in it at the end of the block is removed with it."""
    remove_dead_temp_folders(target)
    while True:
        folder = Path(tempfile.mkdtemp(prefix=get_temp_prefix(target), suffix=TEMP_SUFFIX, dir=target.parent))
        with suppress(FileNotFoundError):
            descriptor = os.open(folder, os.O_RDONLY)
            with suppress(OSError):  # a file system without locks, on which nothing is removed either
                fcntl.flock(descriptor, fcntl.LOCK_EX)
            if folder.exists():
                break
            os.close(descriptor)  # before it was locked, another process took it for one that nobody holds
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        os.close(descriptor)


def remove_dead_temp_folders(target: Path) -> None:
    """Remove what dead processes left of their attempts at `target`."""
    for folder in target.parent.glob(f"{glob.escape(get_temp_prefix(target))}*{TEMP_SUFFIX}"):
        with suppress(OSError):  # its process lives, or it is not ours to remove
            descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(folder)
            finally:
                os.close(descriptor)


@contextmanager
def atomic_write(path: Path, keep_previous: bool = False) -> Iterator[IO[bytes]]:
    """Open a binary file that becomes `path` when the block ends without an error, and leaves nothing otherwise.

    With `keep_previous`, what was at `path` goes to `get_previous_path(path)`, once the new file is whole. Raises
    `OSError`, which names `path`.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with make_temp_folder(path) as folder:
        temporary = folder / "new"
        try:
            with temporary.open("xb") as file:
                yield file
                file.flush()
                os.fsync(file.fileno())
            if keep_previous and path.exists():
                path.replace(get_previous_path(path))
            temporary.replace(path)
        except OSError as error:
            # Writing knows no name, and renaming that of the temporary file.
            if error.errno and error.filename in (None, str(temporary)):
                error.filename = str(path)
            raise
    sync_folder(path.parent)


def get_previous_path(path: Path) -> Path:
    """Name the file in which `atomic_write(keep_previous=True)` keeps what was at `path` before."""
    return path.with_name(f"{path.stem}-previous{path.suffix}")


def sync_folder(folder: Path) -> None:
    """Make a rename inside `folder` survive a power cut."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_text(path: Path, text: str) -> None:
    with atomic_write(path) as file:
        file.write(text.encode())


def write_json(path: Path, value: Any) -> None:
    """Write strict JSON. Raises `ValueError` for NaN and infinity, which other readers refuse."""
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n")


@contextmanager
def replacing_folder(target: Path) -> Iterator[Path]:
    """Make an empty folder that becomes `target`, in place of what is there, when the block ends without an error, and
    leaves nothing otherwise. Of several processes at once the last one's stays. Raises `OSError`."""
    target = Path(os.path.realpath(target))  # a link to a folder stays a link
    target.parent.mkdir(parents=True, exist_ok=True)
    with make_temp_folder(target) as temporary:
        yield temporary
        temporary.chmod(0o755)
        while True:
            try:
                temporary.rename(target)
                break
            except OSError as error:  # a rename replaces an empty folder only
                if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                    raise
                with make_temp_folder(target) as aside, suppress(FileNotFoundError):  # another process was faster
                    target.rename(aside / "old")
    sync_folder(target.parent)


def check_writable(output_dir: Path) -> None:
    """Raise `DataError` if nothing can be written there."""
    try:
        output_dir.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=output_dir):
            pass
    except OSError as error:
        raise DataError(
            f"output_dir={output_dir}: cannot be written to ({error.strerror}); choose another with output_dir=FOLDER"
        ) from error
