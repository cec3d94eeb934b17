"""Unpack archives from strangers: everything is checked before anything is written.

The bounds are several times what image sets need. The largest supported set takes 4 GB and 8,000 files, public ones of
X-rays 42 GB and 112,000. Images are compressed already: their archives unpack to about their own size (Kather's
uncompressed tiles to 1.3 times that), a bomb to a thousand times its size and more.
"""

import bz2
import errno
import gzip
import lzma
import shutil
import stat
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import IO, Any, cast
from unicodedata import normalize

from lowres_ssl.errors import DataError

MAX_NAME_BYTES = 255  # bytes of one folder or file, on every common file system
MAX_PATH_BYTES = 1024  # bytes of a whole name: 4096 is the most that Linux takes, with the folder it is unpacked into
MAX_BYTES = 64 * 10**9
MAX_ENTRIES = 500_000
MAX_RATIO = 100  # bytes of the files to bytes of the archive
MIN_ALLOWED_BYTES = 100 * 10**6  # bytes that any archive may hold: black images in a small one are no attack
MAX_HEADER = 2**24  # bytes that are read at once: no name and no other header of a tar is longer
# What the readers raise for an archive that is truncated, damaged, or compressed in an unknown way.
ARCHIVE_ERRORS = (  # what zipfile, tarfile and the decompressors raise for damaged or unknown content
    *(zipfile.BadZipFile, tarfile.TarError, zlib.error, lzma.LZMAError, EOFError, struct.error),
    *(NotImplementedError, RuntimeError, ValueError, OverflowError),
)
DECOMPRESSORS: dict[bytes, Callable[..., Any]] = {
    b"\x1f\x8b": gzip.GzipFile,
    b"BZh": bz2.BZ2File,
    b"\xfd7zXZ\x00": lzma.LZMAFile,
}


@dataclass(frozen=True)
class ArchiveMember:
    """Describe one file in an archive: its checked name, its size in bytes, and how to read it."""

    name: str
    size: int
    open: Callable[[], IO[bytes]]


def unpack_archive(archive: Path, into: Path) -> None:
    """Unpack a zip, tar, tar.gz, tar.bz2 or tar.xz into the empty folder `into`.

    Refused, before anything is written: absolute paths, `..`, links, devices, sparse files, names that exclude each
    other, too much of anything. Raises `DataError` for that, and for a file that is no archive or a truncated one.
    """
    try:
        with ExitStack() as stack:
            if zipfile.is_zipfile(archive):
                check_zip_directory(archive)
                found = iter_zip_members(archive, stack.enter_context(zipfile.ZipFile(archive)))
            else:
                found = iter_tar_members(archive, stack.enter_context(open_tar(archive, stack)))
            members, total, limit = [], 0, get_max_unpacked_bytes(archive)
            for member in found:
                members.append(member)
                total += member.size
                if len(members) > MAX_ENTRIES or total > limit:
                    raise make_too_large_error(archive)
            if total > (free := shutil.disk_usage(into).free):
                raise DataError(
                    f"{archive}: unpacked it takes {total / 1e9:.1f} GB, got {free / 1e9:.1f} GB free; free some"
                )
            for member in members:
                target = into / member.name
                target.parent.mkdir(parents=True, exist_ok=True)
                with member.open() as source, target.open("xb") as sink:
                    shutil.copyfileobj(source, sink)  # both libraries stop at the size that was checked
    except (*ARCHIVE_ERRORS, OSError) as error:
        if isinstance(error, OSError) and error.errno not in (None, errno.EINVAL):  # the disk's error, not a reader's
            raise
        reason = " ".join(str(error).split()) or type(error).__name__
        raise DataError(
            f"{archive}: no zip or tar archive, or a truncated one ({reason}); download it again"
        ) from error


def get_max_unpacked_bytes(archive: Path) -> int:
    """Compute how many bytes this archive may hold."""
    return min(MAX_BYTES, max(MIN_ALLOWED_BYTES, MAX_RATIO * archive.stat().st_size))


def make_too_large_error(archive: Path) -> DataError:
    return DataError(
        f"{archive}: refused, it holds more than {MAX_ENTRIES:,} files, {MAX_BYTES / 1e9:.0f} GB or {MAX_RATIO} times "
        f"its own size; nothing was unpacked; unpack it by hand if you trust it"
    )


