"""Archives that were made to do harm: each is refused before anything is written."""

import bz2
import gzip
import hashlib
import io
import lzma
import shutil
import stat
import struct
import tarfile
import warnings
import zipfile
import zlib
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path

import pytest

from lowres_ssl.data import archives
from lowres_ssl.data.archives import unpack_archive
from lowres_ssl.errors import DataError

Write = Callable[..., Path]


def write_zip(path: Path, names: Iterable[str], content: bytes = b"x") -> Path:
    with warnings.catch_warnings(), zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        warnings.simplefilter("ignore")  # a name that is there already is what is meant
        for name in names:
            file.writestr(name, content)
    return path


def write_tar(path: Path, names: Iterable[str], content: bytes = b"x", mode: str = "w") -> Path:
    with tarfile.open(path, mode) as file:
        for name in names:
            info = tarfile.TarInfo(name.rstrip("/"))
            info.type = tarfile.DIRTYPE if name.endswith("/") else tarfile.REGTYPE
            info.size = 0 if name.endswith("/") else len(content)
            file.addfile(info, io.BytesIO(content))
    return path


def refused(archive: Path, tmp_path: Path, match: str) -> None:
    into = tmp_path / "into"
    into.mkdir(exist_ok=True)
    with pytest.raises(DataError, match=match) as caught:
        unpack_archive(archive, into)
    assert "\n" not in str(caught.value)
    assert list(into.iterdir()) == []


@pytest.mark.parametrize("write", [write_zip, write_tar])
@pytest.mark.parametrize(
    ("names", "what"),
    [
        (["a/1.png", "a/1.png"], "there twice"),
        (["a/1.png", "./a//1.png"], "there twice"),
        (["a/x.png", "A/X.PNG"], "in case or spelling only"),
        (["a/stra\u00dfe.png", "a/STRASSE.png"], "in case or spelling only"),
        (["a/caf\u00e9.png", "a/cafe\u0301.png"], "in case or spelling only"),
        (["a", "a/b.png"], "a file and a folder at once"),
        (["a/b.png", "A"], "a file and a folder at once"),
        (["a/", "a"], "a file and a folder at once"),
        (["a", "a/"], "a file and a folder at once"),
        (["a/" + 256 * "x"], "a name too long"),
        (["a/" + 86 * "\u65e5"], "a name too long"),
        (["/".join(["deep"] * 300)], "a name too long"),
        *(([name], "a path that leads out of the folder") for name in ("/etc/x", "../x", "a/../../x", "C:/x")),
    ],
)
def test_names_that_no_folder_could_hold_are_refused(
    tmp_path: Path, write: Write, names: list[str], what: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "copyfileobj", None)
    refused(write(tmp_path / "x.archive", ["first.png", *names]), tmp_path, f"{what}.*nothing was unpacked")


@pytest.mark.parametrize("mode", ["zip", "w", "w:gz", "w:bz2", "w:xz"])
def test_names_that_are_only_unusual_are_unpacked(tmp_path: Path, mode: str) -> None:
    names = ["./a b/1.png", "a b/2.png", "b/\u65e5\u672c.png", "b/" + 255 * "x", "b/it's =1+1;$(x).png", "c/"]
    path = tmp_path / "x.archive"
    archive = write_zip(path, names) if mode == "zip" else write_tar(path, names, mode=mode)
    (tmp_path / "into").mkdir()
    unpack_archive(archive, tmp_path / "into")
    got = {path.relative_to(tmp_path / "into").as_posix() for path in (tmp_path / "into").rglob("*") if path.is_file()}
    assert got == {name.removeprefix("./") for name in names[:-1]}
    assert (tmp_path / "into" / "a b" / "1.png").read_bytes() == b"x"


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE, tarfile.CHRTYPE])
def test_links_and_devices_in_a_tar_are_refused(tmp_path: Path, kind: bytes) -> None:
    with tarfile.open(tmp_path / "x.tar", "w") as file:
        info = tarfile.TarInfo("a/link.png")
        info.type, info.linkname = kind, "/etc/passwd"
        file.addfile(info)
    refused(tmp_path / "x.tar", tmp_path, r"'a/link\.png' is a link or device")


def test_links_and_empty_names_in_a_zip_are_refused(tmp_path: Path) -> None:
    for name, kind, told in (("link.png", stat.S_IFLNK, r"'link\.png' is a link or device"), ("", 0, "no name for a")):
        with zipfile.ZipFile(tmp_path / "x.zip", "w") as file:
            info = zipfile.ZipInfo(name)
            info.external_attr = (kind | 0o777) << 16
            file.writestr(info, "/etc/passwd")
        refused(tmp_path / "x.zip", tmp_path, told)


@pytest.mark.parametrize("kept", [0.1, 0.95])
@pytest.mark.parametrize("write", [write_zip, partial(write_tar, mode="w:gz")])
def test_truncated_archives_are_refused(tmp_path: Path, write: Write, kept: float) -> None:
    noise = b"".join(hashlib.sha256(bytes([n])).digest() for n in range(200))
    archive = write(tmp_path / "x.archive", ["a/1.png", "b/2.png"], noise)
    archive.write_bytes(archive.read_bytes()[: int(archive.stat().st_size * kept)])
    with pytest.raises(DataError, match="truncated"):
        unpack_archive(archive, tmp_path)


