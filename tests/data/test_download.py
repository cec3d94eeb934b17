"""Fetching: a download from a server of our own, or an archive, whole or not at all."""

import hashlib
import socket
import threading
import zipfile
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from lowres_ssl.config.experiment_schema import DatasetConfig
from lowres_ssl.data.download import fetch_dataset, is_folder_filled
from lowres_ssl.errors import DataError

FILES = {"top/a/1.png": b"one", "top/b/2.png": b"two" * 1000}
COMMAND = r"lowres-ssl data dataset=tiny fetch=true dataset\.archive=PATH"


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        """Prints nothing."""


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


def fetched(tmp_path: Path, **changes: Any) -> Path:
    where = dict.fromkeys(["archive", "url", "sha256"]) | {key: str(value) for key, value in changes.items()}
    dataset = DatasetConfig(name="tiny", title="Tiny", source="folder", options={}, expected={"a": 1}, **where)
    dataset.root, dataset.instructions = str(tmp_path / "data" / "tiny"), "Ask a friend"
    fetch_dataset(dataset)
    return Path(dataset.root)


def contents(root: Path) -> dict[str, bytes]:
    return {path.relative_to(root).as_posix(): path.read_bytes() for path in root.rglob("*") if path.is_file()}


def refused(tmp_path: Path, match: str, **changes: Any) -> None:
    with pytest.raises(DataError, match=match):
        fetched(tmp_path, **changes)
    assert not (tmp_path / "data").exists() or list((tmp_path / "data").iterdir()) == []


def test_download_is_checked_and_unpacked(tmp_path: Path, served: str) -> None:
    archive = write_zip(tmp_path / "served" / "tiny set.zip")
    digest = hashlib.sha256(archive.read_bytes()).hexdigest()
    root = fetched(tmp_path, url=f"{served}/tiny%20set.zip?download=1", sha256=digest)
    assert contents(root) == FILES
    assert list(root.parent.iterdir()) == [root]


def test_wrong_checksum_is_refused(tmp_path: Path, served: str) -> None:
    archive = write_zip(tmp_path / "served" / "tiny.zip")
    told = f"not the file that was published, wanted sha256 0+; by hand: .*{COMMAND}"
    refused(tmp_path, told, url=f"{served}/tiny.zip", sha256="0" * 64)
    told = r"tiny\.zip: got sha256 .*, wanted 0+; download it again"
    refused(tmp_path, told, archive=archive, sha256="0" * 64)


def test_server_that_has_nothing_or_does_not_answer_is_one_line(tmp_path: Path, served: str) -> None:
    told = f"could not be downloaded \\(404 .*\\); by hand: Ask a friend.*{COMMAND}"
    refused(tmp_path, told, url=f"{served}/none.zip")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    told = r"could not be downloaded \(no connection.*\); by hand: "
    refused(tmp_path, told, url=f"http://127.0.0.1:{port}/tiny.zip")


def test_archive_that_is_missing_empty_or_unsafe_leaves_nothing(tmp_path: Path) -> None:
    refused(tmp_path, "no such file", archive=tmp_path / "none.zip")
    refused(tmp_path, "an empty archive", archive=write_zip(tmp_path / "empty.zip", {}))
    unsafe = write_zip(tmp_path / "unsafe.zip", {"good.png": b"", "../x": b"bad"})
    refused(tmp_path, r"is a path that leads out of the folder; .*nothing was unpacked", archive=unsafe)


def test_set_that_is_there_is_left_alone(tmp_path: Path) -> None:
    root = tmp_path / "data" / "tiny"
    root.mkdir(parents=True)
    (root / ".DS_Store").touch()
    assert not is_folder_filled(root)
    (root / "mine.txt").write_text("mine")
    assert is_folder_filled(root)
    assert fetched(tmp_path, archive=write_zip(tmp_path / "x.zip")) == root
    assert contents(root) == {".DS_Store": b"", "mine.txt": b"mine"}
