"""Temporary files and folders beside what they are to become, and an end for those whose process was killed.

Each is locked (`flock`) by the process that fills it, and the system lets go of the lock when that process dies,
however it dies. Whoever next writes the same file or folder removes what nobody holds.
"""

import errno
import fcntl
import glob
import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from lowres_ssl.errors import DataError

TEMP_SUFFIX = ".part"


def get_temp_prefix(target: Path) -> str:
    return f".{target.name[:40]}."


def make_temp_file(target: Path) -> tuple[int, Path]:
    """An open descriptor and the path of a new file in the folder of `target`, locked until it is closed."""
    remove_dead_temp_files(target)
    while True:
        descriptor, name = tempfile.mkstemp(prefix=get_temp_prefix(target), suffix=TEMP_SUFFIX, dir=target.parent)
        if try_lock(descriptor, Path(name)):
            return descriptor, Path(name)
        os.close(descriptor)


@contextmanager
def make_temp_folder(target: Path) -> Iterator[Path]:
    """A new folder beside `target`, locked; whatever is still there at the end of the block goes."""
    remove_dead_temp_files(target)
    while True:
        folder = Path(tempfile.mkdtemp(prefix=get_temp_prefix(target), suffix=TEMP_SUFFIX, dir=target.parent))
        try:
            descriptor = os.open(folder, os.O_RDONLY)
        except FileNotFoundError:
            continue
        if try_lock(descriptor, folder):
            break
        os.close(descriptor)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        os.close(descriptor)


def try_lock(descriptor: int, path: Path) -> bool:
    """Lock it; False where another process has just taken it for a leftover."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:  # a file system without locks, on which nothing is swept either
        return True
    return path.exists()


def remove_dead_temp_files(target: Path) -> None:
    """Remove what dead processes left of their attempts at `target`."""
    for path in target.parent.glob(f"{glob.escape(get_temp_prefix(target))}*{TEMP_SUFFIX}"):
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


@contextmanager
def atomic_write(path: Path, keep_previous: bool = False) -> Iterator[IO[bytes]]:
    """A binary file to write to; it becomes `path` when the block ends without an error, else leaves nothing.

    With `keep_previous`, what was at `path` goes to `get_previous_path(path)`, once the new file is whole. Raises
    `OSError`, which names `path`.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor, temporary = make_temp_file(path)
    try:
        with os.fdopen(descriptor, "wb") as file:
            yield file
            file.flush()
            os.fsync(descriptor)
            temporary.chmod(0o644)
            if keep_previous and path.exists():
                path.replace(get_previous_path(path))
            temporary.replace(path)
    except BaseException as error:
        temporary.unlink(missing_ok=True)
        # Writing knows no name, and renaming that of the temporary.
        if isinstance(error, OSError) and error.errno and error.filename in (None, str(temporary)):
            error.filename = str(path)
        raise
    sync_folder(path.parent)


def get_previous_path(path: Path) -> Path:
    """Where `atomic_write(keep_previous=True)` keeps what was at `path` before."""
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
    """Strict JSON: NaN and infinity are refused, since other readers refuse them."""
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n")


MAX_RENAME_ATTEMPTS = 100  # each lost one means that another process has put its folder there


@contextmanager
def replacing_folder(target: Path) -> Iterator[Path]:
    """An empty folder to fill; it becomes `target`, in place of what is there, when the block ends without an error,
    and leaves nothing otherwise. Of several at once the last one stays. Raises `OSError`.
    """
    target = Path(os.path.realpath(target))  # a link to a folder stays a link
    target.parent.mkdir(parents=True, exist_ok=True)
    with make_temp_folder(target) as temporary:
        yield temporary
        temporary.chmod(0o755)
        move_into_place(temporary, target)
    sync_folder(target.parent)


def move_into_place(temporary: Path, target: Path) -> None:
    for attempt in range(MAX_RENAME_ATTEMPTS):
        try:
            temporary.rename(target)
            return
        except OSError as error:  # a folder with something in it is not replaced by a rename
            if attempt == MAX_RENAME_ATTEMPTS - 1 or error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                raise
        with make_temp_folder(target) as aside:
            try:
                target.rename(aside / "old")
            except FileNotFoundError:  # another process was faster
                continue


def check_writable(output_dir: Path) -> None:
    """Raises `DataError` if nothing can be written there."""
    try:
        output_dir.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=output_dir):
            pass
    except OSError as error:
        raise DataError(
            f"output_dir={output_dir}: cannot be written to ({error.strerror}); choose another with output_dir=FOLDER"
        ) from error