@pytest.mark.parametrize("content", [b"", b"<html>log in</html>", gzip.compress(b"not a tar", mtime=0)])
def test_what_is_no_archive_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "x.zip").write_bytes(content)
    refused(tmp_path / "x.zip", tmp_path, "no zip or tar archive")


def test_archive_that_unpacks_to_a_hundred_times_itself_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    black = bytes(3 * 10**6)
    zipped = write_zip(tmp_path / "x.zip", ["a.bmp"], black)
    into = tmp_path / "small is no attack"
    into.mkdir()
    unpack_archive(zipped, into)
    assert (into / "a.bmp").stat().st_size == 3 * 10**6
    monkeypatch.setattr(archives, "MIN_ALLOWED_BYTES", 10**6)
    refused(zipped, tmp_path, "100 times its own size")
    plain = write_tar(tmp_path / "x.tar", ["a.bmp"], black).read_bytes()
    for suffix, compress in (("gz", gzip.compress), ("bz2", bz2.compress), ("xz", lzma.compress)):
        (tmp_path / f"x.tar.{suffix}").write_bytes(compress(plain))
        refused(tmp_path / f"x.tar.{suffix}", tmp_path, "100 times its own size")


def test_too_many_files_and_too_many_bytes_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archives, "MAX_ENTRIES", 20)
    names = [f"{number}.png" for number in range(21)]
    for write in (write_zip, write_tar):
        refused(write(tmp_path / "x.archive", names), tmp_path, "more than 20 files")
    monkeypatch.setattr(archives, "MAX_BYTES", 1000)
    refused(write_tar(tmp_path / "x.tar", ["a.bmp"], bytes(2000)), tmp_path, "more than 20 files, 0 GB")


def lying_zip(path: Path, size: int) -> Path:
    """A zip whose lists say `size` bytes of a file that unpacks to 3 MB, with the checksum of what they say."""
    content = bytearray(write_zip(path, ["a.bmp"], bytes(3 * 10**6)).read_bytes())
    central = content.rindex(b"PK\x01\x02")
    for checksum, place in ((14, 22), (central + 16, central + 24)):
        struct.pack_into("<I", content, checksum, zlib.crc32(bytes(size)))
        struct.pack_into("<I", content, place, size)
    path.write_bytes(content)
    return path


def test_zip_that_holds_more_than_it_says_is_stopped_there(tmp_path: Path) -> None:
    (tmp_path / "into").mkdir()
    unpack_archive(lying_zip(tmp_path / "x.zip", 1000), tmp_path / "into")
    assert (tmp_path / "into" / "a.bmp").stat().st_size == 1000


def test_zip_compressed_so_that_a_few_bytes_are_gigabytes_is_refused(tmp_path: Path) -> None:
    for method in (zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA):
        with zipfile.ZipFile(tmp_path / f"{method}.zip", "w", method) as file:
            file.writestr("a.bmp", bytes(1000))
        refused(tmp_path / f"{method}.zip", tmp_path, "compressed in an unusual way")


@pytest.mark.parametrize("large", [False, True])
def test_zip_that_lists_a_million_files_is_refused_before_its_list_is_read(
    tmp_path: Path, large: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(archives, "MAX_ENTRIES", 10_000)
    ending = struct.pack("<IHHHHIIH", 0x06054B50, 0, 0, 0xFFFF, 0xFFFF, 0xFFFFFFFF if large else 0, 0, 0)
    if large:
        record = struct.pack("<IQHHIIQQQQ", 0x06064B50, 44, 45, 45, 0, 0, 10**6, 10**6, 46 * 10**6, 0)
        ending = record + struct.pack("<IIQI", 0x07064B50, 0, 0, 1) + ending
    (tmp_path / "x.zip").write_bytes(ending)
    monkeypatch.setattr(zipfile, "ZipFile", None)
    refused(tmp_path / "x.zip", tmp_path, "more than 10,000 files")


def test_sparse_file_is_refused(tmp_path: Path) -> None:
    info = tarfile.TarInfo("a.bmp")
    info.pax_headers = {"GNU.sparse.major": "0", "GNU.sparse.minor": "1", "GNU.sparse.size": str(2**60)}
    info.pax_headers |= {"GNU.sparse.map": "0,1", "GNU.sparse.name": "a.bmp"}
    info.size = 1
    with tarfile.open(tmp_path / "x.tar", "w", format=tarfile.PAX_FORMAT) as file:
        file.addfile(info, io.BytesIO(b"x"))
    refused(tmp_path / "x.tar", tmp_path, "a sparse file")


def header(size: int, kind: bytes = tarfile.REGTYPE) -> bytes:
    info = tarfile.TarInfo("a.png")
    info.size, info.type = size, kind
    return info.tobuf(tarfile.GNU_FORMAT)


@pytest.mark.parametrize("kind", [b"x", b"L", b"K", b"g"])
def test_name_of_gigabytes_is_not_read(tmp_path: Path, kind: bytes) -> None:
    """What a tar says of the next file may itself be of any length, and is read at once."""
    (tmp_path / "x.tar").write_bytes(gzip.compress(header(8**10, kind) + bytes(10**5)))
    refused(tmp_path / "x.tar", tmp_path, "64 GB")


def test_negative_size_is_refused(tmp_path: Path) -> None:
    (tmp_path / "x.tar").write_bytes(header(-256) + bytes(1024))
    refused(tmp_path / "x.tar", tmp_path, "sparse|no zip or tar|times its own size")