class ArchiveNames:
    """Check the names of one archive, one after the other."""

    def __init__(self, archive: Path) -> None:
        self.archive = archive
        self.files: set[str] = set()
        self.folders: set[str] = set()

    def check(self, name: str, *, is_folder: bool) -> str:
        """Return the name without "." and empty parts. Raises `DataError` if it must not be unpacked."""
        parts = [part for part in name.split("/") if part not in ("", ".")]
        if name.startswith("/") or ".." in parts or ":" in (parts or [""])[0] or "\0" in name:
            raise self.refuse(name, "a path that leads out of the folder")
        sizes = [len(part.encode("utf-8", "surrogateescape")) for part in parts]
        if max(sizes, default=0) > MAX_NAME_BYTES or sum(sizes) + len(sizes) > MAX_PATH_BYTES:
            raise self.refuse(f"{name[:40]}...", "a name too long for a file system")
        if not parts and not is_folder:
            raise self.refuse(name, "no name for a file")
        # As on a disk that ignores case and the encoding of letters.
        keys = [normalize("NFC", normalize("NFD", part).casefold()) for part in parts]
        above = {"/".join(keys[:depth]) for depth in range(1, len(keys))}
        own = "/".join(keys)
        if above & self.files or own in (self.files if is_folder else self.folders):
            raise self.refuse(name, "a file and a folder at once")
        if own in self.files:
            raise self.refuse(name, "there twice, or differs from another name in case or spelling only")
        self.folders |= above
        (self.folders if is_folder else self.files).add(own)
        return "/".join(parts)

    def refuse(self, name: str, what: str) -> DataError:
        return DataError(f"{self.archive}: refused, {name!r} is {what}; wanted plain files only; nothing was unpacked")


def check_zip_directory(archive: Path) -> None:
    """Raise `DataError` for a zip whose list of files alone would fill the memory: `zipfile` reads it whole."""
    with archive.open("rb") as file:
        file.seek(max(0, archive.stat().st_size - 2**17))
        tail = file.read()
    place, large = tail.rfind(b"PK\x05\x06"), tail.rfind(b"PK\x06\x06")
    count, size = 0, 0
    if place >= 0 and len(tail) >= place + 16:
        count, size = struct.unpack_from("<HI", tail, place + 10)
    if large >= 0 and len(tail) >= large + 48:
        count, size = struct.unpack_from("<QQ", tail, large + 32)
    if count > MAX_ENTRIES or size > MAX_ENTRIES * 1000:
        raise make_too_large_error(archive)


def iter_zip_members(archive: Path, file: zipfile.ZipFile) -> Iterator[ArchiveMember]:
    names = ArchiveNames(archive)
    for info in file.infolist():
        if stat.S_IFMT(info.external_attr >> 16) not in (0, stat.S_IFREG, stat.S_IFDIR):
            raise names.refuse(info.filename, "a link or device")
        if info.flag_bits & 1:
            raise names.refuse(info.filename, "encrypted")
        if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):  # others unpack without a bound
            raise names.refuse(info.filename, "compressed in an unusual way")
        is_folder = info.filename.endswith("/")  # `is_dir` fails for an empty name
        name = names.check(info.filename.replace("\\", "/"), is_folder=is_folder)  # perhaps written on Windows
        if not is_folder:
            yield ArchiveMember(name, info.file_size, partial(file.open, info))


class BoundedStream:
    """Bound how much of a tar is read at once, and how far."""

    def __init__(self, stream: IO[bytes], archive: Path) -> None:
        self.stream, self.archive = stream, archive
        self.end = get_max_unpacked_bytes(archive) + 1024 * MAX_ENTRIES

    def read(self, count: int) -> bytes:
        if not 0 <= count <= MAX_HEADER:
            raise make_too_large_error(self.archive)
        return self.stream.read(count)

    def seek(self, place: int) -> int:
        if not 0 <= place <= self.end:
            raise make_too_large_error(self.archive)
        return self.stream.seek(place)

    def tell(self) -> int:
        return self.stream.tell()


def open_tar(archive: Path, stack: ExitStack) -> tarfile.TarFile:
    with archive.open("rb") as file:
        start = file.read(6)
    opened = next((opener for magic, opener in DECOMPRESSORS.items() if start.startswith(magic)), Path.open)
    bounded: Any = BoundedStream(stack.enter_context(opened(archive, "rb")), archive)
    return tarfile.open(fileobj=bounded, mode="r:")


def iter_tar_members(archive: Path, file: tarfile.TarFile) -> Iterator[ArchiveMember]:
    names = ArchiveNames(archive)
    for member in file:
        if not (member.isreg() or member.isdir()):
            raise names.refuse(member.name, "a link or device")
        if member.issparse() or member.size < 0:
            raise names.refuse(member.name, "a sparse file, larger than it is")
        name = names.check(member.name, is_folder=member.isdir())
        if member.isreg():  # only folders have no content
            yield ArchiveMember(name, member.size, cast(Callable[[], IO[bytes]], partial(file.extractfile, member)))
