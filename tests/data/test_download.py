"""Fetching: a download from a server of our own, archives that are whole, and those that are not."""

import gzip
import hashlib
import io
import socket
import stat
import tarfile
import threading
import zipfile
from collections.abc import Callable, Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from lowres_ssl.config.experiment_schema import DatasetConfig
from lowres_ssl.data import archives
from lowres_ssl.data.download import fetch_dataset, is_folder_filled
from lowres_ssl.errors import DataError

FILES = {"top/a/1.png": b"one", "top/b/2.png": b"two" * 1000}
COMMAND = r"lowres-ssl data dataset=tiny fetch=true dataset\.archive=PATH"


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        """Says nothing."""


@pytest.fixture
def served(tmp_path: Path) -> Iterator[str]:
    """The address of `tmp_path`/served on this machine."""
    (tmp_path / "served").mkdir()
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(tmp_path / "served"))) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()
        thread.join()


def write_zip(path: Path, files: dict[str, bytes] = FILES) -> Path:
    with zipfile.ZipFile(path, "w") as file:
        for name, content in files.items():
            file.writestr(name, content)
    return path


def write_tar(path: Path, files: dict[str, bytes] = FILES, mode: str = "w:gz") -> Path:
    with tarfile.open(path, mode) as file:
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            file.addfile(info, io.BytesIO(content))
    return path


def fetched(tmp_path: Path, **changes: Any) -> Path:
    dataset = DatasetConfig(
        **{
            "name": "tiny",
            "title": "Tiny",
            "source": "folder",
            "options": {},
            "root": str(tmp_path / "data" / "tiny"),
            "expected": {"a": 1},
            "instructions": "Ask a friend",
            **dict.fromkeys(["archive", "url", "sha256"]),
        }
        | {key: str(value) for key, value in changes.items()}
    )
    fetch_dataset(dataset)
    return Path(dataset.root)


def contents(root: Path) -> dict[str, bytes]:
    return {path.relative_to(root).as_posix(): path.read_bytes() for path in root.rglob("*") if path.is_file()}


def assert_nothing_left(tmp_path: Path) -> None:
    assert not (tmp_path / "data").exists() or list((tmp_path / "data").iterdir()) == []


def test_download_is_checked_and_unpacked(tmp_path: Path, served: str) -> None:
    archive = write_zip(tmp_path / "served" / "tiny set.zip")
    digest = hashlib.sha256(archive.read_bytes()).hexdigest()
    root = fetched(tmp_path, url=f"{served}/tiny%20set.zip?download=1", sha256=digest)
    assert contents(root) == FILES
    assert list(root.parent.iterdir()) == [root]


def test_wrong_checksum_is_refused(tmp_path: Path, served: str) -> None:
    write_zip(tmp_path / "served" / "tiny.zip")
    with pytest.raises(DataError, match=f"not the file that was published, wanted sha256 0+; by hand: .*{COMMAND}"):
        fetched(tmp_path, url=f"{served}/tiny.zip", sha256="0" * 64)
    with pytest.raises(DataError, match=r"tiny\.zip: got sha256 .*, wanted 0+; download it again"):
        fetched(tmp_path, archive=tmp_path / "served" / "tiny.zip", sha256="0" * 64)
    assert_nothing_left(tmp_path)


def test_server_that_does_not_have_it(tmp_path: Path, served: str) -> None:
    with pytest.raises(DataError, match=f"could not be downloaded \\(404 .*\\); by hand: Ask a friend.*{COMMAND}"):
        fetched(tmp_path, url=f"{served}/none.zip")
    assert_nothing_left(tmp_path)


