"""Archives that were made to do harm: each is refused before anything is written."""

import bz2
import gzip
import io
import lzma
import struct
import tarfile
import warnings
import zipfile
import zlib
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from lowres_ssl.data import archives
from lowres_ssl.data.archives import unpack_archive
from lowres_ssl.errors import DataError

Write = Callable[[Path, Sequence[str]], Path]


def write_zip(path: Path, names: Sequence[str]) -> Path:
    with warnings.catch_warnings(), zipfile.ZipFile(path, "w") as file:
        warnings.simplefilter("ignore")  # a name that is there already is what is meant
        for name in names:
            file.writestr(name, b"x")
    return path


def write_tar(path: Path, names: Sequence[str]) -> Path:
    with tarfile.open(path, "w") as file:
        for name in names:
            info = tarfile.TarInfo(name.rstrip("/"))
            info.type = tarfile.DIRTYPE if name.endswith("/") else tarfile.REGTYPE
            info.size = 0 if name.endswith("/") else 1
            file.addfile(info, io.BytesIO(b"x"))
    return path


def refused(archive: Path, tmp_path: Path, match: str) -> None:
    into = tmp_path / "into"
    into.mkdir()
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
    ],
)
def test_names_that_no_disk_could_hold_beside_each_other_are_refused(
    tmp_path: Path, write: Write, names: Sequence[str], what: str
) -> None:
    refused(write(tmp_path / "x.archive", ["first.png", *names]), tmp_path, f"{what}.*nothing was unpacked")


@pytest.mark.parametrize("write", [write_zip, write_tar])
def test_names_that_are_only_unusual_are_unpacked(tmp_path: Path, write: Write) -> None:
    names = ["./a b/1.png", "a b/2.png", "b/\u65e5\u672c.png", "b/" + 255 * "x", "b/it's =1+1;$(x).png", "c/"]
    (tmp_path / "into").mkdir()
    unpack_archive(write(tmp_path / "x.archive", names), tmp_path / "into")
    got = {path.relative_to(tmp_path / "into").as_posix() for path in (tmp_path / "into").rglob("*") if path.is_file()}
    assert got == {name.removeprefix("./") for name in names[:-1]}


@pytest.mark.parametrize(("suffix", "compress"), [("gz", gzip.compress), ("bz2", bz2.compress), ("xz", lzma.compress)])
def test_tar_that_unpacks_to_a_hundred_times_itself_is_refused(
    tmp_path: Path, suffix: str, compress: Callable[[bytes], bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(archives, "MIN_ALLOWED_BYTES", 10**6)
    plain = io.BytesIO()
    with tarfile.open(fileobj=plain, mode="w") as file:
        info = tarfile.TarInfo("a.bmp")
        info.size = 3 * 10**6
        file.addfile(info, io.BytesIO(bytes(info.size)))
    (tmp_path / f"x.tar.{suffix}").write_bytes(compress(plain.getvalue()))
    refused(tmp_path / f"x.tar.{suffix}", tmp_path, "100 times its own size")


def test_zip_that_unpacks_to_a_hundred_times_itself_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with zipfile.ZipFile(tmp_path / "x.zip", "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("a.bmp", bytes(3 * 10**6))
    into = tmp_path / "small is no attack"
    into.mkdir()
    unpack_archive(tmp_path / "x.zip", into)
    assert (into / "a.bmp").stat().st_size == 3 * 10**6
    monkeypatch.setattr(archives, "MIN_ALLOWED_BYTES", 10**6)
    refused(tmp_path / "x.zip", tmp_path, "100 times its own size")


def lying_zip(path: Path, size: int) -> Path:
    """A zip whose lists say `size` bytes of a file that unpacks to 3 MB, with the checksum of what they say."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("a.bmp", bytes(3 * 10**6))
    content = bytearray(path.read_bytes())
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


def test_stream_that_does_not_end_is_stopped_at_what_it_said(tmp_path: Path) -> None:
    class Endless(io.RawIOBase):
        def read(self, size: int = -1) -> bytes:
            return bytes(size)

    entry = archives.ArchiveMember("a.bmp", 1000, Endless)
    with pytest.raises(EOFError, match="longer than it should be"):
        archives.write_member(entry, tmp_path)
    assert (tmp_path / "a.bmp").stat().st_size == 0


def test_zip_compressed_so_that_a_few_bytes_are_gigabytes_is_refused(tmp_path: Path) -> None:
    for method in (zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA):
        with zipfile.ZipFile(tmp_path / f"{method}.zip", "w", method) as file:
            file.writestr("a.bmp", bytes(1000))
        refused(tmp_path / f"{method}.zip", tmp_path, "compressed in an unusual way")
        (tmp_path / "into").rmdir()


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


def test_tar_of_a_million_files_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archives, "MAX_ENTRIES", 20)
    refused(write_tar(tmp_path / "x.tar", [f"{number}.png" for number in range(21)]), tmp_path, "more than 20 files")


def test_sparse_file_is_refused(tmp_path: Path) -> None:
    info = tarfile.TarInfo("a.bmp")
    info.pax_headers = {"GNU.sparse.major": "0", "GNU.sparse.minor": "1", "GNU.sparse.size": str(2**60)}
    info.pax_headers |= {"GNU.sparse.map": "0,1", "GNU.sparse.name": "a.bmp"}
    info.size = 1
    with tarfile.open(tmp_path / "x.tar", "w", format=tarfile.PAX_FORMAT) as file:
        file.addfile(info, io.BytesIO(b"x"))
    refused(tmp_path / "x.tar", tmp_path, "a sparse file")


def header(name: bytes, kind: bytes, size: bytes) -> bytes:
    """A block of a tar with any size in it, and the right checksum."""
    block = bytearray(name.ljust(100, b"\0") + b"0000644\0" + 2 * b"0000000\0" + size.ljust(12, b"\0"))
    block += b"00000000000\0" + b" " * 8 + kind
    block = bytearray(block.ljust(512, b"\0"))
    block[148:156] = f"{sum(block):06o}\0 ".encode()
    return bytes(block)


@pytest.mark.parametrize("kind", [b"x", b"L", b"K", b"g"])
def test_name_of_gigabytes_is_not_read(tmp_path: Path, kind: bytes) -> None:
    """What a tar says of the next file may itself be of any length, and is read at once."""
    start = header(b"long", kind, f"{8**10:011o}".encode())
    (tmp_path / "x.tar").write_bytes(gzip.compress(start + bytes(10**5)))
    refused(tmp_path / "x.tar", tmp_path, "64 GB")


def test_negative_size_is_refused(tmp_path: Path) -> None:
    negative = b"\xff" * 11 + b"\x00"  # -256, as GNU tar writes what octal digits cannot
    (tmp_path / "x.tar").write_bytes(header(b"a.png", b"0", negative) + bytes(1024))
    refused(tmp_path / "x.tar", tmp_path, "sparse|damaged|neither|times its own size")


def test_zip_entry_without_a_name_is_refused(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as file:
        file.writestr(zipfile.ZipInfo(""), b"x")
    refused(tmp_path / "x.zip", tmp_path, "no name for a file")
