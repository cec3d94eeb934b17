"""Unpacking archives that strangers made: everything is looked at before anything is written."""

import lzma
import shutil
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import IO

from lowres_ssl.errors import DataError

MAX_BYTES = 64 * 10**9  # several times the largest set known here
MAX_ENTRIES = 1_000_000
# What the readers raise for an archive that is not whole, or compressed in a way unknown to them.
BROKEN = (zipfile.BadZipFile, tarfile.TarError, zlib.error, lzma.LZMAError, EOFError, NotImplementedError, RuntimeError)


@dataclass(frozen=True)
class Entry:
    """One file in an archive: its name as stored, its size in bytes, and how to read it."""

    name: str
    size: int
    open: Callable[[], IO[bytes]]


def unpack(archive: Path, into: Path) -> None:
    """Unpack a zip, tar, tar.gz, tar.bz2 or tar.xz into the empty folder `into`.

    Refused, before anything is written: absolute paths, `..`, links, devices, too much of anything. Raises `DataError`
    for that, and for a file that is no archive or a truncated one.
    """
    if not archive.is_file():
        raise DataError(f"dataset.archive={archive}: no such file; wanted the archive as it was downloaded")
    try:
        with ExitStack() as stack:
            if zipfile.is_zipfile(archive):
                entries = zip_entries(archive, stack.enter_context(zipfile.ZipFile(archive)))
            elif tarfile.is_tarfile(archive):
                entries = tar_entries(archive, stack.enter_context(tarfile.open(archive)))
            else:
                raise DataError(f"{archive}: neither a zip nor a tar archive, or a truncated one; download it again")
            checked = list(bounded(archive, entries, shutil.disk_usage(into).free))
            for entry in checked:
                write(entry, into)
    except BROKEN as error:
        reason = str(error) or type(error).__name__
        raise DataError(f"{archive}: truncated or damaged ({reason}); download it again") from error


def zip_entries(archive: Path, file: zipfile.ZipFile) -> Iterator[Entry]:
    for info in file.infolist():
        kind = stat.S_IFMT(info.external_attr >> 16)
        if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
            raise refused(archive, info.filename, "a link or device")
        if info.flag_bits & 1:
            raise refused(archive, info.filename, "encrypted")
        # Names in a zip may have been written on Windows.
        check_name(archive, info.filename.replace("\\", "/"))
        if not info.is_dir():
            yield Entry(info.filename.replace("\\", "/"), info.file_size, partial(file.open, info))


def tar_entries(archive: Path, file: tarfile.TarFile) -> Iterator[Entry]:
    for member in file:
        check_name(archive, member.name)
        if member.isreg():
            yield Entry(member.name, member.size, partial(contents, file, member))
        elif not member.isdir():
            raise refused(archive, member.name, "a link or device")


def contents(file: tarfile.TarFile, member: tarfile.TarInfo) -> IO[bytes]:
    content = file.extractfile(member)
    assert content is not None, "only directories have no content"
    return content


def check_name(archive: Path, name: str) -> None:
    parts = name.split("/")
    if name.startswith("/") or ".." in parts or ":" in parts[0] or "\0" in name:
        raise refused(archive, name, "a path that leads out of the folder")


def refused(archive: Path, name: str, what: str) -> DataError:
    return DataError(f"{archive}: refused, {name!r} is {what}; wanted plain files only; nothing was unpacked")


def bounded(archive: Path, entries: Iterable[Entry], free: int) -> Iterator[Entry]:
    """The same entries. Raises `DataError` once they are too many, or too large for anyone or for this disk."""
    total = 0
    for count, entry in enumerate(entries, start=1):
        total += entry.size
        if count > MAX_ENTRIES or total > MAX_BYTES:
            raise DataError(
                f"{archive}: refused, more than {MAX_ENTRIES:,} files or {MAX_BYTES / 1e9:.0f} GB; nothing was unpacked"
            )
        yield entry
    if total > free:
        raise DataError(f"{archive}: unpacked it takes {total / 1e9:.1f} GB, got {free / 1e9:.1f} GB free; free some")


def write(entry: Entry, into: Path) -> None:
    target = into / entry.name
    target.parent.mkdir(parents=True, exist_ok=True)
    with entry.open() as source, target.open("wb") as sink:
        shutil.copyfileobj(source, sink, 2**20)
    if target.stat().st_size != entry.size:
        raise EOFError(f"{entry.name} is shorter than it should be")