def test_no_network(tmp_path: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with pytest.raises(DataError, match=r"could not be downloaded \(no connection.*\); by hand: ") as caught:
        fetched(tmp_path, url=f"http://127.0.0.1:{port}/tiny.zip")
    assert "\n" not in str(caught.value)
    assert_nothing_left(tmp_path)


def test_set_that_is_there_is_left_alone(tmp_path: Path) -> None:
    root = tmp_path / "data" / "tiny"
    root.mkdir(parents=True)
    (root / ".DS_Store").touch()
    assert not is_folder_filled(root)
    (root / "mine.txt").write_text("mine")
    assert is_folder_filled(root)
    assert fetched(tmp_path, archive=write_zip(tmp_path / "x.zip")) == root
    assert contents(root) == {".DS_Store": b"", "mine.txt": b"mine"}


@pytest.mark.parametrize("mode", ["w", "w:gz", "w:bz2", "w:xz"])
def test_tar_archives_are_unpacked(tmp_path: Path, mode: str) -> None:
    assert contents(fetched(tmp_path, archive=write_tar(tmp_path / "x.tar", mode=mode))) == FILES


@pytest.mark.parametrize("write", [write_zip, write_tar])
@pytest.mark.parametrize("name", ["/etc/x", "../x", "a/../../x", "C:/x"])
def test_paths_that_lead_out_are_refused_before_anything_is_written(
    tmp_path: Path, write: Callable[..., Path], name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(archives, "write_member", None)
    with pytest.raises(DataError, match=r"is a path that leads out of the folder; .*nothing was unpacked"):
        fetched(tmp_path, archive=write(tmp_path / "x.archive", {"good.png": b"", name: b"bad"}))
    assert_nothing_left(tmp_path)


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE, tarfile.CHRTYPE])
def test_links_and_devices_in_a_tar_are_refused(tmp_path: Path, kind: bytes) -> None:
    with tarfile.open(tmp_path / "x.tar", "w") as file:
        info = tarfile.TarInfo("a/link.png")
        info.type, info.linkname = kind, "/etc/passwd"
        file.addfile(info)
    with pytest.raises(DataError, match=r"'a/link\.png' is a link or device"):
        fetched(tmp_path, archive=tmp_path / "x.tar")
    assert_nothing_left(tmp_path)


def test_links_in_a_zip_are_refused(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as file:
        info = zipfile.ZipInfo("link.png")
        info.external_attr = (stat.S_IFLNK | 0o777) << 16
        file.writestr(info, "/etc/passwd")
    with pytest.raises(DataError, match=r"'link\.png' is a link or device"):
        fetched(tmp_path, archive=tmp_path / "x.zip")


def test_too_many_files_and_too_many_bytes_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    archive = write_zip(tmp_path / "x.zip")
    monkeypatch.setattr(archives, "MAX_ENTRIES", 1)
    with pytest.raises(DataError, match="refused, it holds more than 1 files"):
        fetched(tmp_path, archive=archive)
    monkeypatch.setattr(archives, "MAX_ENTRIES", 10)
    monkeypatch.setattr(archives, "MAX_BYTES", 1000)
    with pytest.raises(DataError, match="refused, it holds more than 10 files, 0 GB"):
        fetched(tmp_path, archive=archive)
    assert_nothing_left(tmp_path)


@pytest.mark.parametrize("kept", [0.1, 0.5, 0.95])
@pytest.mark.parametrize("write", [write_zip, write_tar])
def test_truncated_archives_are_refused(tmp_path: Path, write: Callable[..., Path], kept: float) -> None:
    noise = b"".join(hashlib.sha256(bytes([n])).digest() for n in range(200))
    archive = write(tmp_path / "x.archive", {"a/1.png": noise, "b/2.png": noise[::-1]})
    archive.write_bytes(archive.read_bytes()[: int(archive.stat().st_size * kept)])
    with pytest.raises(DataError, match="truncated"):
        fetched(tmp_path, archive=archive)
    assert_nothing_left(tmp_path)


@pytest.mark.parametrize("content", [b"", b"<html>log in</html>", gzip.compress(b"not a tar", mtime=0)])
def test_what_is_no_archive_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "x.zip").write_bytes(content)
    with pytest.raises(DataError, match="neither a zip nor a tar archive"):
        fetched(tmp_path, archive=tmp_path / "x.zip")
