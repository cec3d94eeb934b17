"""Commands as they are typed, and a small set with a finished run to type them on."""

import shutil
from pathlib import Path

import pytest
from in_process import type_command
from small_runs import SMALL, paint_cells
from typed import Answer, Command, be_in, the_run


@pytest.fixture
def lowres_ssl(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
    """Type a command in an empty folder: `lowres_ssl("pretrain", "method=vicreg")`."""
    be_in(tmp_path, monkeypatch)

    def type_it(*arguments: str, code: int = 0) -> Answer:
        capsys.readouterr()
        ended = type_command(*arguments)
        printed = capsys.readouterr()
        assert ended == code, f"lowres-ssl {' '.join(map(str, arguments))}\n{printed.out[-1000:]}{printed.err}"
        return Answer(printed.out, printed.err)

    return type_it


@pytest.fixture
def cells(tmp_path: Path) -> Path:
    """Two classes of 20 images, as `dataset=folder` takes them."""
    there = tmp_path / "data" / "folder"  # with `trained`
    return there if there.exists() else paint_cells(there)


@pytest.fixture(scope="session")
def trained_once(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the images of `cells` and a finished SimCLR run on them; for `trained`, which copies it."""
    folder = tmp_path_factory.mktemp("trained")
    paint_cells(folder / "data" / "folder")
    with pytest.MonkeyPatch.context() as monkeypatch:
        be_in(folder, monkeypatch)
        assert type_command("pretrain", "dataset=folder", *SMALL, "picture=true") == 0
    return folder


@pytest.fixture
def trained(lowres_ssl: Command, trained_once: Path, tmp_path: Path) -> Path:
    """The folder of a finished SimCLR run on `cells`, in a copy of the test's own."""
    shutil.copytree(trained_once, tmp_path, dirs_exist_ok=True)
    return the_run("folder-simclr-*", tmp_path)
