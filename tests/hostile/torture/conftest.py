"""Images in a folder and in a served archive; and what a run leaves that nothing happens to."""

import shutil
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
from left_behind import Outcome, outcome
from processes import PRETRAIN, type_it
from small_runs import paint_cells


class Server(SimpleHTTPRequestHandler):
    """Serves a folder, and notes what it is asked for."""

    def __init__(self, *arguments: Any, asked: list[str], **named: Any) -> None:
        self.asked = asked
        super().__init__(*arguments, **named)

    def do_GET(self) -> None:
        self.asked.append(self.path)
        super().do_GET()

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def images(tmp_path: Path) -> Path:
    """A folder to type commands in, with images where `dataset=folder` looks for them."""
    paint_cells(tmp_path / "data" / "folder")
    return tmp_path


@pytest.fixture(scope="module")
def through(tmp_path_factory: pytest.TempPathFactory) -> Outcome:
    """What `PRETRAIN` leaves, run through."""
    folder = tmp_path_factory.mktemp("through")
    paint_cells(folder / "data" / "folder")
    assert type_it(folder, PRETRAIN) == 0, (folder / "said.txt").read_text()
    return outcome(folder)


@pytest.fixture
def asked() -> list[str]:
    """What the server of `address` was asked for."""
    return []


@pytest.fixture
def address(tmp_path_factory: pytest.TempPathFactory, asked: list[str]) -> Iterator[str]:
    """Of an archive with the same images."""
    folder = tmp_path_factory.mktemp("served")
    paint_cells(folder / "top" / "set")
    shutil.make_archive(str(folder / "set"), "zip", folder / "top")
    serve = partial(Server, asked=asked, directory=str(folder))
    with ThreadingHTTPServer(("127.0.0.1", 0), serve) as server:
        Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/set.zip"
        server.shutdown()
